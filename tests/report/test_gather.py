"""The fast way and the parallel one count what the plain way does."""

from __future__ import annotations

import errno
import gc
import gzip
import io
import json
import os
import random
import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.queue.test_recovery import make_orphan
from tests.read.log_making import summary_of
from tests.report.logs import NOW, failure, report_of, write
from tokenpak.telemetry.read import Query, parse_when
from tokenpak.telemetry.read.lines import Block
from tokenpak.telemetry.read.records import FIELDS
from tokenpak.telemetry.report import gather as gathering
from tokenpak.telemetry.report import parallel, tally
from tokenpak.telemetry.report.gather import gather
from tokenpak.telemetry.report.make import make_report
from tokenpak.telemetry.report.page import as_page
from tokenpak.telemetry.report.parallel import Crew
from tokenpak.telemetry.report.summary import summarise
from tokenpak.telemetry.report.text import as_text

if TYPE_CHECKING:
    from pathlib import Path

    from tokenpak.telemetry.report import Report


def make_log(log_dir: Path, number: int = 3_000) -> Path:
    """Return a log with records of all forms, archives and damage."""
    dice = random.Random(7)
    records: list[dict[str, Any]] = []
    for i in range(number):
        record = failure(
            dice.uniform(0, 72),
            dice.choice(["ValueError", "KeyError", "TimeoutError"]),
            dice.choice([f"req {i} failed", "no", "", "é\n\u2028", "x" * 400]),
            line=dice.randrange(50),
            file=dice.choice(["parse", "net"]),
            provider=dice.choice(["openai", "google", None, 7]),
            duration_ms=dice.choice([i, 0.5 * i, None, "abc", -1]),
            cost_estimate=dice.choice([0.01, 1e-12, None]),
        )
        change = dice.randrange(40)
        if change == 0:
            record["timestamp"] = record["timestamp"][:19] + "+00:00"
        if change == 1:
            record["extra"] = {"stack_trace": "no", "context": 5}
        if change == 2:
            record |= summary_of(10)
        if change == 3:
            record["stack_trace"] += "a note\n"
        records.append(record)
    write(log_dir, records)
    day = log_dir / "errors-2026-03-24.jsonl"
    day.write_bytes(b'{"cut\n' + day.read_bytes() + b"\n[]\n")
    before = log_dir / "errors-2026-03-23.jsonl"
    (log_dir / "archive").mkdir()
    archived = log_dir / "archive" / "errors-2026-03-23.jsonl.gz"
    archived.write_bytes(gzip.compress(before.read_bytes()))
    before.unlink()
    return log_dir


def slowly(log_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Return the report that each record goes the plain way to."""

    def count(gathered: Any, path: str, block: Block) -> None:
        gathering._count_slowly(gathered, path, block)

    with monkeypatch.context() as patch:
        patch.setattr(gathering, "count_block", count)
        return report_of(log_dir)


def test_the_fast_way_counts_what_the_plain_way_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each figure of the report, for records of all forms."""
    log_dir = make_log(tmp_path)

    plain = slowly(log_dir, monkeypatch)

    assert plain.total.now > 500
    assert plain.health.malformed == 2
    assert report_of(log_dir) == plain


@pytest.mark.parametrize("workers", [2, 3])
def test_several_processes_count_what_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Each figure, however the blocks are shared out."""
    monkeypatch.setattr(parallel, "is_alone", lambda: True)
    log_dir = make_log(tmp_path)
    taken = []
    take = Crew.take

    def noted(crew: Crew, path: str, block: Block) -> bool:
        # As small as possible, so that all have something to do.
        taken.append(take(crew, path, block))
        return taken[-1]

    monkeypatch.setattr(Crew, "take", noted)
    alone = report_of(log_dir)
    assert not taken

    shared = report_of(log_dir, workers=workers)

    assert any(taken)
    assert shared == alone


def test_a_worker_that_dies_ends_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an error that says so, and not with figures that lack something."""
    monkeypatch.setattr(parallel, "is_alone", lambda: True)
    log_dir = make_log(tmp_path, 200)

    def die(*_: Any) -> None:
        os._exit(9)

    monkeypatch.setattr(gathering._Helper, "do", die)
    pids = []
    fork = os.fork

    def noted() -> int:
        pids.append(fork())
        return pids[-1]

    monkeypatch.setattr(os, "fork", noted)

    with pytest.raises(ChildProcessError, match="has died"):
        report_of(log_dir, workers=2)
    (pid,) = pids
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # it was reaped


class _Killed:
    """Ends the process in the middle of its answer, as the kernel does for memory."""

    def __reduce__(self) -> str:
        os._exit(9)


def test_a_worker_that_dies_while_it_answers_ends_the_report() -> None:
    """Half an answer is none, and no traceback."""

    class Helper:
        result = (b"x" * 1_000_000, _Killed())

        def do(self, path: str, block: Block) -> None:
            raise AssertionError

    crew = Crew(1, Helper)
    try:
        with pytest.raises(ChildProcessError, match="has died"):
            list(crew.finish())
    finally:
        crew.close()


def test_nothing_is_forked_beside_other_threads(tmp_path: Path) -> None:
    """Nor for a log that is small."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait, args=(60,))
    thread.start()
    try:
        assert parallel.workers_for(str(tmp_path), Query(), 4) == 1
    finally:
        done.set()
        thread.join()
    assert parallel.workers_for(str(tmp_path), Query(), None) == 1


BESIDE = """
import _thread, sys
from tokenpak.telemetry.read import Query
from tokenpak.telemetry.report.parallel import workers_for

alone = workers_for(sys.argv[1], Query(), 3)
held = _thread.allocate_lock()
held.acquire()
_thread.start_new_thread(held.acquire, ())
print(alone, workers_for(sys.argv[1], Query(), 3))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs /proc")
def test_nothing_is_forked_beside_threads_that_python_does_not_list(
    tmp_path: Path,
) -> None:
    """The writer of a logger is one; and those of other libraries."""
    done = subprocess.run(
        [sys.executable, "-c", BESIDE, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout == "3 1\n"


@pytest.mark.parametrize("closed", [False, True])
def test_workers_need_neither_stdout_nor_stderr(
    monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    """Python has None for those that were closed before it began: pythonw, ``>&-``."""
    stream = None
    if closed:
        stream = io.TextIOWrapper(io.BytesIO())
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)

    class Helper:
        result = "all"

        def do(self, path: str, block: Block) -> None:
            raise AssertionError

    crew = Crew(1, Helper)
    try:
        assert list(crew.finish()) == ["all"]
    finally:
        crew.close()


INTERRUPTED = """
import ctypes, functools, os, signal, sys
from tokenpak.telemetry.report.parallel import Crew

class Helper:
    result = "all"

signal.signal(signal.SIGINT, signal.default_int_handler)
# Not a function of Python: it would run the handler itself, and not who has forked.
interrupt = functools.partial(ctypes.PyDLL(None)["raise"], signal.SIGINT)
os.register_at_fork(after_in_child=interrupt)
try:
    crew = Crew(1, Helper)
    print(*crew.finish(), flush=True)
    crew.close()
finally:
    print("end", flush=True)
"""


def test_ctrl_c_right_after_a_fork_goes_up_no_stack_but_its_own() -> None:
    """A worker that came out of the call would end the program a second time."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], check=False, capture_output=True, text=True
    )

    assert (done.stdout, done.stderr, done.returncode) == ("all\nend\n", "", 0)


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("when", [1, 2])
def test_ctrl_c_while_workers_are_started_leaves_none(
    monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    """Nor a pipe, in a program that goes on afterwards."""
    real, pids = os.fork, list[int]()

    def fork() -> int:
        if len(pids) + 1 == when:
            raise KeyboardInterrupt
        pids.append(real())
        return pids[-1]

    monkeypatch.setattr(os, "fork", fork)
    gc.collect()  # or what earlier tests have left is closed in between
    opened = len(os.listdir("/proc/self/fd"))

    with pytest.raises(KeyboardInterrupt):
        Crew(2, _no_helper)

    assert len(os.listdir("/proc/self/fd")) == opened
    for pid in pids:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # it was reaped


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_where_no_process_can_be_started_no_descriptor_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who asks for a report again and again would run out of them."""

    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)
    gc.collect()  # or what earlier tests have left is closed in between
    opened = len(os.listdir("/proc/self/fd"))

    Crew(2, _no_helper).close()

    assert len(os.listdir("/proc/self/fd")) == opened


def _no_helper() -> Any:
    raise AssertionError


def test_r2_what_never_repeats_is_counted_as_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables are bounded, and the counts add up."""
    monkeypatch.setattr(tally, "MOST_ENTRIES", 50)
    monkeypatch.setattr(tally, "MOST_PLACES", 5)
    records = [
        failure(
            1 + i / 1000,
            f"Error{i % 200}",
            "no " + chr(0x4E00 + i),
            model=f"m{i % 30}",
            duration_ms=i,
        )
        for i in range(400)
    ]

    report = report_of(tmp_path, records)

    assert report.total.now == 400
    assert sum(count.now for count in report.by["error_type"]) == 400
    assert report.by["error_type"][-1].name == "(other)"
    assert not report.kinds_complete
    assert report.duration_ms.count == 400
    assert len(report.places) == 6


def test_r2_so_many_messages_leave_the_counts_by_name_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only kinds are not told apart any more."""
    monkeypatch.setattr(tally, "MOST_ENTRIES", 50)
    words = "no " + chr(0x4E00)
    records = [
        failure(1, f"E{i % 3}", words + chr(0x4E00 + i), provider="ab"[i % 2], kind="k")
        for i in range(600)
    ]

    report = report_of(tmp_path, records)

    assert not report.kinds_complete
    for by, names in (
        ("error_type", {"E0": 200, "E1": 200, "E2": 200}),
        ("provider", {"a": 300, "b": 300}),
        ("model", {"gpt-4o": 600}),
        ("kind", {"k": 600}),
    ):
        found = {count.name: count.now for count in report.by[by]}  # type: ignore[index]
        assert found == names


def test_r2_a_report_of_many_names_is_bounded(tmp_path: Path) -> None:
    """The rest is told as other."""
    records = [failure(1, f"Error{i}") for i in range(100)]

    report = report_of(tmp_path, records)

    assert len(report.by["error_type"]) == 41
    assert report.by["error_type"][-1].now == 60
    assert (len(report.new), report.new_total) == (40, 100)


def test_what_dead_processes_left_counts_too(tmp_path: Path) -> None:
    """Where it cannot be appended: pending=True reads it from the spools."""
    write(tmp_path, [failure(1)])
    left = [orjson.dumps(failure(2)) + b"\n", orjson.dumps(failure(99)) + b"\n"]
    spool, _ = make_orphan(tmp_path, left)
    spool.release()

    assert report_of(tmp_path).total.now == 1
    assert report_of(tmp_path, pending=True).total.now == 2
    assert (
        report_of(tmp_path, pending=True, query={"provider": "openai"}).total.now == 2
    )


def test_a_filtered_report_reads_as_an_export_does(tmp_path: Path) -> None:
    """The same figures by another way: a filter that all records pass."""
    records = [failure(i / 7, message=f"m {i}") for i in range(200)]
    write(tmp_path, records)

    everything = report_of(tmp_path)
    filtered = report_of(tmp_path, query={"provider": "openai"})

    assert filtered == everything


LINES = st.one_of(
    st.binary(max_size=60),
    st.builds(
        orjson.dumps,
        st.fixed_dictionaries(
            {},
            optional={
                name: st.one_of(
                    st.just("2026-03-24T10:00:00.000000Z"),
                    st.text(max_size=20),
                    st.none(),
                    st.integers(-(2**60), 2**60),
                    st.floats(),
                    st.lists(st.integers(0, 9), max_size=2),
                    st.dictionaries(
                        st.sampled_from(
                            [
                                *("provider", "model", "kind", "storm", "dropped"),
                                *("duration_ms", "cost_estimate", "held_back"),
                            ]
                        ),
                        st.one_of(
                            st.text(max_size=5),
                            st.integers(-9, 9),
                            st.floats(),
                            st.dictionaries(st.just("held_back"), st.integers(-1, 9)),
                        ),
                        max_size=5,
                    ),
                )
                for name in (*FIELDS["errors"], "event", "more")
            },
        ),
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=8))
def test_any_lines_at_all_make_a_report(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    """Nothing raises, and the fast way finds what the plain way does."""
    log_dir = tmp_path_factory.mktemp("any")
    # Twice, so that the second time each is known.
    (log_dir / "errors-2026-03-24.jsonl").write_bytes(b"\n".join(lines * 2) + b"\n")

    with pytest.MonkeyPatch.context() as patch:
        plain = slowly(log_dir, patch)

    fast = report_of(log_dir)
    assert orjson.dumps(fast) == orjson.dumps(plain)
    assert as_text(fast)
    assert as_page(fast)


def test_the_order_of_the_parts_makes_no_difference(tmp_path: Path) -> None:
    """A report is the same whichever file is read first."""
    make_log(tmp_path / "a", 500)
    query = Query(since=parse_when("2026-03-24"), until=parse_when("2026-03-24"))
    first = report_of(tmp_path / "a")
    lines = (tmp_path / "a" / "errors-2026-03-24.jsonl").read_bytes().split(b"\n")
    (tmp_path / "a" / "errors-2026-03-24.jsonl").write_bytes(
        b"\n".join(reversed(lines)) + b"\n"
    )

    again = make_report(tmp_path / "a", query, now=NOW)

    assert replace(again, kinds=(), new=()) == replace(first, kinds=(), new=())
    assert {kind.fingerprint for kind in again.kinds} == {
        kind.fingerprint for kind in first.kinds
    }


def test_a_summary_needs_no_log(tmp_path: Path) -> None:
    """It is pure: of a tally of nothing, too."""
    from datetime import timedelta

    from tokenpak.telemetry.report.window import make_window

    window = make_window(None, None, NOW, timedelta(days=1))
    report = summarise(gather(tmp_path, Query(), window), "x", "errors")

    assert orjson.loads(orjson.dumps(report))["total"]["now"] == 0
    json.dumps(orjson.loads(orjson.dumps(report)))
