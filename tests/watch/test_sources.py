"""Each failure is seen once: of the log, of spools, and drops of events."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from tests.queue.test_recovery import make_orphan
from tests.read.log_making import as_lines, make_record, write_log
from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.queue.notice import notice_line
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.store.notes import Drops
from tokenpak.telemetry.watch import Memory, Rules, Watcher
from tokenpak.telemetry.watch.sources import Sources
from tokenpak.telemetry.watch.waiting import Waiting

DAY = "2026-03-24"
NOON = datetime(2026, 3, 24, 12, tzinfo=UTC).timestamp()


def line(name: str) -> bytes:
    return as_lines([make_record(error_type=name)])


def seen(sources: Sources) -> Counter[str]:
    """Return the types of what has come since the last look."""
    return Counter(
        failure.error_type for _, failures in sources.new(NOON) for failure in failures
    )


def again(sources: Sources, log_dir: Path) -> Sources:
    """One of another process, which knows what *sources* knew."""
    data = orjson.loads(orjson.dumps(sources.as_data()))
    sources.close()
    made = Sources(str(log_dir), 14)
    made.restore(data)
    return made


@pytest.fixture
def log(tmp_path: Path) -> Path:
    write_log(tmp_path, line("Logged"))
    return tmp_path


def test_watch_sees_what_dead_processes_had_accepted(log: Path) -> None:
    """Before anybody recovers it, which may be never; and once."""
    sources = Sources(str(log), 14)
    assert seen(sources) == {"Logged": 1}
    make_orphan(log, [line("Held"), line("Held")])[0].release()

    assert seen(sources) == {"Held": 2}
    assert seen(sources) == {}


@pytest.mark.parametrize("restarts", [False, True])
def test_watch_sees_once_what_is_recovered_afterwards(
    log: Path, *, restarts: bool
) -> None:
    """Also if the watch was another process at each look, as with cron."""

    sources = Sources(str(log), 14)
    seen(sources)

    def look() -> Counter[str]:
        nonlocal sources
        if restarts:
            sources = again(sources, log)
        return seen(sources)

    spool, segment = make_orphan(log, [line("Held"), line("Same"), line("Same")])
    assert look() == {"Held": 1, "Same": 2}
    segment.write(line("Later"))
    assert look() == {"Later": 1}
    spool.release()
    assert recover(str(log)).records == 4
    with (log / f"errors-{DAY}.jsonl").open("ab") as file:
        file.write(line("Same"))  # one more, which no spool has held

    assert look() == {"Same": 1}
    assert look() == {}
    assert sources.as_data()[2] == {"spools": [], "passed": []}


def test_watch_sees_once_what_is_recovered_between_two_looks(log: Path) -> None:
    """Never seen in its spool, it comes from the log."""
    sources = Sources(str(log), 14)
    seen(sources)
    make_orphan(log, [line("Held")])[0].release()
    recover(str(log))

    assert seen(sources) == {"Held": 1}
    assert seen(sources) == {}


def test_r2_watch_remembers_so_many_waiting_records(log: Path) -> None:
    """What is behind them is seen when they are in the log; nothing twice."""
    waiting = Waiting(str(log), most=3)
    spools = [make_orphan(log, [line(f"T{n}")])[0] for n in range(7)]

    def look() -> list[str]:
        waiting.look()
        return [record["error_type"] for record in waiting.records(log_is_read=True)]

    first = look()
    assert len(first) == 3
    assert look() == []
    assert len(orjson.dumps(waiting.as_data())) < 2_000
    for spool in spools:
        spool.release()
    recover(str(log))
    data = (log / f"errors-{DAY}.jsonl").read_bytes().splitlines()
    waiting.look()
    arrived = [orjson.loads(d)["error_type"] for d in data if waiting.arrived(d)]
    assert sorted(first + arrived) == ["Logged", *(f"T{n}" for n in range(7))]


def test_watch_is_told_of_drops_of_events(log: Path) -> None:
    """It stands in the events' file, and wakes as that of errors does."""
    encoder = Encoder(65_536, lambda: int(NOON * 1e9))
    drops = Drops("queue_full", 5, 0, 1, 2)
    notice = notice_line(encoder, "events", drops, 4711)
    told: list[str] = []
    watcher = Watcher(
        str(log), Rules(), [], Memory(str(log / "state.json")), told.append
    )
    watcher.begin(NOON)
    assert watcher.look(NOON, 0) == []

    event = encoder.event("completion", "r", {"note": "RecordsDropped"}, own=True)
    (log / f"events-{DAY}.jsonl").write_bytes(event + notice)
    begun = watcher.look(NOON + 10, 0)

    (alert,) = begun
    assert alert.key == "CriticalError/RecordsDropped"
    assert alert.count == 1
    assert "5 records of process 4711 were dropped" in alert.example
    assert told == []


def test_r1_watch_passes_over_spools_that_are_none(log: Path) -> None:
    """Damaged, a pipe's name, a directory: the log is watched all the same."""
    place = log / "spool"
    place.mkdir(mode=0o700)
    (place / "errors-1.spool").write_bytes(b"\xff" * 5000)
    (place / "errors-2.spool").mkdir()
    (place / "errors-3.spool").symlink_to("/dev/zero")

    assert seen(Sources(str(log), 14)) == {"Logged": 1}
