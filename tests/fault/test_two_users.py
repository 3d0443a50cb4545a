"""S5, Q1: a web server and a cron job, two users of one group, share one directory."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.ledger import Ledger, audit, log_lines

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0,
        reason="only root can become two other users",
    ),
]

ONE, OTHER, GROUP = 61_001, 61_002, 61_003
"""Numbers need no entry in the user database."""

PROGRAM = """
import logging, os, sys, time
from pathlib import Path
from tests.fault.ledger import Ledger, request_id
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.queue.recovery import recover

log_dir, ledger, name, user, group, umask = sys.argv[1:]
words = Ledger(Path(ledger), 1).words
os.setgroups([int(group)])
os.setresgid(int(user), int(user), int(user))  # its own group is another one
os.setresuid(int(user), int(user), int(user))
os.umask(int(umask, 8))
logger = ErrorLogger(log_dir, group_access=True, linger=0.005, recovery_interval=0.05)
error = ValueError("x")
print("ready", flush=True)
for line in sys.stdin:
    what, _, rest = line.strip().partition(" ")
    if what == "log":
        for _ in range(int(rest)):
            number = words[0]
            logger.log_error(request_id(name, 0, number), error)
            words[0] = number + 1
        print("logged", flush=True)
    elif what == "flush":
        print(logger.flush(60), logger.stats().durable, flush=True)
    elif what == "read":
        files = [f for f in Path(log_dir).glob("*.jsonl")]
        print(sum(f.read_bytes().count(b"\\n") for f in files), flush=True)
    elif what == "spools":
        spools = Path(log_dir, "spool").glob("*.spool")
        print(sum(f.read_bytes()[:7] == b"TPSPOOL" for f in spools), flush=True)
    elif what == "recover":
        print(recover(log_dir).records, flush=True)
    elif what == "umask":
        os.umask(int(rest, 8))
        print("set", flush=True)
"""


class User:
    """A process of one user, which does what it is told."""

    def __init__(self, place: Path, name: str, user: int, umask: int) -> None:
        self.name, self.ledger = name, place / f"ledger-{name}"
        Ledger(self.ledger, 1)
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", PROGRAM, str(place / "logs")),
                *(str(self.ledger), name, str(user), str(GROUP), f"{umask:o}"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def __call__(self, command: str) -> str:
        """Return the answer to *command*."""
        self.begin(command)
        return self._answer()

    def begin(self, command: str) -> None:
        """Give *command*, and don't wait for its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        """Kill it, and wait for its death."""
        self.process.kill()
        self.end()

    def end(self) -> str:
        """Let it end; return what it said to stderr."""
        _, errors = self.process.communicate(timeout=60)
        return str(errors)

    @property
    def acknowledged(self) -> list[int]:
        """How many of its calls have returned."""
        return Ledger(self.ledger, 1).acknowledged()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that all users reach, with a setgid directory for the logs."""
    # Not tmp_path, which is below a directory that is root's alone.
    place = Path("/var/tmp") / f"tokenpak-test-users-{os.getpid()}"
    place.mkdir(mode=0o755)
    logs = place / "logs"
    logs.mkdir()
    os.chown(logs, 0, GROUP)
    logs.chmod(0o2770)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def users() -> Iterator[list[User]]:
    """Processes that are killed after the test, if they still are there."""
    users: list[User] = []
    yield users
    for user in users:
        if user.process.poll() is None:
            user.kill()


def modes_of(logs: Path) -> dict[str, int]:
    """The modes of all that there is, by kind."""
    modes = {}
    for path in (logs, *logs.rglob("*")):
        kind = path.suffix or path.name
        modes[kind] = stat.S_IMODE(path.lstat().st_mode)
        assert path.lstat().st_gid == GROUP, path
    return modes


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_s5_two_users_share_a_directory_and_one_is_killed(
    place: Path, users: list[User], umask: int
) -> None:
    """
    Each record exactly once, whoever made the file; the dead one's spool is recovered
    by the next process of its user, and by nobody else.
    """
    one = User(place, "one", ONE, umask)
    other = User(place, "other", OTHER, umask)
    users += [one, other]
    for _ in range(5):
        one.begin("log 200")
        other.begin("log 200")
        assert (one._answer(), other._answer()) == ("logged", "logged")
    assert (one("flush"), other("flush")) == ("True True", "True True")
    both_read = (one("read"), other("read"))
    modes = modes_of(place / "logs")
    looked = (one("spools"), other("spools"))
    other.begin("log 20000")  # less than fills the queue
    while other.acknowledged[0] < 1_500:
        signal.sigtimedwait([], 0.001)
    other.kill()
    spools = place / "logs" / "spool"
    orphans = {path for path in spools.glob("*.spool") if path.stat().st_uid == OTHER}
    one("log 100")
    one("recover")
    left = orphans & set(spools.glob("*.spool"))
    heir = User(place, "heir", OTHER, umask)
    users.append(heir)
    heir("recover")
    heir("log 1")
    assert (one("flush"), heir("flush")) == ("True True", "True True")
    for _ in range(30_000):
        # Its counters are saved under a lock, which another process may have now.
        if not orphans & set(spools.glob("*.spool")):
            break
        signal.sigtimedwait([], 0.002)
    after = (one("read"), heir("read"))
    said = [one.end(), heir.end()]

    verdict = audit(
        place / "logs", {u.name: u.acknowledged for u in (one, other, heir)}
    )
    owners = Counter(path.stat().st_uid for path in (place / "logs").glob("*.jsonl"))
    assert verdict.clean, verdict
    assert verdict.malformed <= 1, "what the one that is killed has torn"
    assert verdict.accepted >= 1_000 + 1_500 + 100 + 1
    assert both_read == ("2000", "2000")
    assert after[0] == after[1] == str(len(list(log_lines(place / "logs"))))
    assert modes == {
        "logs": 0o2770,
        ".jsonl": 0o660,
        ".key": 0o640,
        "spool": 0o3770,
        ".spool": 0o640,
    }
    assert looked == ("2", "2")
    assert len(orphans) == 1
    assert left == orphans, "they are nobody else's to recover"
    assert owners.keys() <= {ONE, OTHER}
    assert said == ["", ""], "nothing to warn of"
    assert orphans & set(spools.glob("*.spool")) == set(), "its heir recovers it"


def test_s5_a_spool_cannot_be_taken_away_by_another_user(
    place: Path, users: list[User]
) -> None:
    """
    Nor written to, nor cut short, which would end its owner with SIGBUS.
    """
    one = User(place, "one", ONE, 0o022)
    users.append(one)
    one("log 1")
    one("flush")
    (spool,) = (place / "logs" / "spool").glob("*.spool")
    tried = """
import os, sys
path, user, group = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.setgroups([group])
os.setresgid(user, user, user)
os.setresuid(user, user, user)
for attempt in (
    lambda: os.unlink(path),
    lambda: os.rename(path, path + ".moved"),
    lambda: os.truncate(path, 0),
    lambda: os.open(path, os.O_RDWR),
):
    try:
        attempt()
    except PermissionError:
        print("refused")
"""
    arguments = [str(spool), str(OTHER), str(GROUP)]
    result = subprocess.run(
        [sys.executable, "-c", tried, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    one("log 1")

    assert result.stdout.split() == ["refused"] * 4
    assert one("flush") == "True True"
    assert one.end() == ""


def test_s5_without_group_access_another_user_is_told_whose_the_log_is(
    place: Path, users: list[User]
) -> None:
    """
    A process that lacks the setting has made the day's file: who comes next is told
    whose it is and what to set, keeps its records, and writes them when it may.
    """
    one = User(place, "one", ONE, 0o022)
    other = User(place, "other", OTHER, 0o022)
    users += [one, other]
    one("log 1")
    one("flush")
    (path,) = (place / "logs").glob("*.jsonl")
    path.chmod(0o600)
    other("log 3")
    other.begin("flush")
    while "Failed to write" not in (told := _told_by(other)):
        pass
    path.chmod(0o660)
    flushed = other._answer()

    assert flushed == "True True"
    assert f"belongs to user {ONE}" in told
    assert str(path) in told
    assert "group_access" in told
    assert len(path.read_bytes().splitlines()) == 4


def _told_by(user: User) -> str:
    assert user.process.stderr is not None
    line = user.process.stderr.readline()
    assert line, "it has ended"
    return str(line)
