"""A repair loses no byte, changes no original, and what it writes is intact."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.read.log_making import (
    as_lines,
    make_record,
    make_records,
    read_all,
    write_log,
)
from tests.read.test_damage import EDITS, damage, record_of
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read import (
    MalformedLine,
    Query,
    UnreadableFile,
    Verification,
    copies,
    lines,
    repair_log,
    scan,
)

STREAMS = ("errors", "events")


@pytest.fixture(autouse=True)
def nobody_appends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is to be waited for: no process is in the middle of a line."""
    monkeypatch.setattr(scan, "_PAUSE", 0)


def counts(log_dir: Path) -> Counter[str]:
    """Return the records of both streams, as a bag."""
    return Counter(
        stream + repr(record)
        for stream in STREAMS
        for record in read_all(log_dir, Query(stream=stream))[0]
    )


def quarantine(folder: Path) -> list[tuple[dict[str, Any], bytes]]:
    """Return each entry of the index, and the bytes that it is about."""
    index = folder / "quarantine.index.jsonl"
    if not index.exists():
        return []
    raw = (folder / "quarantine.raw").read_bytes()
    entries = [json.loads(line) for line in index.read_bytes().splitlines()]
    assert raw.count(b"\n") == len(entries)  # the nth line is of the nth entry
    return [(e, raw[e["at"] : e["at"] + e["length"]]) for e in entries]


def assert_intact(folder: Path) -> None:
    check = Verification(folder)
    assert [finding for finding in check if finding.damage] == []


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@settings(max_examples=300)
@given(count=st.integers(1, 6), edits=EDITS, compressed=st.booleans())
@example(count=2, edits=[(0, 3000, b"")], compressed=False)
def test_r1_each_byte_is_in_the_copy_or_in_the_quarantine(
    count: int, edits: list[tuple[int, int, bytes]], compressed: bool
) -> None:
    """
    But for newlines; and the copy gives the records that the original gives.
    """
    data, _ = damage(as_lines([record_of(n) for n in range(count)]), edits)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, target = folder / "logs", folder / "clean"
        path = write_log(source, data, archived=compressed, compressed=compressed)
        before = path.read_bytes()

        done = repair_log(source, target)

        (copy,) = [target / path.relative_to(source)]
        clean = copy.read_bytes()
        clean = gzip.decompress(clean) if compressed else clean
        put_back = bytearray(data)
        entries = quarantine(target)
        for entry, piece in reversed(entries):
            assert entry["file"] == str(path.relative_to(source))
            at, size = entry["offset"], entry["length"]
            assert data[at : at + size] == piece
            put_back[at : at + size] = b""
        assert put_back.replace(b"\n", b"") == clean.replace(b"\n", b"")
        assert clean[-1:] in {b"", b"\n"}
        assert read_all(target)[0] == read_all(source)[0]
        assert done.quarantined == len(entries)
        assert done.records == len(read_all(source)[0])
        assert_intact(target)
        assert path.read_bytes() == before


@settings(max_examples=100)
@given(
    records=st.lists(
        st.tuples(st.sampled_from([22, 23, 24, 25]), st.sampled_from([23, 24])),
        max_size=12,
    ),
    junk=st.booleans(),
)
def test_s3_records_in_the_file_of_another_day_move_to_files_of_their_own(
    records: list[tuple[int, int]], junk: bool
) -> None:
    """They are the same records afterwards, and each is in a file of its day."""
    files: dict[int, bytes] = {23: b"", 24: b""}
    for number, (day, file) in enumerate(records):
        files[file] += as_lines([make_record(number, f"2026-03-{day}")])
        files[file] += b"junk\n" * junk
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "logs", Path(name) / "clean"
        for day, data in files.items():
            write_log(source, data, f"2026-03-{day}")

        done = repair_log(source, target)

        assert counts(target) == counts(source)
        assert done.moved == sum(day != file for day, file in records)
        assert_intact(target)


@pytest.mark.parametrize("head", [b"", b"junk\n"])
def test_r1_a_last_line_without_its_newline_gets_one(
    tmp_path: Path, head: bytes
) -> None:
    """It is a record; whoever appends to the copy must not make it none."""
    source, target = tmp_path / "logs", tmp_path / "clean"
    data = as_lines(make_records(2))
    path = write_log(source, head + data[:-1])

    done = repair_log(source, target)

    assert (target / path.name).read_bytes() == data
    assert (done.changed, done.records) == (1, 2)


def test_s3_a_moved_record_does_not_take_the_name_of_another_file(
    tmp_path: Path,
) -> None:
    """Late records may have made parts of that day, archived or not."""
    source, target = tmp_path / "logs", tmp_path / "clean"
    write_log(source, as_lines([make_record(1, "2026-03-25")]))
    write_log(source, b"", "2026-03-25", part=".1")
    write_log(source, b"", "2026-03-25", part=".2", archived=True, compressed=True)

    repair_log(source, target)

    assert (target / "errors-2026-03-25.3.jsonl").exists()
    assert counts(target) == counts(source)


def test_r1_files_without_damage_are_copied_byte_for_byte(tmp_path: Path) -> None:
    """Also archives, whoever compressed them, and both streams."""
    source, target = tmp_path / "logs", tmp_path / "clean"
    write_log(source, b"\r\n" + as_lines(make_records(3)))
    write_log(source, b'{"n": 1}\n\n', stream="events")
    write_log(source, b"", "2026-03-23")
    packed = write_log(source, b"", "2026-03-22", archived=True, compressed=True)
    with gzip.open(packed, "wb", 1) as file:
        file.write(as_lines([make_record(1, "2026-03-22")]))

    done = repair_log(source, target)

    assert content(target) == content(source)
    assert (done.files, done.changed, done.records) == (4, 0, 5)
    assert not (target / "quarantine.raw").exists()


def test_r1_a_cut_archive_is_copied_up_to_the_cut(tmp_path: Path) -> None:
    """As an archive that is whole; what is torn is kept, and the cut is told of."""
    source, target = tmp_path / "logs", tmp_path / "clean"
    data = as_lines([make_record(n, message=os.urandom(500).hex()) for n in range(20)])
    path = write_log(source, data, archived=True, compressed=True)
    path.write_bytes(path.read_bytes()[:-3000])

    done = repair_log(source, target)

    found, reports = read_all(source)
    (problem,) = done.unreadable
    torn, end = quarantine(target)
    assert isinstance(reports[0], MalformedLine)
    assert torn[1] == data[reports[0].offset :][: reports[0].length]
    assert end[0]["reason"].startswith("the archive is cut off")
    assert (end[0]["offset"], end[0]["length"]) == (problem.offset, 0)
    assert read_all(target) == (found, [])
    assert len(found) >= 10


def test_the_same_damage_makes_the_same_archive(tmp_path: Path) -> None:
    """No time and no name is in it: two copies can be compared."""
    data = b"junk\n" + as_lines(make_records(3))
    for name in ("one", "two"):
        path = write_log(tmp_path / name, data, archived=True, compressed=True)
        repair_log(tmp_path / name, tmp_path / f"{name}-clean")
        header = (tmp_path / f"{name}-clean" / "archive" / path.name).read_bytes()[:10]
        assert header[3:8] == bytes(5)  # no flags, so no name; the time is none

    assert content(tmp_path / "one-clean") == content(tmp_path / "two-clean")


def test_r1_a_stretch_longer_than_a_line_may_be_is_quarantined_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the parts meet a newline, or a record."""
    whole = lines.whole_lines
    monkeypatch.setattr(
        scan, "whole_lines", lambda chunks: whole(_small(chunks), limit=1600)
    )
    source = tmp_path / "logs"
    one, two = as_lines(make_records(2)).splitlines()
    for number, data in enumerate(
        [
            b"\0" * 3000 + b"\n" + one + b"\n",
            one + b"\n" + b"\0" * 3000 + two + b"\n" + one,
            b"\0" * 3000 + one + b"x" * 3000 + b"\n" + two + b"\n",
            b"{" + b" " * 9000,
        ]
    ):
        path = write_log(source, data)
        target = tmp_path / f"clean{number}"

        repair_log(source, target)

        kept = bytearray(data)
        for entry, piece in reversed(quarantine(target)):
            at = entry["offset"]
            assert kept[at : at + entry["length"]] == piece
            del kept[at : at + entry["length"]]
        clean = (target / path.name).read_bytes()
        assert clean.replace(b"\n", b"") == kept.replace(b"\n", b"")
        assert not clean.startswith(b"\n")
        assert read_all(target) == (read_all(source)[0], [])


def _small(chunks: Any) -> Any:
    for chunk in chunks:
        for at in range(0, len(chunk), 100):
            yield chunk[at : at + 100]


def test_s5_what_is_written_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """Also the quarantine, which holds what the log holds."""
    source = tmp_path / "logs"
    write_log(source, b"junk\n" + as_lines([make_record(1, "2026-03-25")]))
    write_log(source, b"junk\n", archived=True)
    before = os.umask(0)
    try:
        repair_log(source, tmp_path / "deep" / "clean")
    finally:
        os.umask(before)

    modes = {
        path.name: path.stat().st_mode & 0o777
        for path in (tmp_path / "deep").rglob("*")
    }
    assert modes == {
        "clean": 0o700,
        "archive": 0o700,
        "errors-2026-03-24.jsonl": 0o600,
        "errors-2026-03-25.1.jsonl": 0o600,
        "quarantine.raw": 0o600,
        "quarantine.index.jsonl": 0o600,
    }


@pytest.mark.parametrize("place", [".", "inside", "archive/inside", "../link/inside"])
def test_an_output_inside_of_the_log_is_refused(tmp_path: Path, place: str) -> None:
    """Also through a symbolic link; nothing is created."""
    source = tmp_path / "logs"
    write_log(source, b"junk\n")
    (tmp_path / "link").symlink_to(source)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(SettingError, match="outside of"):
        repair_log(source, source / place)

    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    """Nothing that is there is mixed with the copies, let alone replaced."""
    source, target = tmp_path / "logs", tmp_path / "clean"
    write_log(source, b"junk\n")
    target.mkdir()
    (target / "mine").write_text("")

    with pytest.raises(SettingError, match="empty"):
        repair_log(source, target)
    with pytest.raises(SettingError, match="a directory, or nothing yet"):
        repair_log(source, target / "mine")
    with pytest.raises(SettingError, match="empty"):
        repair_log(source, tmp_path)

    assert content(target) == {"mine": b""}


def test_an_output_that_is_empty_is_used(tmp_path: Path) -> None:
    """It may be a mounted disk, with a mode of its own."""
    source, target = tmp_path / "logs", tmp_path / "clean"
    write_log(source, as_lines(make_records(1)))
    target.mkdir()

    assert repair_log(source, target).records == 1


def test_s5_what_is_no_regular_file_is_left_out_and_told(tmp_path: Path) -> None:
    """In the result, and in the index."""
    source, target = tmp_path / "logs", tmp_path / "clean"
    path = write_log(source, as_lines(make_records(1)))
    link = source / "errors-2026-03-25.jsonl"
    link.symlink_to(path)

    done = repair_log(source, target)

    (problem,) = done.unreadable
    (entry,) = quarantine(target)
    assert isinstance(problem, UnreadableFile)
    assert problem.file == str(link)
    assert entry[0]["file"] == link.name
    assert entry[0]["reason"] == problem.reason
    assert not (target / link.name).exists()


def test_an_error_leaves_no_half_written_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is complete stays; temporary files are deleted."""
    source, target = tmp_path / "logs", tmp_path / "clean"
    write_log(source, as_lines(make_records(1)), "2026-03-23")
    write_log(source, b"junk\n" + as_lines(make_records(2)), "2026-03-24")
    write = copies.OutputFile.write

    def full(self: copies.OutputFile, data: bytes) -> None:
        if data == b"junk\n":
            raise OSError(28, "No space left on device")
        write(self, data)

    monkeypatch.setattr(copies.OutputFile, "write", full)
    with pytest.raises(OSError, match="No space"):
        repair_log(source, target)

    assert list(content(target)) == ["errors-2026-03-23.jsonl"]


def test_progress_is_told_of_all_bytes_twice(tmp_path: Path) -> None:
    """As they are looked at and copied, whatever is in them."""
    source = tmp_path / "logs"
    write_log(source, as_lines(make_records(3000)), "2026-03-23")
    write_log(source, b"junk\n" + as_lines(make_records(3000)))
    write_log(source, as_lines(make_records(99)), archived=True, compressed=True)
    size = sum(path.stat().st_size for path in source.rglob("*.jsonl*"))
    told: list[int] = []

    repair_log(source, tmp_path / "clean", on_progress=told.append)

    assert sum(told) == 2 * size
    assert min(told) >= 0
