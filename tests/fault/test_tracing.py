"""Whether strace can do what the fault tests ask of it."""

from __future__ import annotations

import sys

from tests.fault.tracing import STRACE, needs_strace, why_it_cannot_attach

REFUSED = """
import sys
print("is traced already", file=sys.stderr)
print("attach: Operation not permitted", file=sys.stderr)
sys.exit(1)
"""


def test_where_strace_is_refused_it_is_said_why() -> None:
    """In its own words, which a skip hands on; at once, and not when time is over."""
    assert (
        why_it_cannot_attach(sys.executable, "-c", REFUSED)
        == "attach: Operation not permitted"
    )
    assert why_it_cannot_attach(sys.executable, "-c", "") == "it ends at once"


@needs_strace
def test_where_strace_attaches_nothing_is_said() -> None:
    """And the process that it was tried with is gone."""
    assert STRACE is not None
    assert why_it_cannot_attach(STRACE) == ""
