"""The pipeline's counters of a machine: no scrape ends, and none has less."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.metrics.logs import append, line, pipeline
from tokenpak.telemetry.metrics import pipeline as pipeline_module
from tokenpak.telemetry.metrics.exposition import Exposition
from tokenpak.telemetry.metrics.machine import MachineCounts
from tokenpak.telemetry.metrics.pipeline import MachinePipeline, PipelineTotals
from tokenpak.telemetry.store import meters, totals
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.meters import Reading
from tokenpak.telemetry.store.names import ERRORS, EVENTS
from tokenpak.telemetry.store.spool import SpoolFile
from tokenpak.telemetry.store.totals import Saved, Totals

pytestmark = pytest.mark.skipif(not hasattr(os, "pread"), reason="needs spools")


def reading(ident: int, number: int, stream: str = ERRORS) -> Reading:
    return Reading(stream, ident, [number] * meters.PLACES)


def sampled(found: PipelineTotals) -> int:
    return found.by_label(meters.SUPPRESSED)[(meters.SAMPLED,)]


@pytest.fixture
def place(log_dir: Path) -> Path:
    log_dir.mkdir()
    return log_dir


def fold(place: Path, *readings: Reading) -> Saved:
    return Totals(OsFiles(), str(place)).fold(readings, ended=True)


def test_m1_the_living_and_the_ended_are_added_up(place: Path) -> None:
    """Of one that is both, what is newer."""
    fold(place, reading(1, 10), reading(2, 5, EVENTS))

    found = MachinePipeline(str(place)).add_up([reading(1, 12), reading(3, 100)])

    assert sampled(found) == 12 + 5 + 100
    assert found.by_stream(meters.RECOVERED, meters.RECORDS) == {
        (ERRORS,): 112,
        (EVENTS,): 5,
    }
    assert found.last_success == 100 / 1e9, "the newest time, not a sum"
    assert found.problems == ()


def test_m1_a_spool_that_vanished_takes_nothing_with_it(place: Path) -> None:
    """Deleted, or recovered by a version that knows no counters: who saw it tells."""
    saw = MachinePipeline(str(place))
    saw.add_up([reading(1, 10)])

    later = [sampled(saw.add_up([])) for _ in range(3)]
    others = sampled(MachinePipeline(str(place)).add_up([]))

    assert later == [10, 10, 10]
    assert others == 10, "it was saved"


def many_end(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have so many processes end that those which ended an hour ago are forgotten."""
    later = time.time() + 3600
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: later)
        zero = meters.zeros()
        fold(place, *(Reading(ERRORS, 100 + n, zero) for n in range(totals.KEPT + 1)))


@pytest.mark.parametrize("saves", [True, False])
def test_m1_a_worker_that_is_asked_once_an_hour_counts_nobody_twice(
    place: Path, monkeypatch: pytest.MonkeyPatch, saves: bool
) -> None:
    """Who ended meanwhile is among the sums; one of them it had not even saved."""
    asked = MachinePipeline(str(place))
    asked.add_up([reading(1, 10)])
    asked.add_up([reading(1, 10), reading(2, 7)])
    fold(place, reading(1, 10), reading(2, 8))
    many_end(place, monkeypatch)
    saved = Totals(OsFiles(), str(place)).load()
    assert saved is not None
    assert not {1, 2} & saved.known.keys()
    if saves:
        monkeypatch.setattr(pipeline_module, "SAVE_EVERY", 0.0)

    values = [sampled(asked.add_up([reading(3, 1)])) for _ in range(3)]

    assert values == [19] * 3
    other = MachinePipeline(str(place))
    assert sampled(other.add_up([reading(3, 1)])) == 19


def test_m1_a_spool_that_is_found_long_after_it_was_saved_counts_once(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who recovered it was killed before it was deleted, and its user was away."""
    fold(place, reading(1, 10))
    many_end(place, monkeypatch)
    asked = MachinePipeline(str(place))

    found = sampled(asked.add_up([reading(1, 10)]))
    fold(place, reading(1, 10))
    later = sampled(asked.add_up([]))

    assert (found, later) == (10, 10)


def test_m1_damage_that_cannot_be_mended_is_counted_when_it_is(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with each attempt."""
    fold(place, reading(1, 10))
    has = MachinePipeline(str(place))
    has.add_up([])
    (path,) = (place / "metrics").glob("*.totals")
    path.write_bytes(b"damage")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Totals, "_replace", refuse)
        refused = [has.add_up([]) for _ in range(3)]
    mended = has.add_up([])

    shown = [t.by_label(meters.LEFT_OUT)[(meters.DAMAGED,)] for t in (*refused, mended)]
    assert shown == [10, 10, 10, 11]


def test_m1_what_another_saves_a_moment_later_is_seen(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our own saving and the next look at the file."""
    asked = MachinePipeline(str(place))
    unlock = OsFiles.unlock

    def followed(files: OsFiles, fd: int) -> None:
        unlock(files, fd)
        monkeypatch.setattr(OsFiles, "unlock", unlock)
        fold(place, reading(2, 5))

    monkeypatch.setattr(OsFiles, "unlock", followed)
    asked.add_up([reading(1, 10)])

    assert sampled(asked.add_up([reading(1, 10)])) == 15


def last_success(place: Path) -> float:
    shown = Exposition(MachineCounts(str(place))).render().decode()
    name = "tokenpak_telemetry_last_success_timestamp_seconds"
    (value,) = [line for line in shown.splitlines() if line.startswith(f"{name} ")]
    return float(value.split()[1])


@pytest.mark.parametrize("ahead", [-3600, 30 * 86400])
def test_m1_the_last_success_is_also_that_of_who_counts_nothing(
    place: Path, ahead: float
) -> None:
    """An older version, who recovers; nor is it hidden by a clock that was ahead."""
    values = meters.zeros()
    values[meters.NEWEST] = int((time.time() + ahead) * 1e9)
    fold(place, Reading(ERRORS, 1, values))
    written = append(place, line(1)).stat().st_mtime

    assert last_success(place) == pytest.approx(written, abs=0.01)


def test_m1_what_is_seen_is_saved_now_and_then_and_kept_meanwhile(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it cannot be saved: then by who has seen it."""
    monkeypatch.setattr(pipeline_module, "SAVE_EVERY", float("inf"))
    saw = MachinePipeline(str(place))
    saw.add_up([reading(1, 10)])
    saw.add_up([reading(1, 11)])
    not_yet = sampled(MachinePipeline(str(place)).add_up([]))
    monkeypatch.setattr(pipeline_module, "SAVE_EVERY", 0.0)
    seen = sampled(saw.add_up([]))

    assert not_yet == 10
    assert seen == 11
    assert sampled(MachinePipeline(str(place)).add_up([])) == 11


def test_m1_one_process_in_two_looks_is_one(place: Path) -> None:
    """It ended between them, and its spool is there still: whoever folds it dies."""
    saw = MachinePipeline(str(place))
    values = []
    for number in range(1, 6):
        values.append(sampled(saw.add_up([reading(1, number)])))
        fold(place, reading(1, number))
        values.append(sampled(saw.add_up([reading(1, number)])))

    assert values == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_m1_damaged_totals_are_written_again_by_who_has_them(place: Path) -> None:
    """And the scrape that met the damage says so."""
    fold(place, reading(1, 10))
    has = MachinePipeline(str(place))
    has.add_up([])
    (path,) = (place / "metrics").glob("*.totals")
    path.write_bytes(b"damage")

    met = has.add_up([])

    assert (sampled(met), met.problems) == (10, ("damaged_totals",))
    other = MachinePipeline(str(place)).add_up([])
    assert (sampled(other), other.problems) == (10, ())
    assert other.by_label(meters.LEFT_OUT)[(meters.DAMAGED,)] == 10 + 1


def test_m1_what_another_began_anew_is_added(place: Path) -> None:
    """A writer that met the damage first knew nothing; two processes had all of it."""
    fold(place, reading(1, 10))
    having = [MachinePipeline(str(place)) for _ in range(2)]
    for has in having:
        has.add_up([])
    (path,) = (place / "metrics").glob("*.totals")
    path.unlink()
    fold(place, reading(2, 7))

    after = [sampled(has.add_up([])) for has in (*having, *having)]

    assert after == [17] * 4
    assert sampled(MachinePipeline(str(place)).add_up([])) == 17


def test_m1_who_may_only_read_sees_what_was_begun_anew(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And keeps what was there before; the file of the others goes on."""
    fold(place, reading(1, 10))
    asked = MachinePipeline(str(place))
    asked.add_up([reading(3, 1)])
    (path,) = (place / "metrics").glob("*.totals")
    path.unlink()
    real = Totals.fold

    def refuse(*_: object, **__: object) -> Saved:
        raise PermissionError

    monkeypatch.setattr(Totals, "fold", refuse)
    values = []
    for number in (1, 2):
        real(Totals(OsFiles(), str(place)), [reading(2, 100 * number)], ended=True)
        values += [sampled(asked.add_up([reading(3, number)])) for _ in range(2)]

    assert values == [111, 111, 212, 212]
    monkeypatch.setattr(Totals, "fold", real)
    assert sampled(asked.add_up([])) == 212
    assert sampled(MachinePipeline(str(place)).add_up([])) == 212


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_s5_root_who_asks_leaves_the_owner_their_own_counters(place: Path) -> None:
    """They could not be read any more by who must save the next ones."""
    os.chown(place, 12345, 23456)
    append(place, line(1))

    pipeline(place)
    fold(place, reading(1, 10))

    made = [place / "metrics", *(place / "metrics").iterdir()]
    assert len(made) == 5
    assert {(m.stat().st_uid, m.stat().st_gid) for m in made} == {(12345, 23456)}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_s5_root_gives_away_nothing_that_was_there(place: Path, tmp_path: Path) -> None:
    """Another name of some file of root's, in the place of the lock."""
    os.chown(place, 12345, 23456)
    (place / "metrics").mkdir()
    theirs = tmp_path / "theirs"
    theirs.touch()
    os.link(theirs, place / "metrics" / "pipeline-v1.lock")

    fold(place, reading(1, 10))

    assert theirs.stat().st_uid == 0


@pytest.fixture
def spool(place: Path) -> Iterator[SpoolFile]:
    made = SpoolFile.create(OsFiles(), str(place / "spool"), ERRORS, 2)
    yield made
    made.remove()


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        (12345, "damaged_meters"),
        (meters.MAGIC + (9 << 56), "other_version_meters"),
    ],
)
def test_m1_a_block_that_cannot_be_believed_is_left_out_and_told(
    place: Path, spool: SpoolFile, word: int, problem: str
) -> None:
    """Of a living process; whoever recovers it later counts it."""
    good = SpoolFile.create(OsFiles(), str(place / "spool"), ERRORS, 2)
    for made in (good, spool):
        made.counters[0] = meters.MAGIC
        made.counters[1] = made.ident
        made.counters[2 + meters.COUNTER_AT[meters.SUPPRESSED, meters.SAMPLED]] = 4
    spool.counters[0] = word

    found = pipeline(place)
    shown = Exposition(MachineCounts(str(place))).render().decode()
    good.remove()

    assert sampled(found) == 4
    assert found.problems == (problem,)
    assert f'tokenpak_telemetry_scrape_problems{{problem="{problem}"}} 1' in shown


def test_m1_any_bytes_in_the_place_of_the_counters_end_no_scrape(
    place: Path, spool: SpoolFile
) -> None:
    """Each word of the block in turn, with the largest number there is."""
    counts = MachineCounts(str(place))
    for word in range(meters.BLOCK):
        spool.counters[0] = meters.MAGIC
        spool.counters[word] = 2**64 - 1
        pipeline(place, counts)
        spool.counters[word] = 0

    found = pipeline(place, counts)

    assert found.problems == ()
    assert sampled(found) == 0


def test_m1_a_spool_that_is_cut_short_is_a_problem_of_the_scrape(
    place: Path, spool: SpoolFile
) -> None:
    """Its head may be there still, and no counters."""
    assert spool.path is not None
    data = Path(spool.path).read_bytes()[: 2 * 4096]
    (place / "spool" / "errors-00000000000000aa.spool").write_bytes(data)

    assert sampled(pipeline(place)) == 0


def test_m1_the_file_is_of_one_version(place: Path) -> None:
    """Another one's file is not touched, nor taken for damaged."""
    fold(place, reading(1, 3))
    (path,) = (place / "metrics").glob("*.totals")
    data = path.read_bytes()
    theirs = path.with_name("pipeline-v99.totals")
    theirs.write_bytes(data[:8] + struct.pack("<I", 99) + data[12:])

    found = pipeline(place)

    assert (sampled(found), found.problems) == (3, ())
    assert theirs.read_bytes()[8:12] == struct.pack("<I", 99)
