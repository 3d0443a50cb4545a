"""The interpreter and the system: what the mechanisms of the queue rest on."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import platform
import sys
from collections.abc import Iterator
from typing import Final

from tokenpak.telemetry.doctor.finding import CheckResult, Level

_POPULATE_WRITE: Final = 23  # MADV_POPULATE_WRITE; mmap has no name for it


def check_python() -> Iterator[CheckResult]:
    """Tell the version, the GIL, and how this Python starts processes."""
    name = f"{platform.python_implementation()} {platform.python_version()}"
    gil = bool(getattr(sys, "_is_gil_enabled", lambda: True)())
    if sys.implementation.name != "cpython":
        yield CheckResult(
            "Python",
            Level.WARNING,
            name,
            "That a line is copied and the position moved in one step is known of "
            "CPython only.",
            "Use CPython.",
        )
    elif not gil:
        yield CheckResult(
            "Python",
            Level.NOTE,
            f"{name}, without the GIL",
            "Each call takes a lock there; it is not what the figures are of.",
        )
    else:
        yield CheckResult("Python", Level.OK, f"{name}, with the GIL")
    if hasattr(os, "register_at_fork"):
        yield CheckResult(
            "start method", Level.OK, f"{_start_method()}; a fork is safe"
        )
    else:
        yield CheckResult(
            "start method", Level.OK, f"{_start_method()}; there is no fork"
        )


def _start_method() -> str:
    # Asking for the method in force would fix it; the first is the default.
    chosen = multiprocessing.get_start_method(allow_none=True)
    return chosen or multiprocessing.get_all_start_methods()[0]


def check_system() -> Iterator[CheckResult]:
    """Tell whether this is Linux, and what its kernel can do."""
    if sys.platform != "linux":
        reserve = hasattr(os, "posix_fallocate")
        yield CheckResult(
            "system",
            Level.OK if reserve else Level.WARNING,
            f"{platform.system()} {platform.release()}",
            ""
            if reserve
            else "No space can be reserved for a spool, so the queue is in memory: "
            "what is pending dies with its process.",
            "" if reserve else "For more, log on Linux.",
        )
    elif _populates():
        yield CheckResult("system", Level.OK, f"Linux {platform.release()}")
    else:
        yield CheckResult(
            "system",
            Level.NOTE,
            f"Linux {platform.release()}, without MADV_POPULATE_WRITE (5.14)",
            "The first call to store into each page takes a page fault.",
        )


def _populates() -> bool:
    with mmap.mmap(-1, mmap.PAGESIZE) as page:
        try:
            page.madvise(_POPULATE_WRITE)
        except OSError:
            return False
    return True


__all__ = ["check_python", "check_system"]
