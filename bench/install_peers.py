"""
Install the peers one by one, so that one which cannot be had does not cost the others.

    python -m bench.install_peers

What pip says of a peer that fails is printed in one line; the tables say that it is
missing.  Always exits with 0.
"""

from __future__ import annotations

import os
import subprocess
import sys

from bench.harness import ROOT

REQUIREMENTS = os.path.join(ROOT, "bench", "requirements.txt")
TIMEOUT = 300.0
"""Seconds for each."""


def requirements(path: str = REQUIREMENTS) -> list[str]:
    """Return the requirements of a file, without comments and empty lines."""
    with open(path, encoding="utf-8") as file:
        lines = [line.partition("#")[0].strip() for line in file]
    return [line for line in lines if line]


def install(requirement: str) -> str | None:
    """Install one peer into this environment; return why not, or None."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", requirement]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or ["pip has failed"])[-1]


def main() -> int:
    """Install what can be had; say what cannot."""
    for requirement in requirements():
        reason = install(requirement)
        if reason is not None:
            print(f"{requirement} is left out: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

__all__ = ["REQUIREMENTS", "install", "main", "requirements"]
