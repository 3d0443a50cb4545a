"""Q1: a note that is pending is found, wherever its spool is, or it is an error."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from tests.store.archiving import DAY, close_all
from tokenpak.telemetry.errors import SpoolError
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import ERRORS, EVENTS
from tokenpak.telemetry.store.places import spool_directories
from tokenpak.telemetry.store.spool import HEAD_BYTES, SpoolFile
from tokenpak.telemetry.store.unsettled import DayFile, find_unsettled

FILE = DayFile(ERRORS, date.fromisoformat(DAY), (7, 8))


def make_spool(
    directory: str | Path,
    *,
    stream: str = ERRORS,
    day: str = DAY,
    identity: tuple[int, int] = (1, 1),
    done: bool = False,
    living: OsFiles | None = None,
) -> str:
    files = living or OsFiles()
    spool = SpoolFile.create(files, str(directory), stream, 4)
    spool.notes.begin(day, identity, 0, (1, 0), (1, 100))
    if done:
        spool.notes.done()
    if living is None:
        spool.release()
    assert spool.path is not None
    return spool.path


def find(log_dir: Path, spool_dir: str | None = None) -> str | None:
    return find_unsettled(OsFiles(), str(log_dir), spool_dir, FILE)


def test_q1_a_note_is_found_by_the_day_and_by_the_file(log_dir: Path) -> None:
    """The newest one that is pending; not those that are done, or of others."""
    make_spool(log_dir / "spool", done=True)
    make_spool(log_dir / "spool", stream=EVENTS)
    make_spool(log_dir / "spool", day="2026-03-25")
    make_spool(log_dir / "spool", day="2026-03-25", identity=(7, 9))
    assert find(log_dir) is None

    by_day = make_spool(log_dir / "spool")
    assert find(log_dir) == by_day
    os.unlink(by_day)
    by_file = make_spool(
        log_dir / "spool", stream=EVENTS, day="2026-03-25", identity=(7, 8)
    )
    assert find(log_dir) == by_file


def test_q1_all_places_are_looked_at(log_dir: Path, tmp_path: Path) -> None:
    """The log directory's own, the local one and that of the setting."""
    log_dir.mkdir()
    elsewhere = str(tmp_path / "elsewhere")
    places = spool_directories(str(log_dir), elsewhere)
    assert len(places) == 3
    for place in places:
        path = make_spool(place)
        try:
            assert find(log_dir, elsewhere) == path
        finally:
            os.unlink(path)
    os.rmdir(places[2])


def test_q1_the_spool_of_a_living_process_counts(log_dir: Path) -> None:
    """It is read without its lock."""
    files = OsFiles()
    path = make_spool(log_dir / "spool", living=files)

    assert find(log_dir) == path

    close_all(files)


def test_q1_notes_of_this_process_count_that_are_in_memory(log_dir: Path) -> None:
    """No file shows them."""
    spool = SpoolFile.in_memory(OsFiles(), ERRORS, 4)
    spool.notes.begin(DAY, (1, 1), 0, (1, 0), (1, 100))
    args = (OsFiles(), str(log_dir), None, FILE)

    assert find_unsettled(*args, own=[spool.notes]) == "this process"
    spool.notes.done()
    assert find_unsettled(*args, own=[spool.notes]) is None


def test_what_is_no_spool_has_no_note(log_dir: Path) -> None:
    """Recovery does not read it either."""
    folder = log_dir / "spool"
    path = make_spool(folder)
    whole = Path(path).read_bytes()
    os.unlink(path)
    (folder / "a.spool").write_bytes(b"")
    (folder / "b.spool").write_bytes(bytes(HEAD_BYTES))
    (folder / "c.spool").write_bytes(whole[: HEAD_BYTES - 1])
    (folder / ".new-d.spool").write_bytes(whole)
    (folder / "e").write_bytes(whole)
    (folder / "f.spool").mkdir()
    (folder / "target").write_bytes(whole)
    (folder / "g.spool").symlink_to(folder / "target")
    os.mkfifo(folder / "h.spool")

    assert find(log_dir) is None


def test_no_spools_at_all_are_no_error(log_dir: Path) -> None:
    """Neither the log directory nor the spool directory need be there."""
    assert find(log_dir) is None
    log_dir.mkdir()
    (log_dir / "spool").write_bytes(b"")
    assert find(log_dir) is None


@pytest.mark.parametrize(
    ("word", "value", "reason"),
    [
        (1, 99, "version"),
        (3, 0, "damaged head"),
        (24, 0, "damaged note"),
        (24, 2**63, "damaged note"),
    ],
)
def test_q1_a_spool_that_cannot_be_understood_is_an_error(
    log_dir: Path, word: int, value: int, reason: str
) -> None:
    """It may have a note that another version will settle."""
    path = make_spool(log_dir / "spool")
    with open(path, "r+b") as file:
        file.seek(word * 8)
        file.write(value.to_bytes(8, "little"))

    with pytest.raises(SpoolError, match=reason):
        find(log_dir)


@pytest.mark.parametrize("what", ["list", "open", "read"])
def test_q1_an_error_while_looking_is_an_error(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Never "there is no note"."""
    make_spool(log_dir / "spool")

    def fail(*_args: object) -> None:
        raise PermissionError(13, "Permission denied")

    if what == "list":
        monkeypatch.setattr("tokenpak.telemetry.store.unsettled.os.listdir", fail)
    elif what == "open":
        monkeypatch.setattr(OsFiles, "open", fail)
    else:
        monkeypatch.setattr(OsFiles, "read", fail)

    with pytest.raises(PermissionError):
        find(log_dir)
