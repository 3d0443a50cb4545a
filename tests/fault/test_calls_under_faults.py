"""
C1, Q3: calls go on at their pace while a system call of the writer fails, untraced.

The matrix (test_each_call_fails) has every call and every error, but a tracer stops the
writer at each of its calls, with the GIL.  Here the error comes from Python, so that
what a call takes is what it takes an application.  No time is asserted; run with -rP to
see them.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fault.ledger import log_lines
from tokenpak.telemetry.error_logger import ErrorLogger

fcntl = pytest.importorskip("fcntl")

pytestmark = pytest.mark.fault

SECONDS = 1.0
FAULTS = (
    (os, "writev", errno.ENOSPC),
    (os, "writev", errno.EIO),
    (os, "fsync", errno.EIO),
    (os, "open", errno.EMFILE),
    (os, "lstat", errno.ESTALE),
    (os, "fstat", errno.EIO),
    (os, "pread", errno.EIO),
    (fcntl, "flock", errno.EAGAIN),
    (fcntl, "flock", errno.EIO),
)


@pytest.mark.parametrize(
    ("module", "name", "number"),
    [pytest.param(*f, id=f"{f[1]}-{errno.errorcode[f[2]]}") for f in FAULTS],
)
def test_c1_calls_keep_their_pace_while_the_writer_cannot_write(
    module: Any,
    name: str,
    number: int,
    make_logger: Callable[..., ErrorLogger],
    log_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    At a thousand a second: none raises, all are kept, and written when the fault ends.
    """
    logger = make_logger(fsync="batch")
    error = ValueError("x")
    logger.log_error("first", error)
    assert logger.flush(60)

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    took: list[float] = []
    with monkeypatch.context() as patch:
        patch.setattr(module, name, fail)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            begun = time.perf_counter()
            logger.log_error(f"r{len(took)}", error, {"model": "gpt-4"})
            took.append(time.perf_counter() - begun)
            time.sleep(0.001)
    assert logger.flush(60)
    stats = logger.stats()
    assert logger.close(60)
    took.sort()
    p99, slowest = took[len(took) * 99 // 100] * 1e6, took[-1] * 1e3
    print(f"{len(took)} calls, p99 {p99:.0f} us, slowest {slowest:.2f} ms")

    ids = [json.loads(line)["request_id"] for line in log_lines(log_dir)]
    assert ids == ["first", *(f"r{number}" for number in range(len(took)))]
    assert stats.dropped == {}
