"""Whether strace can do what the fault tests ask of it."""

from __future__ import annotations

import os
import sys

import pytest

from tests.fault import tracing
from tests.fault.tracing import STRACE, needs_strace, why_it_cannot_attach

REFUSED = """
import sys
print("is traced already", file=sys.stderr)
print("attach: Operation not permitted", file=sys.stderr)
sys.exit(1)
"""


needs_proc = pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="it is seen by /proc who is traced"
)


@needs_proc
def test_where_strace_is_refused_it_is_said_why() -> None:
    """In its own words, which a skip hands on; at once, and not when time is over."""
    assert (
        why_it_cannot_attach(sys.executable, "-c", REFUSED)
        == "attach: Operation not permitted"
    )
    assert why_it_cannot_attach(sys.executable, "-c", "") == "it ends at once"


@needs_proc
def test_an_strace_that_does_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is ended, or no test would ever be collected."""
    monkeypatch.setattr(tracing, "PATIENCE", 0.2)
    hanging = "import time; time.sleep(600)"
    said = why_it_cannot_attach(sys.executable, "-c", hanging)
    assert said == "it does not attach"


@needs_strace
def test_where_strace_attaches_nothing_is_said() -> None:
    """And the process that it was tried with is gone."""
    assert STRACE is not None
    assert why_it_cannot_attach(STRACE) == ""
