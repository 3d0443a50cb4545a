"""What starts the programs that are to be killed."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.fault.nursery import nursery

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its sockets are not")

PROGRAM = """
import sys
print("ready", flush=True)
sys.stdin.readline()
"""


def test_a_child_that_nobody_waited_for_is_ended_before_the_next() -> None:
    """Or its status would be taken for the number of the next one's process."""
    with nursery() as programs:
        left = programs.start(PROGRAM)
        after = programs.start(PROGRAM)
        after.communicate("go\n")
        last = programs.start(PROGRAM)

    assert left.returncode == last.returncode == -signal.SIGKILL
    assert after.pid not in {left.pid, left.returncode}
    assert after.returncode == 0
