"""Q1 after a power failure: of a spool of another boot, what the log lacks."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.queue.rig import DAY, NEXT_DAY, make_line, name_of
from tests.queue.test_recovery import make_orphan
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.settings import MIB
from tokenpak.telemetry.store import boot, spool
from tokenpak.telemetry.store.boot import current_boot
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.replay import is_record, missing
from tokenpak.telemetry.store.spool import SpoolFile

NAMES = [f"{number}" for number in range(6)]


@pytest.fixture
def another_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spools that are made in the test belong to another start of the machine."""
    monkeypatch.setattr(spool, "current_boot", lambda: current_boot() ^ 1 or 2)


def make_log(log_dir: Path, names: list[str], day: str = DAY) -> Path:
    path = log_dir / f"errors-{day}.jsonl"
    path.write_bytes(b"".join(make_line(name, day=day) for name in names))
    return path


def names_in(log_dir: Path, day: str = DAY) -> list[str]:
    path = log_dir / f"errors-{day}.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [name_of(line) for line in lines]


def note_as_pending(made: SpoolFile, path: Path, start: int, end: int) -> None:
    status = path.stat()
    made.notes.begin(DAY, (status.st_dev, status.st_ino), 0, (1, start), (1, end))


@given(there=st.sets(st.sampled_from(NAMES)))
def test_q1_only_what_the_log_lacks_is_missing(
    tmp_path_factory: pytest.TempPathFactory, there: set[str]
) -> None:
    """
    Each line by itself, whichever of them came to the disk.
    """
    log_dir = tmp_path_factory.mktemp("logs")
    make_log(log_dir, [name for name in NAMES if name in there])
    found = missing(str(log_dir), ERRORS, DAY, [make_line(name) for name in NAMES])

    assert found == [name not in there for name in NAMES]


def test_q1_identical_lines_are_counted(tmp_path: Path) -> None:
    """
    Three were accepted and two are there: one is missing.
    """
    make_log(tmp_path, ["same", "same"])
    found = missing(str(tmp_path), ERRORS, DAY, [make_line("same")] * 3)

    assert sum(found) == 1


def test_q1_archives_are_looked_into_also_those_that_are_cut(tmp_path: Path) -> None:
    """
    Plain ones and compressed ones, late ones too.
    """
    archive = tmp_path / "archive"
    archive.mkdir()
    lines = [make_line(name) for name in NAMES]
    whole = gzip.compress(lines[0] + lines[1])
    (archive / f"errors-{DAY}.jsonl.gz").write_bytes(whole)
    (archive / f"errors-{DAY}.1.jsonl").write_bytes(lines[2])
    cut = gzip.compress(lines[3] * 2, mtime=0)[:-9]
    (archive / f"errors-{DAY}.2.jsonl.gz").write_bytes(cut)
    found = missing(str(tmp_path), ERRORS, DAY, lines)

    assert found[:3] == [False] * 3
    assert found[4:] == [True] * 2


def test_q1_a_file_with_two_names_is_counted_once(tmp_path: Path) -> None:
    """
    As for a moment on its way into the archive.
    """
    path = make_log(tmp_path, ["same"])
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / path.name).hardlink_to(path)
    found = missing(str(tmp_path), ERRORS, DAY, [make_line("same")] * 2)

    assert sum(found) == 1


@pytest.mark.parametrize("stale", ["no note", "pending", "done in the middle"])
@pytest.mark.usefixtures("another_boot")
def test_q1_notes_that_are_older_than_the_log_double_nothing(
    tmp_path: Path, stale: str
) -> None:
    """
    All was appended and synced, and the spool on the disk does not know it.
    """
    lines = [make_line(name) for name in NAMES]
    path = make_log(tmp_path, NAMES)
    made, segment = make_orphan(tmp_path, lines)
    if stale == "pending":
        note_as_pending(made, path, len(lines[0]), segment.end())
    elif stale == "done in the middle":
        note_as_pending(made, path, 0, 3 * len(lines[0]))
        made.notes.done()
    made.release()
    found = recover(str(tmp_path))

    assert names_in(tmp_path) == NAMES
    assert (found.spools, found.records) == (1, 0)


@pytest.mark.usefixtures("another_boot")
def test_q1_what_the_disk_lost_of_the_log_is_appended_again(tmp_path: Path) -> None:
    """
    Of several days; a torn tail is closed; what is there stays where it is.
    """
    lines = [make_line(name) for name in NAMES]
    lines.insert(3, make_line("next", day=NEXT_DAY))
    path = make_log(tmp_path, [NAMES[0], NAMES[2]])
    with path.open("ab") as file:
        file.write(lines[1][:30])
    made, _ = make_orphan(tmp_path, lines)
    made.release()
    found = recover(str(tmp_path))
    content = path.read_bytes().splitlines()
    whole = [name_of(line) for line in content if is_record(line + b"\n")]

    assert whole == ["0", "2", "1", "3", "4", "5"]
    assert content[2] == lines[1][:30]
    assert names_in(tmp_path, NEXT_DAY) == ["next"]
    assert found.records == 5


@pytest.mark.usefixtures("another_boot")
def test_q1_pages_of_an_earlier_turn_are_no_records(tmp_path: Path) -> None:
    """
    A line that begins as one and ends as another is damage, and is counted.
    """
    one, other = make_line("one", 3_000), make_line("other", 3_000)
    made, segment = make_orphan(tmp_path, [one, other, make_line("last")])
    at = len(one) + 1_500
    segment[at : at + 100] = b'"x' * 50
    made.release()
    found = recover(str(tmp_path))

    assert names_in(tmp_path) == ["one", "last"]
    assert (found.records, found.damaged) == (2, 1)


@pytest.mark.usefixtures("another_boot")
def test_q3_what_a_bound_has_no_room_for_is_no_record_that_was_recovered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is dropped, and not counted twice.
    """
    path = tmp_path / f"errors-{DAY}.jsonl"
    path.write_bytes(make_line("before", MIB - 300))
    made, _ = make_orphan(tmp_path, [make_line(name, 120) for name in NAMES])
    made.release()
    monkeypatch.setenv("TOKENPAK_MAX_DAY_BYTES", str(MIB))
    found = recover(str(tmp_path))

    assert names_in(tmp_path) == ["before", *NAMES[:2]]
    assert (found.spools, found.records, found.damaged) == (1, 2, 0)


@pytest.mark.usefixtures("another_boot")
def test_q1_identical_lines_are_counted_wherever_they_lie(tmp_path: Path) -> None:
    """
    In the spool, with those of another day in between; one of three is in the log.
    """
    same, other = make_line("same"), make_line("other", day=NEXT_DAY)
    make_log(tmp_path, ["same"])
    made, _ = make_orphan(tmp_path, [same, other, same, other, same])
    made.release()
    found = recover(str(tmp_path))

    assert names_in(tmp_path) == ["same"] * 3
    assert names_in(tmp_path, NEXT_DAY) == ["other"] * 2
    assert (found.records, found.damaged) == (4, 0)


def test_a_spool_names_its_boot(tmp_path: Path) -> None:
    """
    The same for all spools of one start of the machine, where it has a name.
    """
    made, _ = make_orphan(tmp_path, [])
    found = made.notes.boot
    made.remove()

    assert found == current_boot()


def test_a_system_without_a_boot_id_has_boot_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    And its spools are believed, as those of this boot.
    """
    monkeypatch.setattr(boot, "_BOOT_ID", "/nowhere")
    current_boot.cache_clear()
    found = current_boot()
    current_boot.cache_clear()

    assert found == 0


@given(st.binary())
def test_only_an_object_with_its_newline_is_a_record(data: bytes) -> None:
    """
    Whatever the bytes are, nothing is raised.
    """
    found = is_record(data)

    assert found is (data.endswith(b"}\n") and _is_object(data))


def _is_object(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict)
    except ValueError:
        return False
