"""An export by several processes is the export by one."""

from __future__ import annotations

import errno
import gc
import gzip
import io
import marshal
import os
import pickle
import signal
import subprocess
import sys
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from tests.queue.test_recovery import make_orphan
from tests.read.log_making import as_lines, make_record, write_log
from tokenpak.cli.output import stdout_bytes
from tokenpak.cli.whole import whole_stdout
from tokenpak.telemetry.read import (
    Format,
    Query,
    export_records,
    export_to_file,
    helper,
    parallel,
)
from tokenpak.telemetry.read.export import Plan

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name != "posix", reason="helpers need descriptors")


@pytest.fixture
def log_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve days, out of order and damaged; helpers pay at once, and do it all."""

    def leave_it_to_helpers(team: Any) -> date | None:
        alive = any(helper.alive for helper in team._helpers)
        mine: list[date] = [
            day for day in team._left if day in team._watched or not alive
        ]
        for day in mine[:1]:
            team._left.remove(day)
            return day
        return None

    monkeypatch.setattr(parallel, "WORTH_BYTES", 0)
    monkeypatch.setattr(parallel._Team, "_next_of_mine", leave_it_to_helpers)
    folder = tmp_path / "logs"
    for day in range(10, 22):
        records = [make_record(n, f"2026-03-{day}") for n in range(200, 0, -1)]
        records[3]["context"]["provider"] = "anthropic"
        data = as_lines(records) + b"torn\n"
        write_log(
            folder, data, f"2026-03-{day}", archived=day < 14, compressed=day < 14
        )
    return folder


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
@pytest.mark.parametrize("provider", [None, "anthropic", "nobody"])
def test_all_processes_write_what_one_would(
    log_dir: Path, tmp_path: Path, form: Format, provider: str | None
) -> None:
    """Byte for byte, with the same counts, and what was read adds up."""
    query = Query(provider=provider)
    passed: list[int] = []

    one = export_to_file(log_dir, tmp_path / "one", query=query, form=form)
    many = export_to_file(
        log_dir,
        tmp_path / "many",
        query=query,
        form=form,
        processes=3,
        progress=passed.append,
    )

    assert (tmp_path / "many").read_bytes() == (tmp_path / "one").read_bytes()
    assert (many.records, many.malformed) == (one.records, one.malformed)
    files = [*log_dir.glob("*.jsonl"), *log_dir.glob("archive/*")]
    assert sum(passed) == sum(file.stat().st_size for file in files)


def test_r1_what_is_pending_comes_once_with_helpers_too(
    log_dir: Path, tmp_path: Path
) -> None:
    """The days of what is pending are read by the process that knows of it."""
    lines = as_lines([make_record(900 + n, "2026-03-20") for n in range(3)])
    spool, _ = make_orphan(log_dir, lines.splitlines(keepends=True))
    spool.release()
    # One of them has been appended meanwhile.
    path = log_dir / "errors-2026-03-20.jsonl"
    with path.open("ab") as file:
        file.write(lines.splitlines(keepends=True)[0])

    done = export_to_file(
        log_dir, tmp_path / "out", form="jsonl", pending=True, processes=2
    )

    written = (tmp_path / "out").read_bytes()
    assert done.records == written.count(b"\n") == 12 * 200 + 3 + 1
    assert [written.count(line) for line in lines.splitlines()] == [2, 1, 1]


@pytest.mark.parametrize("moment", ["give", "write"])
def test_a_helper_that_dies_before_it_writes_loses_nothing(
    log_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Its day is read by another."""
    before = getattr(helper.Helper, moment)

    def kill(self: Any, *args: Any, **options: Any) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        before(self, *args, **options)

    one = export_to_file(log_dir, tmp_path / "one", form="jsonl")
    monkeypatch.setattr(helper.Helper, moment, kill)

    many = export_to_file(log_dir, tmp_path / "many", form="jsonl", processes=2)

    assert many.records == one.records
    assert (tmp_path / "many").read_bytes() == (tmp_path / "one").read_bytes()


def test_a_helper_that_dies_while_it_writes_ends_the_export(
    log_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell what it has written; there is no file then."""
    monkeypatch.setattr(helper.Helper, "messages", _began_and_died)

    with pytest.raises(OSError, match="died while it was writing"):
        export_to_file(log_dir, tmp_path / "many", form="jsonl", processes=2)

    assert os.listdir(tmp_path) == ["logs"]


def _began_and_died(helper: Any) -> list[tuple[str, None]]:
    os.kill(helper._process.pid, signal.SIGKILL)
    helper.alive = False
    helper.day = helper.day or "some day"
    return [("began", None)]


def test_a_disk_that_is_full_is_an_error_of_the_export(log_dir: Path) -> None:
    """Whichever process meets it."""
    with pytest.raises(OSError, match="No space left"):
        export_to_file(log_dir, "/dev/full", form="jsonl", processes=2)


def test_a_pipe_that_nobody_reads_is_a_broken_pipe(log_dir: Path) -> None:
    """Also if a helper is the one that meets it."""
    read_end, write_end = os.pipe()
    os.close(read_end)

    with open(write_end, "wb") as out, pytest.raises(BrokenPipeError):
        export_records(log_dir, out, form="jsonl", processes=2)


def test_an_output_that_changes_what_it_is_given_gets_all_of_it(
    log_dir: Path, tmp_path: Path
) -> None:
    """A gzip file has a descriptor, too, but not for what is not compressed."""
    with gzip.open(tmp_path / "out.gz", "wb") as out:
        many = export_records(log_dir, out, form="jsonl", processes=2)

    with gzip.open(tmp_path / "out.gz", "rb") as file:
        assert file.read().count(b"\n") == many.records == 12 * 200


@pytest.mark.parametrize("unbuffered", [False, True])
def test_the_stdout_of_a_command_is_one_that_helpers_write_to(
    log_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unbuffered: bool
) -> None:
    """``export > file`` is the usual one."""
    started: list[helper.Helper] = []

    def noted(*args: Any) -> helper.Helper:
        started.append(helper.Helper(*args))
        return started[-1]

    monkeypatch.setattr(parallel, "Helper", noted)
    export_to_file(log_dir, tmp_path / "one", form="jsonl")
    raw: Any = io.FileIO(tmp_path / "many", "w")
    buffer = raw if unbuffered else io.BufferedWriter(raw)
    with io.TextIOWrapper(buffer, write_through=unbuffered) as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        with whole_stdout():
            export_records(log_dir, stdout_bytes(), form="jsonl", processes=2)
        monkeypatch.undo()

    assert len(started) == 1
    assert (tmp_path / "many").read_bytes() == (tmp_path / "one").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere none is forked")
@pytest.mark.parametrize("there", [0, 1])
def test_where_no_process_can_be_started_those_that_are_there_do_it(
    log_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: int
) -> None:
    """A limit of processes or descriptors is no reason to fail; nothing is leaked."""
    export_to_file(log_dir, tmp_path / "one", form="jsonl")
    spawned = iter(range(there))

    def is_alone() -> bool:
        return next(spawned, None) is None

    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(helper, "is_alone", is_alone)
    monkeypatch.setattr(os, "fork", fork)
    gc.collect()  # or it closes meanwhile what other tests have left to it
    opened = len(os.listdir("/proc/self/fd"))

    export_to_file(log_dir, tmp_path / "many", form="jsonl", processes=3, fork=True)

    assert len(os.listdir("/proc/self/fd")) == opened
    assert (tmp_path / "many").read_bytes() == (tmp_path / "one").read_bytes()


@pytest.mark.parametrize("behind", ["plan", "day"])
def test_a_helper_whose_starter_is_gone_ends_without_a_word(
    log_dir: Path, behind: str
) -> None:
    """Whatever it waits for, and though nobody hears it."""
    plan = Plan(log_dir=str(log_dir), query=Query(), form="jsonl")
    day = marshal.dumps(date(2026, 3, 20).toordinal())
    messages = pickle.dumps(plan) + (day if behind == "day" else b"")
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "wb") as nobody:
        done = subprocess.run(
            [sys.executable, "-m", helper.WORKER, str(write_end)],
            input=messages,
            stdout=nobody if behind == "plan" else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert done.stderr == b""


FORKED = """
import os, signal, sys, threading
from tokenpak.telemetry.read import export_to_file, helper, parallel

parallel.WORTH_BYTES = 0
log_dir, target, with_thread, ignored = sys.argv[1:]
if ignored == "True":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
started = []
for name in ("_fork", "_spawn"):
    def noted(*args, name=name, real=getattr(helper, name)):
        started.append(name)
        return real(*args)
    setattr(helper, name, noted)

def leave_it_to_helpers(team):
    if any(helper.alive for helper in team._helpers) or not team._left:
        return None
    return team._left.popleft()

parallel._Team._next_of_mine = leave_it_to_helpers
end = threading.Event()
if with_thread == "True":
    threading.Thread(target=end.wait).start()
opened = len(os.listdir("/proc/self/fd"))
done = export_to_file(log_dir, target, form="jsonl", processes=3, fork=True)
end.set()
assert len(os.listdir("/proc/self/fd")) == opened
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    started.append("nobody is left")
print(done.records, sorted(set(started)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere none is forked")
@pytest.mark.parametrize("with_thread", [False, True])
@pytest.mark.parametrize("ignored", [False, True])
def test_helpers_are_forks_where_that_is_allowed_and_there_is_one_thread(
    log_dir: Path, tmp_path: Path, with_thread: bool, ignored: bool
) -> None:
    """
    They write what one process would; a fork of a process with threads may hang.

    Also where the system forgets children that end, as some supervisors leave it.
    """
    export_to_file(log_dir, tmp_path / "one", form="jsonl")

    done = subprocess.run(
        [
            *(sys.executable, "-c", FORKED, log_dir, tmp_path / "many"),
            *(str(with_thread), str(ignored)),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
    )

    how = "_spawn" if with_thread else "_fork"
    assert done.stdout == f"{12 * 200} {sorted([how, 'nobody is left'])}\n"
    assert (tmp_path / "many").read_bytes() == (tmp_path / "one").read_bytes()


WAITING = """
import os, sys
from datetime import date
from tokenpak.telemetry.read import Query, helper
from tokenpak.telemetry.read.export import Plan

plan = Plan(log_dir=sys.argv[1], query=Query(), form="jsonl", fork=True)
fd = os.open(os.devnull, os.O_WRONLY)
helpers = []
for _ in range(3):
    helpers.append(helper.Helper(plan, fd, helpers))
helpers[0].give(date(2026, 3, 20))
print(*(one._process.pid for one in helpers), flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere none is forked")
def test_forked_helpers_end_with_their_starter_however_it_ends(log_dir: Path) -> None:
    """Not the last one only: none keeps the pipes of another open."""
    starter = subprocess.Popen(
        [sys.executable, "-c", WAITING, log_dir], stdout=subprocess.PIPE
    )
    assert starter.stdout is not None
    # Its end comes when all who have it are gone.
    with starter.stdout as out:
        pids = out.read().split()
    assert starter.wait() == -signal.SIGKILL

    assert len(pids) == 3


SIGNALLED = """
import os, signal, sys
from tokenpak.telemetry.read import export_to_file, helper, parallel

parallel.WORTH_BYTES = 0
log_dir, target, moment, ignored = sys.argv[1:]
me = os.getpid()

def end(number, frame):
    raise SystemExit(128 + number)

for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN if ignored == "True" else end)

def signal_it(pid):
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        os.kill(pid, number)

real_fork, real_give = os.fork, helper.Helper.give

def fork():
    pid = real_fork()
    if pid == 0 and moment == "at once":
        signal_it(os.getpid())
    return pid

def give(self, day):
    if moment == "later":
        signal_it(self._process.pid)
    real_give(self, day)

own = []

def leave_it_to_helpers(team):
    if any(helper.alive for helper in team._helpers) or not team._left:
        return None
    own.append(team._left.popleft())
    return own[-1]

os.fork, helper.Helper.give = fork, give
parallel._Team._next_of_mine = leave_it_to_helpers
try:
    export_to_file(log_dir, target, form="jsonl", processes=2, fork=True)
finally:
    os.write(1, b"here " if os.getpid() == me else b"in a helper ")
print("by itself" if own else "by helpers")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere none is forked")
@pytest.mark.parametrize("moment", ["at once", "later"])
@pytest.mark.parametrize("ignored", [False, True])
def test_a_signal_ends_a_fork_and_nothing_else_or_nobody_if_it_is_ignored(
    log_dir: Path, tmp_path: Path, moment: str, ignored: bool
) -> None:
    """
    As early as it may come: no handler of its starter runs in it.

    With nohup, a helper outlives the terminal, too.
    """
    export_to_file(log_dir, tmp_path / "one", form="jsonl")

    done = subprocess.run(
        [
            *(sys.executable, "-c", SIGNALLED, log_dir, tmp_path / "many"),
            *(moment, str(ignored)),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert done.stdout == f"here by {'helpers' if ignored else 'itself'}\n"
    assert done.stderr == ""
    assert (tmp_path / "many").read_bytes() == (tmp_path / "one").read_bytes()
