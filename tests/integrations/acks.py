"""Acknowledgements of requests whose record was accepted: a file of their ids."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "ACKS"


def acknowledge(request_id: str) -> None:
    """Note *request_id*: from now on its record must be in the log."""
    fd = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, f"{request_id}\n".encode())
    os.close(fd)


def acknowledged(path: Path) -> list[str]:
    """Return the ids that were noted."""
    return path.read_text().split()


__all__ = ["VARIABLE", "acknowledge", "acknowledged"]
