"""Who does not end is killed, and tells where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.integrations.processes import TELLS, alive, end, ours
from tests.queue.logs import eventually

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="groups are found by /proc"
)

PROGRAM = """
import os, signal, sys, threading
from tokenpak.telemetry.error_logger import get_error_logger

logger = get_error_logger()
logger.log_error("r", ValueError("logged"))
assert logger.flush(60)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:  # a child that nobody will wait for
    print("there", flush=True)
    threading.Event().wait()
{stuck}
"""
IN_OURS = """
class Slow(Exception):
    def __str__(self):
        print("there", flush=True)
        threading.Event().wait()
logger.log_error("r", Slow())
"""
IN_THEIRS = """
print("there", flush=True)
threading.Event().wait()
"""
UNTIL_ITS_CHILD_ENDS = """
class Slow(Exception):
    def __str__(self):
        threading.Event().wait()
print("there", flush=True)
os.wait()
logger.log_error("r", Slow())
"""
OTHERS = """
for _ in range(20):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
"""

WITHOUT_ITS_FIRST_THREAD = """
import ctypes, sys, threading
threading.Thread(target=sys.stdin.read).start()
print("there", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


def test_who_has_a_thread_left_has_not_ended() -> None:
    """Though its state is that of a zombie, whose files are all closed."""
    leader = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_ITS_FIRST_THREAD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        with leader:
            assert leader.stdout is not None
            assert leader.stdout.readline() == b"there\n"
            stat = Path(f"/proc/{leader.pid}/stat")
            assert eventually(lambda: stat.read_text().rpartition(") ")[2][0] == "Z")
            assert alive(leader.pid) == [leader.pid]
            os.kill(leader.pid, signal.SIGKILL)
            # Not waited for: all of it is gone, and it is still to be seen.
            assert eventually(lambda: alive(leader.pid) == [])
            assert stat.exists()
    finally:
        leader.kill()


@pytest.mark.parametrize(
    ("stuck", "found"),
    [
        (IN_OURS, 1),
        (IN_THEIRS, 0),
        (UNTIL_ITS_CHILD_ENDS, 0),
        (OTHERS + UNTIL_ITS_CHILD_ENDS, 0),
    ],
    ids=["ours", "theirs", "its child", "its child, beside others"],
)
def test_who_does_not_end_tells_whether_the_logger_was_it(
    stuck: str, found: int, tmp_path: Path
) -> None:
    """The writer, which waits for work, is never it; nor is what would come later."""
    with open(tmp_path / "output", "wb") as output:
        leader = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(stuck=stuck)],
            env={
                "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
                "TOKENPAK_LOG_DIR": str(tmp_path / "logs"),
                **TELLS,
            },
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,
        )
    assert leader.stdout is not None
    assert [leader.stdout.readline() for _ in range(2)] == [b"there\n"] * 2
    leader.stdout.close()

    assert len(alive(leader.pid)) == 2
    assert not end(leader, 0.1)

    assert leader.returncode == -signal.SIGFPE
    assert alive(leader.pid) == []
    text = (tmp_path / "output").read_text()
    assert text.count("/queue/writer.py") > 0
    assert len(ours(text)) == found, text
