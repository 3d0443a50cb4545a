"""The spool's file: birth, owners, segments, what is found after a death."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.queue.rig import SEGMENT, make_line, small_segments
from tokenpak.telemetry.errors import SpoolError
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import ERRORS, EVENTS
from tokenpak.telemetry.store.orphan import unconsumed
from tokenpak.telemetry.store.segment import Segment, chill, warm
from tokenpak.telemetry.store.spool import (
    HEAD_BYTES,
    NEW_PREFIX,
    SUFFIX,
    SpoolFile,
    remove_unborn,
    spool_paths,
)


def create(directory: Path, slots: int = 4, files: OsFiles | None = None) -> SpoolFile:
    """Create a spool with small segments, all of which have space."""
    with small_segments():
        spool = SpoolFile.create(files or OsFiles(), str(directory), ERRORS, slots)
    spool.reserve(0, slots)
    return spool


def take(spool: SpoolFile, index: int, sequence: int) -> Segment:
    segment = spool.map(index, sequence)
    spool.notes.set_slot(index, sequence)
    return segment


# -- birth and owners ---------------------------------------------------------------


def test_q1_a_living_process_keeps_its_spool(tmp_path: Path) -> None:
    """
    Nobody can adopt it, not even the process itself; when it is gone, one can.
    """
    spool = create(tmp_path)
    (path,) = spool_paths(str(tmp_path))
    files = OsFiles()
    living = SpoolFile.adopt(files, path)
    spool.release()
    heir = SpoolFile.adopt(files, path)
    another = SpoolFile.adopt(OsFiles(), path)
    assert heir is not None
    left = len(files.descriptors)
    heir.remove()

    assert living is None
    assert another is None
    assert left == 2
    assert files.descriptors == {}
    assert os.listdir(tmp_path) == []


def test_q1_a_spool_that_is_gone_cannot_be_adopted(tmp_path: Path) -> None:
    """
    Somebody else was faster.
    """
    files = OsFiles()

    assert SpoolFile.adopt(files, str(tmp_path / f"gone{SUFFIX}")) is None
    assert files.descriptors == {}


def test_q1_a_spool_that_loses_its_name_while_it_is_adopted_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its last owner was between unlink and close: nothing is left to be done.
    """
    spool = create(tmp_path)
    spool.release()
    (path,) = spool_paths(str(tmp_path))
    files = OsFiles()
    lock = files.lock

    def unlinked_meanwhile(fd: int) -> bool:
        os.unlink(path)
        return lock(fd)

    monkeypatch.setattr(files, "lock", unlinked_meanwhile)

    assert SpoolFile.adopt(files, path) is None
    assert files.descriptors == {}


def test_s5_a_spool_is_private(tmp_path: Path) -> None:
    """
    Whatever the umask.
    """
    before = os.umask(0)
    try:
        spool = create(tmp_path / "spool")
    finally:
        os.umask(before)
    (path,) = (tmp_path / "spool").iterdir()
    modes = [stat.S_IMODE(place.stat().st_mode) for place in (path, path.parent)]
    spool.remove()

    assert modes == [0o600, 0o700]


def test_s5_no_spool_is_made_where_others_can_write(tmp_path: Path) -> None:
    """
    They could take it away, or plant one of theirs.
    """
    tmp_path.chmod(0o777)
    with pytest.raises(SpoolError, match="other users"):
        create(tmp_path)

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["fifo", "directory", "link"])
def test_s5_what_is_no_file_is_not_adopted(tmp_path: Path, kind: str) -> None:
    """
    And does not make anybody wait.
    """
    path = tmp_path / f"errors-1{SUFFIX}"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        spool = create(tmp_path / "elsewhere")
        spool.release()
        path.symlink_to(spool_paths(str(tmp_path / "elsewhere"))[0])
    files = OsFiles()
    try:
        adopted = SpoolFile.adopt(files, str(path))
    except OSError:
        adopted = None

    assert adopted is None
    assert files.descriptors == {}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "shorter"),
        (bytes(HEAD_BYTES - 1), "shorter"),
        (bytes(HEAD_BYTES), "not a spool"),
        (b"x" * HEAD_BYTES, "not a spool"),
    ],
)
def test_a_file_that_is_no_spool_says_so(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    """
    With its path; and is let alone.
    """
    path = tmp_path / f"errors-1{SUFFIX}"
    path.write_bytes(content)
    files = OsFiles()
    with pytest.raises(SpoolError, match=problem) as caught:
        SpoolFile.adopt(files, str(path))

    assert caught.value.path == str(path)
    assert files.descriptors == {}
    assert path.read_bytes() == content


def test_a_spool_that_is_being_born_is_not_seen(tmp_path: Path) -> None:
    """
    It has a temporary name until its lock is held.
    """
    (tmp_path / f"{NEW_PREFIX}errors-1{SUFFIX}").touch()
    (tmp_path / f"errors-2{SUFFIX}").touch()
    (tmp_path / "notes").touch()

    assert spool_paths(str(tmp_path)) == [str(tmp_path / f"errors-2{SUFFIX}")]
    assert spool_paths(str(tmp_path / "missing")) == []


def test_what_is_left_of_a_birth_is_deleted_when_it_is_old(tmp_path: Path) -> None:
    """
    A young one may be linked into place at any moment.
    """
    old, young, other = (
        tmp_path / f"{NEW_PREFIX}old{SUFFIX}",
        tmp_path / f"{NEW_PREFIX}young{SUFFIX}",
        tmp_path / f"old{SUFFIX}",
    )
    for path in (old, young, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (1, 1))
    remove_unborn(str(tmp_path))
    remove_unborn(str(tmp_path / "missing"))

    assert sorted(tmp_path.iterdir()) == sorted([young, other])


def test_a_spool_that_is_being_born_is_not_deleted_when_the_clock_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It looks as old as the step of the clock, but somebody has its lock.
    """
    link = os.link

    def look_first(old: str, new: str) -> None:
        os.utime(old, (1, 1))
        remove_unborn(str(tmp_path))
        link(old, new)

    monkeypatch.setattr(os, "link", look_first)
    spool = create(tmp_path)

    assert spool.exists()
    spool.remove()


def test_a_birth_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    No file, no descriptor, at whichever step.
    """
    for name in ("posix_fallocate", "link", "fchmod"):
        files = OsFiles()

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="No space"):
                create(tmp_path, files=files)

        assert os.listdir(tmp_path) == []
        assert files.descriptors == {}


def test_a_spool_knows_whether_it_still_has_its_name(tmp_path: Path) -> None:
    """
    Deleted, or replaced by another file: it has not.
    """
    spool = create(tmp_path)
    (path,) = tmp_path.iterdir()
    seen = [spool.exists()]
    path.unlink()
    seen.append(spool.exists())
    path.touch()
    seen.append(spool.exists())
    spool.release()
    memory = SpoolFile.in_memory(OsFiles(), EVENTS, 2)

    assert seen == [True, False, False]
    assert not memory.exists()
    assert not memory.durable
    assert memory.notes.stream == EVENTS


# -- after a death ------------------------------------------------------------------


def test_q1_an_heir_finds_the_segments_in_order(tmp_path: Path) -> None:
    """
    Wherever they are in the file, sealed, each with what was accepted.
    """
    spool = create(tmp_path)
    expected = {}
    for index, sequence in ((2, 7), (0, 8), (3, 9)):
        line = make_line(f"{sequence}")
        take(spool, index, sequence).write(line)
        expected[sequence] = line
    spool.release()
    heir = SpoolFile.adopt(OsFiles(), spool_paths(str(tmp_path))[0])
    assert heir is not None
    segments = heir.live_segments()
    found = {s.sequence: s[: s.end()] for s in segments}
    heir.remove()

    assert [segment.sequence for segment in segments] == [7, 8, 9]
    assert found == expected
    assert all(segment.sealed for segment in segments)


@given(torn=st.integers(0, 200), backwards=st.booleans())
@settings(deadline=None)
def test_q1_a_line_that_was_being_copied_ends_what_was_accepted(
    torn: int, *, backwards: bool
) -> None:
    """
    A copy may begin at either end: the lines before it are whole.
    """
    line = make_line("torn", 200)
    segment = Segment(-1, SEGMENT)
    segment.write(make_line("accepted", 300))
    at = segment.tell()
    if backwards:
        segment[at + 200 - torn : at + 200] = line[200 - torn :]
    else:
        segment[at : at + torn] = line[:torn]
    segment.seal()
    whole = segment[: segment.end()].split(b"\n")[0] + b"\n"

    assert segment.end() in {300, 500}
    assert whole == make_line("accepted", 300)
    assert segment.end() == 300 or (backwards and torn > 0) or torn == 200


def test_q1_a_file_that_was_cut_short_gives_what_it_has(tmp_path: Path) -> None:
    """
    Slots behind its end are not looked at: a mapping there would kill with SIGBUS.
    """
    spool = create(tmp_path)
    take(spool, 0, 1).write(make_line("one"))
    take(spool, 3, 2).write(make_line("two"))
    spool.release()
    (path,) = spool_paths(str(tmp_path))
    os.truncate(path, HEAD_BYTES + SEGMENT)
    heir = SpoolFile.adopt(OsFiles(), path)
    assert heir is not None
    found = [segment.sequence for segment in heir.live_segments()]
    heir.remove()

    assert found == [1]


def test_q1_without_a_note_all_is_unconsumed(tmp_path: Path) -> None:
    """
    Empty segments are nothing.
    """
    spool = create(tmp_path)
    first, second, third = (take(spool, n, n + 1) for n in range(3))
    first.write(make_line("one", 100))
    third.write(make_line("three", 120))
    found = [
        (segment.sequence, start, end)
        for segment, start, end in unconsumed([first, second, third], (0, 0))
    ]
    spool.remove()

    assert found == [(1, 0, 100), (3, 0, 120)]


def test_a_free_segment_gives_its_space_back(tmp_path: Path) -> None:
    """
    By a hole: the file stays as long as it is, and the range is zeros.
    """
    spool = create(tmp_path)
    segment = take(spool, 1, 1)
    segment.write(b"x" * SEGMENT)
    (path,) = tmp_path.iterdir()
    size = path.stat().st_size
    given = spool.give_back(segment)
    same_size = path.stat().st_size == size
    zeros = not any(spool.map(1, 2)[:])
    spool.remove()

    assert same_size
    assert zeros or not given


def test_pages_can_be_warmed_and_chilled_or_not(tmp_path: Path) -> None:
    """
    What they hold stays.  Where the system cannot, nothing happens.
    """
    spool = create(tmp_path)
    in_memory = SpoolFile.in_memory(OsFiles(), ERRORS, 2)
    for segment in (in_memory.map(0, 1), take(spool, 0, 1)):
        segment.write(b"line\n")
        for change in (warm, chill, chill, warm, warm):
            change(segment)

            assert segment[:6] == b"line\n\0"
            assert segment.end() == 5
    spool.remove()

    assert mmap.ALLOCATIONGRANULARITY <= HEAD_BYTES
