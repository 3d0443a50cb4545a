"""The counters of processes that have ended: folded once, whatever happens."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenpak.telemetry.store import meters, totals
from tokenpak.telemetry.store.dayfiles import Contended
from tokenpak.telemetry.store.files import Buffer, OsFiles
from tokenpak.telemetry.store.meters import Reading
from tokenpak.telemetry.store.names import ERRORS, EVENTS, STREAMS
from tokenpak.telemetry.store.totals import DamagedTotalsError, Saved, Totals


def reading(ident: int, number: int, stream: str = ERRORS) -> Reading:
    """Return the counters of a process that has counted *number* of each."""
    return Reading(stream, ident, [number] * meters.PLACES)


def sums(saved: Saved | None) -> dict[str, int]:
    """Return what the first place has in all, by stream."""
    assert saved is not None
    found = {stream: saved.gone[stream][0] for stream in STREAMS}
    for known in saved.known.values():
        found[known.stream] += known.values[0]
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    return log_dir


@pytest.fixture
def folded(place: Path) -> Totals:
    return Totals(OsFiles(), str(place))


def test_m1_folding_again_changes_nothing(folded: Totals) -> None:
    """Who was killed between folding and deleting is followed by one who does both."""
    for _ in range(3):
        folded.fold([reading(1, 5), reading(2, 7, EVENTS)], ended=True)

    assert sums(folded.load()) == {ERRORS: 5, EVENTS: 7}


def test_m1_an_older_look_takes_nothing_away(folded: Totals) -> None:
    """Who has looked before another may come to fold after it."""
    folded.fold([reading(1, 9)], ended=True)
    folded.fold([reading(1, 4)], ended=False)

    saved = folded.load()

    assert sums(saved)[ERRORS] == 9
    assert saved is not None
    assert saved.known[1].ended


def test_m1_what_was_left_out_is_counted_once(folded: Totals) -> None:
    """However often somebody comes by."""
    damaged = Reading(ERRORS, 1, meters.zeros(), meters.DAMAGED)
    for _ in range(2):
        folded.fold([damaged], ended=True)

    saved = folded.load()

    assert saved is not None
    assert sum(saved.known[1].values) == 1


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 9)), max_size=600))
def test_m1_bounding_what_is_known_changes_no_sum(
    looks: list[tuple[int, int]],
) -> None:
    """Whichever go, and whenever: only long after they ended, so they don't return."""
    saved, newest = Saved(), dict[int, int]()
    for number, (ident, value) in enumerate(looks):
        # Each ident ends in its own time, and is not seen after that.
        key = ident + 1000 * (number // 100)
        now = 1e9 + 10 * totals.DELETED_AFTER * (number // 100)
        newest[key] = max(newest.get(key, 0), value)
        saved.fold(reading(key, value), ended=True, now=now)
        saved.compact(now)

    assert sums(saved)[ERRORS] == sum(newest.values())
    assert len(saved.known) <= totals.KEPT + 101
    assert sums(Saved.unpacked(saved.pack())) == sums(saved)


def test_m1_a_thousand_that_end_at_once_are_bounded(folded: Totals) -> None:
    """And counted, all of them."""
    folded.fold([reading(i, 1) for i in range(1, 2001)], ended=True)

    saved = folded.load()

    assert saved is not None
    assert len(saved.known) == totals.MOST_KEPT
    assert sums(saved)[ERRORS] == 2000


def test_m1_who_is_forgotten_is_not_counted_again() -> None:
    """Until very many more are; also by who adds what was begun apart."""
    saved, late = Saved(), 1e9 + 10 * totals.DELETED_AFTER
    for ident in range(1, totals.KEPT + 2):
        saved.fold(reading(ident, 1), ended=True, now=1e9)
    saved.compact(late)
    saved.editions = (1,)
    other = Saved()
    other.editions = (3,)
    for ident in (1, 7000):
        other.fold(reading(ident, 1), ended=True, now=late)
    other.add(Saved.unpacked(saved.pack()))
    saved.fold(reading(1, 1), ended=True, now=late)

    assert list(saved.buried) == list(other.buried) == [1]
    assert sums(saved)[ERRORS] == totals.KEPT + 1
    assert sums(other)[ERRORS] == totals.KEPT + 2


def test_m1_what_is_remembered_of_the_forgotten_is_bounded() -> None:
    """The newest of them."""
    saved = Saved()
    number = totals.BURIED + totals.MOST_KEPT + 5
    for ident in range(1, number + 1):
        saved.fold(reading(ident, 1), ended=True, now=float(ident))
    saved.compact(float(number))

    known = Saved.unpacked(saved.pack())

    assert len(known.buried) == totals.BURIED
    assert not known.buried.keys() & known.known.keys()
    assert sums(known)[ERRORS] == number


@pytest.mark.parametrize("group", [True, False])
def test_s5_users_of_one_group_save_wherever_their_spools_are(
    place: Path, group: bool
) -> None:
    """Also in what was made before they were one, and after by who was not told."""
    Totals(OsFiles(), str(place)).fold([reading(1, 5)], ended=True)

    Totals(OsFiles(group_access=group), str(place)).fold([reading(2, 5)], ended=True)
    Totals(OsFiles(), str(place)).fold([reading(3, 5)], ended=True)

    modes = {
        stat.S_IMODE(path.stat().st_mode)
        for path in (place / "metrics", *(place / "metrics").iterdir())
    }
    assert modes == ({0o2770, 0o660} if group else {0o700, 0o600})


def test_m1_who_lives_and_counts_nothing_for_days_is_not_forgotten() -> None:
    """It would be counted twice with its next look."""
    saved, late = Saved(), 1e9 + 10 * totals.UNSEEN_AFTER
    for ident in range(1, totals.KEPT + 3):
        saved.fold(reading(ident, 1), ended=False, now=1e9)

    saved.compact(late)
    nobody_looked = len(saved.known)
    saved.compact(late, living={1})
    saved.compact(late, living={1})

    assert nobody_looked == totals.KEPT + 2
    assert 1 in saved.known
    assert len(saved.known) == totals.KEPT + 1


@pytest.mark.parametrize("cut", [0, 5, 30, 200, -1])
def test_m1_a_damaged_file_is_begun_anew_and_counted(folded: Totals, cut: int) -> None:
    """Cut short at any place."""
    folded.fold([reading(1, 5)], ended=True)
    path = Path(folded.path)
    path.write_bytes(path.read_bytes()[:cut])

    with pytest.raises(DamagedTotalsError):
        folded.load()
    saved = folded.fold([reading(2, 3)], ended=True)

    place = meters.COUNTER_AT[meters.LEFT_OUT, meters.DAMAGED]
    assert saved.gone[ERRORS][place] == 1
    assert sums(folded.load())[ERRORS] == 3


def test_m1_every_flipped_byte_is_seen(folded: Totals) -> None:
    """The check sum is of all of it."""
    folded.fold([reading(1, 5)], ended=True)
    path = Path(folded.path)
    whole = path.read_bytes()
    believed = []
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            folded.load()
        except DamagedTotalsError:
            continue
        believed.append(at)

    assert believed == []


def test_m1_who_still_has_the_counters_puts_them_back_once(folded: Totals) -> None:
    """Two of them, and somebody who knew nothing had begun anew meanwhile."""
    before = folded.fold([reading(1, 5)], ended=True)
    os.unlink(folded.path)
    anew = folded.fold([reading(2, 3)], ended=True)

    for has in (before, before, anew):
        folded.fold([], ended=False, instead=has)

    assert sums(folded.load())[ERRORS] == 8


def test_m1_a_deleted_file_is_written_again_by_who_has_it(folded: Totals) -> None:
    """As it was."""
    before = folded.fold([reading(1, 5)], ended=True)
    os.unlink(folded.path)

    folded.fold([], ended=False, instead=before)

    assert sums(folded.load())[ERRORS] == 5


def test_m1_a_lock_that_is_held_is_not_waited_for(folded: Totals, place: Path) -> None:
    """The writer has other things to do: it comes again."""
    folded.fold([], ended=True)
    files = OsFiles()
    fd = files.open(str(place / "metrics" / "pipeline-v1.lock"), os.O_RDONLY)
    assert files.lock(fd)
    try:
        with pytest.raises(Contended):
            folded.fold([reading(1, 5)], ended=True)
    finally:
        files.close(fd)

    assert sums(folded.fold([reading(1, 5)], ended=True))[ERRORS] == 5


def test_s5_the_files_are_for_their_owner(folded: Totals, place: Path) -> None:
    """And their directory."""
    folded.fold([reading(1, 5)], ended=True)

    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (place / "metrics", *(place / "metrics").iterdir())
    }

    assert modes == {
        "metrics": 0o700,
        "pipeline-v1.lock": 0o600,
        "pipeline-v1.totals": 0o600,
    }


@contextmanager
def nothing_left(place: Path) -> Iterator[None]:
    before = sorted(place.rglob("*"))
    yield
    assert sorted(place.rglob("*")) == before


def test_s5_a_link_in_the_place_of_the_directory_is_not_followed(
    folded: Totals, place: Path, tmp_path: Path
) -> None:
    """It may lead anywhere."""
    (tmp_path / "elsewhere").mkdir()
    (place / "metrics").symlink_to(tmp_path / "elsewhere")

    with nothing_left(tmp_path), pytest.raises(OSError, match="symbolic link"):
        folded.fold([reading(1, 5)], ended=True)


def test_x2_a_log_directory_that_is_gone_is_not_made(tmp_path: Path) -> None:
    """Somebody has deleted it, on purpose."""
    gone = Totals(OsFiles(), str(tmp_path / "gone"))

    with pytest.raises(FileNotFoundError):
        gone.fold([reading(1, 5)], ended=True)

    assert list(tmp_path.iterdir()) == []


class FullDisk(OsFiles):
    """A disk that takes so many bytes, and no more."""

    room = 100

    def write(self, fd: int, parts: list[Buffer]) -> int:  # type: ignore[override]
        data = bytes(parts[0])[: self.room]
        self.room -= len(data)
        if not data:
            raise OSError(28, "No space left on device")
        return os.write(fd, data)


def test_x2_a_full_disk_leaves_what_was_there_and_nothing_else(
    folded: Totals, place: Path
) -> None:
    """Not even the half of a new file, which would take what the log needs."""
    folded.fold([reading(1, 5)], ended=True)
    full = Totals(FullDisk(), str(place))

    with nothing_left(place), pytest.raises(OSError, match="No space"):
        full.fold([reading(2, 7)], ended=True)

    assert sums(folded.load())[ERRORS] == 5
