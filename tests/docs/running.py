"""
Run the blocks of a page as a reader would: in order, in a home directory of its own.

What is printed is compared with what the page shows, but for what differs from run to
run: times, days, process ids, the home directory, and the markers that traceback puts
under a line of source, which not all versions of Python draw alike.
"""

from __future__ import annotations

import contextlib
import doctest
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import DAY

from .pages import ROOT, Block

SECONDS = 240
"""After which a block that hangs is killed; far more than any needs."""
LONG = 120.0
"""Seconds that a whole page takes at most, on a busy machine too."""
HOME = "/home/you"
"""How the pages call the home directory."""
RUNS = {"python", "sh", "console"}
SHOWS = {"text", "json", "jsonl", "ini", "toml", "yaml"}
"""Languages of blocks that show something and do nothing."""

_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(?:\d{3})?Z"), "<time>"),
    (re.compile(r"\d{4}-\d\d-\d\d"), "<day>"),
    (re.compile(r'("pid": ?)\d+|(?<=of process )\d+'), r"\1<pid>"),
    # Under source lines: in plain text, and inside a JSON string.
    (re.compile(r"^ *[~^][~^ ]*\n", re.MULTILINE), ""),
    (re.compile(r"\\n *[~^][~^ ]*(?=\\n)"), ""),
)


def normalise(text: str, home: str = HOME) -> str:
    """Return *text* with a word in place of what differs from run to run."""
    text = text.replace(home, HOME)
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return text.rstrip() + "\n"


class Reader:
    """Somebody who follows a page, in the directory *home*."""

    def __init__(self, home: Path) -> None:
        # One command logs, and another one asks for what was logged today (UTC).
        left = DAY - time.time() % DAY
        if left < LONG:
            time.sleep(left + 0.1)
        self.home = home
        tools = home.parent / "tools"
        tools.mkdir()
        python = shlex.quote(sys.executable)
        for name, command in (
            ("python", python),
            ("tokenpak", f"{python} -m tokenpak"),
        ):
            script = tools / name
            script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            script.chmod(0o755)
        home.mkdir()
        self._environment = {
            "HOME": str(home),
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),  # the code of this tree, installed or not
            "PYTHONWARNINGS": "error",
            # What a program has logged is in the file when it has ended, which the
            # next command may look into; on a busy machine that takes its time.
            "TOKENPAK_EXIT_TIMEOUT": "100",
            "LANG": "C.UTF-8",
        }
        self._printed: str | None = None

    def follow(self, block: Block) -> None:
        """Do what *block* says, and compare."""
        if "file" in block.marks:
            (self.home / block.marks["file"]).write_text(block.text)
        elif "output" in block.marks:
            assert self._printed is not None, f"{block}: there is no output"
            self._compare(block, block.text, self._printed)
            self._printed = None
        elif block.language == "console":
            self._console(block)
        else:
            self.tell_unshown(block)
            runner = ["python", "-c"] if block.language == "python" else ["sh", "-ec"]
            status, self._printed = self._run([*runner, block.text])
            assert status == 0, f"{block}: exit status {status}\n{self._printed}"

    def tell_unshown(self, where: object) -> None:
        """Fail if a block has printed something that the page does not show."""
        assert not self._printed, f"before {where}, not shown: {self._printed}"

    def _console(self, block: Block) -> None:
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            # With "> " a shell asks for the rest of a command.
            match = re.fullmatch(r"(.*(?:\n> .*)*)\n((?:.|\n)*)", part)
            assert match is not None
            command = match[1].replace("\n> ", "\n")
            status, printed = self._run(["sh", "-c", command])
            if status in {-9, 137} and "Killed" not in printed:
                printed += "Killed\n"  # what a shell says at the terminal
            self._compare(block, match[2], printed)

    def _run(self, command: list[str]) -> tuple[int, str]:
        child = subprocess.Popen(
            command,
            cwd=self.home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
        )
        try:
            printed, _ = child.communicate(timeout=SECONDS)
        finally:
            # With all that it has started, or a command that hangs outlives the test.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        return child.returncode, printed

    def _compare(self, block: Block, shown: str, printed: str) -> None:
        want, got = normalise(shown), normalise(printed, str(self.home))
        same = doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS)
        assert same, f"{block} shows\n{want}\nbut this was printed:\n{got}"


__all__ = ["RUNS", "SHOWS", "Reader", "normalise"]
