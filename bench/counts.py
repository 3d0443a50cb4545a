"""
How much the hot path executes, counted and not timed: the same on every machine.

Instructions of the interpreter, calls of Python functions and calls into C, in the
caller's thread, for one call of the logger in its steady state: the writer is awake and
lingers, and the clock stands still, or a call in a new millisecond would do more.

    python -m bench.counts            print them beside the baseline
    python -m bench.counts --update   make them the baseline of this version of Python
    python -m bench.counts --where    in which functions the instructions are

``baseline.json`` is checked by the tests, so that a change which makes the hot path
longer is seen, and is a decision: it comes with an update of that file.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Final

from bench.harness import ROOT
from bench.sites import make_sites
from bench.workload import CONTEXT, EVENT, REQUEST_ID, failure

if TYPE_CHECKING:
    from tokenpak.telemetry.error_logger import ErrorLogger

BASELINE: Final = os.path.join(ROOT, "bench", "baseline.json")
TOLERANCE: Final = 0.02
"""Micro versions of Python differ by an instruction now and then."""
_WARM_UP: Final = 20
_REPEATS: Final = 20
_DEADLINE: Final = 60.0
_MOMENT: Final = 1_774_373_722_123_456_789
"""Nanoseconds since the epoch: 2026-03-24."""
_LINGER: Final = 5.0
"""Seconds: the writer sleeps while the calls are counted."""


@dataclass(frozen=True, slots=True, order=True)
class Counts:
    """What one call executes in its own thread."""

    instructions: int
    python_calls: int
    c_calls: int


class _Tally:
    """Functions for the interpreter's hooks; they do not count themselves."""

    def __init__(self) -> None:
        self.instructions = self.python_calls = self.c_calls = 0
        self.where: dict[str, int] = {}
        self._thread = threading.get_ident()

    def trace(self, frame: FrameType, event: str, _arg: object) -> object:
        if event == "opcode":
            self._add(frame.f_code)
        else:
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        return self.trace

    def instruction(self, code: CodeType, _offset: int) -> None:
        # Monitoring is for all threads; the writer's work is another question.
        if threading.get_ident() == self._thread:
            self._add(code)

    def _add(self, code: CodeType) -> None:
        self.instructions += 1
        name = f"{os.path.basename(code.co_filename)}: {code.co_qualname}"
        self.where[name] = self.where.get(name, 0) + 1

    def profile(self, _frame: FrameType, event: str, _arg: object) -> None:
        if event == "call":
            self.python_calls += 1
        elif event == "c_call":
            self.c_calls += 1


def count(call: Callable[[], object]) -> tuple[Counts, dict[str, int]]:
    """
    Return what *call* executes, and its instructions by function.

    It is called twice, under different hooks.  Its own frame is counted too: a constant
    for one kind of function.
    """
    tally = _Tally()
    if sys.version_info >= (3, 12):
        # A trace function is told of no instructions there, or not reliably.
        monitoring = sys.monitoring
        event, tool = monitoring.events.INSTRUCTION, monitoring.PROFILER_ID
        monitoring.use_tool_id(tool, "bench")
        monitoring.register_callback(tool, event, tally.instruction)
        monitoring.set_events(tool, event)
        try:
            call()
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)
    else:
        sys.settrace(tally.trace)  # type: ignore[arg-type]
        try:
            call()
        finally:
            sys.settrace(None)
    sys.setprofile(tally.profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    # The call of setprofile() that ends the counting is counted itself.
    counts = Counts(tally.instructions, tally.python_calls, tally.c_calls - 1)
    return counts, tally.where


def measure() -> dict[str, tuple[Counts, dict[str, int]]]:
    """
    Return what each call of the hot path executes in its steady state, and where.

    Only in a process that has not imported the package yet: its clock is replaced.
    """
    # A function in C, as the clock is.
    time.time_ns = itertools.repeat(_MOMENT).__next__
    from tokenpak.telemetry.error_logger import ErrorLogger

    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        deep = make_sites(os.path.join(directory, "sites"), 1, 100)[0]()
        error = failure()
        logs = os.path.join(directory, "logs")
        logger = ErrorLogger(log_dir=logs, linger=_LINGER, archive_after_days=0)
        calls: dict[str, Callable[[], object]] = {
            "log_error": lambda: logger.log_error(REQUEST_ID, error, CONTEXT),
            "log_error, 100 frames": lambda: logger.log_error(
                REQUEST_ID, deep, CONTEXT
            ),
            "log_event": lambda: logger.log_event(EVENT, REQUEST_ID, CONTEXT),
            "log_event, no context": lambda: logger.log_event(EVENT),
        }
        found = {}
        for name, call in calls.items():
            for _ in range(_WARM_UP):
                call()
            _wait_for_the_writer(logger)
            several = [count(call) for _ in range(_REPEATS)]
            # The least: under load, the writer may have ended its lingering.
            least = Counts(
                min(c.instructions for c, _ in several),
                min(c.python_calls for c, _ in several),
                min(c.c_calls for c, _ in several),
            )
            found[name] = least, min(several, key=lambda one: one[0])[1]
        logger.close(timeout=60)
    return found


def _wait_for_the_writer(logger: ErrorLogger) -> None:
    """Return when calls need not wake the writer."""
    writer = logger._pipeline._writer
    end = time.monotonic() + _DEADLINE
    while writer.rings and time.monotonic() < end:
        time.sleep(0.001)


def version() -> str:
    """Return the key of the baseline: counts differ between versions of Python."""
    name = sys.implementation.name
    threads = "" if getattr(sys, "_is_gil_enabled", lambda: True)() else "t"
    return f"{name}-{sys.version_info[0]}.{sys.version_info[1]}{threads}"


def read_baseline() -> dict[str, dict[str, Counts]]:
    """Return the counts that were agreed upon, by version of Python and by call."""
    with open(BASELINE, encoding="utf-8") as file:
        saved = json.load(file)
    return {
        key: {name: Counts(**counts) for name, counts in calls.items()}
        for key, calls in saved.items()
    }


def excess(found: Mapping[str, Counts], agreed: Mapping[str, Counts]) -> list[str]:
    """Return a sentence for each count that is above its baseline and the tolerance."""
    sentences = []
    for name, counts in found.items():
        if name not in agreed:
            sentences.append(f"{name} has no baseline")
            continue
        for what, value in asdict(counts).items():
            limit = asdict(agreed[name])[what]
            if value > limit * (1 + TOLERANCE):
                unit = what.replace("_", " ")
                sentences.append(f"{name}: {value} {unit}, {limit} were agreed upon")
    return sentences


def main(argv: list[str] | None = None) -> int:
    """Print the counts; return 1 if one is above its baseline."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0].strip())
    parser.add_argument(
        "--update", action="store_true", help="make them the baseline of this Python"
    )
    parser.add_argument(
        "--where", action="store_true", help="say in which functions they are"
    )
    options = parser.parse_args(argv)
    measured, baseline = measure(), read_baseline()
    found = {name: counts for name, (counts, _) in measured.items()}
    agreed = baseline.get(version(), {})
    print(f"{version()}: instructions, Python calls, C calls (agreed upon)")
    for name, counts in found.items():
        limit = agreed.get(name)
        beside = f"  ({_text(limit)})" if limit else ""
        print(f"  {name.ljust(24)}{_text(counts)}{beside}")
        if options.where:
            where = sorted(measured[name][1].items(), key=lambda one: -one[1])
            for function, instructions in where:
                print(f"    {instructions:6,}  {function}")
    if options.update:
        baseline[version()] = found
        with open(BASELINE, "w", encoding="utf-8") as file:
            saved = {
                key: {name: asdict(c) for name, c in calls.items()}
                for key, calls in sorted(baseline.items())
            }
            json.dump(saved, file, indent=1)
            file.write("\n")
        return 0
    above = excess(found, agreed)
    for sentence in above:
        print(f"MORE: {sentence}")
    return 1 if above else 0


def _text(counts: Counts) -> str:
    return f"{counts.instructions:6,}{counts.python_calls:5}{counts.c_calls:5}"


if __name__ == "__main__":
    sys.exit(main())

__all__ = [
    "BASELINE",
    "TOLERANCE",
    "Counts",
    "count",
    "excess",
    "main",
    "measure",
    "read_baseline",
    "version",
]
