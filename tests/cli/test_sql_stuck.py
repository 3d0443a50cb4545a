"""``tokenpak telemetry sql``: ended by a signal, whatever DuckDB is at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_sql_command import COMMAND, SECONDS, log_dir
from tokenpak.telemetry.read.aside import Aside
from tokenpak.telemetry.read.sql import SqlSession

__all__ = ["log_dir"]  # a fixture, which pytest finds by its name

duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")

DEAF = "SELECT jaro_similarity(repeat('ab', 3000000), repeat('ba', 3000000))"
"""One value that takes hours; DuckDB does not ask meanwhile whether it is to end."""


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_s5_a_statement_that_does_not_listen_is_left_and_nothing_else(
    log_dir: Path, tmp_path: Path, number: signal.Signals, form: str
) -> None:
    """With the status of the signal, and no copy of the log in the temporary files."""
    place = tmp_path / "tmp"
    place.mkdir()
    read, write = os.pipe()
    process = subprocess.Popen(
        [
            *(*COMMAND, "--log-dir", str(log_dir), "-o", str(tmp_path / "out")),
            *("--format", form, f"FROM errors; {DEAF}"),
        ],
        env={**os.environ, "TMPDIR": str(place)},
        stderr=write,
    )
    os.close(write)
    with open(read, "rb") as stderr:
        try:
            # The malformed line of the log is told of when it is being filled.
            told = stderr.read(7)
            (folder,) = place.iterdir()
            wait_until_at_it(process, folder)
            process.send_signal(number)
            status = process.wait(SECONDS)
        finally:
            process.kill()
            process.wait()
        told += stderr.read()

    assert status == (1 if number == signal.SIGINT else 128 + number), told
    assert told.endswith(b"Aborted!\n") == (number == signal.SIGINT)
    assert b"Traceback" not in told
    assert list(place.iterdir()) == []
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert not (tmp_path / "out").exists()


def wait_until_at_it(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until all is filled, and the statement has computed for half a second."""
    begun = None
    for _ in range(int(SECONDS * 100)):
        assert process.poll() is None
        if not list(folder.glob("piece-*")):
            stat = Path(f"/proc/{process.pid}/stat").read_text()
            ticks = int(stat.rpartition(")")[2].split()[11])
            begun = ticks if begun is None else begun
            if ticks - begun > os.sysconf("SC_CLK_TCK") / 2:
                return
        threading.Event().wait(0.01)
    raise AssertionError("it does not compute")


BETWEEN = """
import os, signal, sys
from tokenpak.cli import main
from tokenpak.telemetry.read import aside

begin = aside.Aside.begin

def interrupted(self, function, *args):
    call = begin(self, function, *args)
    if "range" in getattr(args[0], "query", "") if args else "":
        while call.function is not None:  # until the thread is at it
            pass
        os.kill(os.getpid(), int(sys.argv[1]))
    return call

signal.signal(signal.SIGINT, signal.default_int_handler)
aside.Aside.begin = interrupted
main(sys.argv[2:])
"""
"""A query that is ended when a statement was begun, and nobody waits for it yet."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_s5_a_statement_that_has_just_been_begun_is_ended_too(
    log_dir: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """It would go on for hours, with a copy of the log in the temporary files."""
    place = tmp_path / "tmp"
    place.mkdir()
    endless = "SELECT max(a.range * b.range) FROM range(1000000) a, range(1000000) b"
    words = ["telemetry", "sql", "--log-dir", str(log_dir), f"FROM errors; {endless}"]

    done = subprocess.run(
        [sys.executable, "-c", BETWEEN, str(int(number)), *words],
        env={**os.environ, "TMPDIR": str(place)},
        capture_output=True,
        check=False,
        timeout=SECONDS,
    )

    assert done.returncode == (1 if number == signal.SIGINT else 128 + number), done
    assert b"Traceback" not in done.stderr
    assert list(place.iterdir()) == []


def test_s5_a_statement_that_is_left_leaves_no_file_that_it_makes_meanwhile(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It spills what it computes, when all else of the directory is deleted."""
    session = SqlSession(log_dir)
    folder = Path(session._folder.name)
    real, late = os.rmdir, [folder / "spilled"]

    def rmdir(path: Any, *, dir_fd: int | None = None) -> None:
        if late:
            late.pop().touch()
        real(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", rmdir)
    session.close()

    assert late == []
    assert not folder.exists()


def test_a_call_gives_what_it_gives() -> None:
    """Value or error; one after the other, in a thread of their own."""
    aside = Aside(lambda: None)
    here = threading.get_ident()

    assert aside.call(divmod, 7, 2) == (3, 1)
    assert aside.call(threading.get_ident) != here
    with pytest.raises(ZeroDivisionError):
        aside.call(divmod, 7, 0)
    assert aside.call(threading.get_ident) == aside.call(threading.get_ident)
    aside.close()
    aside.close()
    assert not aside.stuck
    assert "tokenpak-sql" not in {thread.name for thread in threading.enumerate()}


def test_a_call_that_listens_has_ended_when_the_interruption_goes_on() -> None:
    """It was asked, until it did."""
    asked = threading.Event()
    aside = Aside(asked.set, patience=SECONDS)
    call = aside.begin(asked.wait, SECONDS)

    class Interrupted(BaseException):
        pass

    def interrupted(_timeout: float) -> bool:
        del call.ended.wait
        raise Interrupted

    call.ended.wait = interrupted  # type: ignore[method-assign, assignment]
    with pytest.raises(Interrupted):
        aside.result(call)

    assert asked.is_set()
    assert call.ended.is_set()
    assert not aside.stuck
    aside.close()


def test_a_call_whose_beginning_was_interrupted_is_ended_by_the_next_who_looks() -> (
    None
):
    """He who began it has nothing to abandon; what comes behind it does not wait."""
    begun, asked = threading.Event(), threading.Event()
    aside = Aside(asked.set, patience=SECONDS)
    real: Any = aside._calls

    class Interrupted(BaseException):
        pass

    class Calls:
        def put(self, call: object) -> None:
            real.put(call)
            assert begun.wait(SECONDS)
            raise Interrupted

    def work() -> bool:
        begun.set()
        return asked.wait(SECONDS)

    aside.call(int)
    aside._calls = Calls()  # type: ignore[assignment]
    with pytest.raises(Interrupted):
        aside.call(work)
    aside._calls = real
    aside.abandon_all()

    assert asked.is_set()
    assert not aside.stuck
    assert aside.call(divmod, 7, 2) == (3, 1)
    aside.close()


def test_a_call_that_does_not_listen_is_stuck_and_not_waited_for() -> None:
    """At the end neither."""
    begun, free = threading.Event(), threading.Event()
    asked: list[int] = []
    aside = Aside(lambda: asked.append(1), patience=0.2)

    def work() -> bool:
        begun.set()
        return free.wait(SECONDS)

    call = aside.begin(work)
    assert begun.wait(SECONDS)

    aside.abandon(call)
    aside.close()

    assert aside.stuck
    assert asked
    assert not call.ended.is_set()
    free.set()
    assert call.ended.wait(SECONDS)


@pytest.mark.parametrize("put", [True, False])
def test_a_call_that_is_given_up_before_it_is_made_is_not_made(*, put: bool) -> None:
    """Whether it has come to the other thread or not: it is no call to wait for."""
    made: list[int] = []
    aside = Aside(lambda: None)
    real = aside._calls
    held: list[object] = []

    class Calls:
        def put(self, call: object) -> None:
            held.append(call)
            raise Interrupted

    class Interrupted(BaseException):
        pass

    aside.call(int)
    aside._calls = Calls()  # type: ignore[assignment]
    with pytest.raises(Interrupted):
        aside.call(made.append, 1)
    aside._calls = real
    aside._open[0].abandoned = True
    if put:
        real.put(aside._open[0])
    aside.close()

    assert not aside.stuck
    assert made == []
