"""What files are called, and what a directory of them holds."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tokenpak.telemetry.store.names import (
    ARCHIVE_DIR,
    STREAMS,
    day_file_name,
    list_log_files,
    parse_log_name,
)


@given(
    stream=st.sampled_from(STREAMS),
    day=st.dates(),
    part=st.integers(0, 999_999),
    gz=st.booleans(),
)
def test_s3_a_name_says_what_it_was_made_from(
    stream: str, day: date, part: int, *, gz: bool
) -> None:
    """
    Stream, day, part, and whether it is compressed.
    """
    name = day_file_name(stream, day.isoformat())
    if part:
        name = name.replace(".jsonl", f".{part}.jsonl")
    file = parse_log_name("/logs/" + name + (".gz" if gz else ""))

    assert file is not None
    assert (file.stream, file.day, file.part) == (stream, day, part)
    assert file.compressed == gz


@pytest.mark.parametrize(
    "name",
    [
        "",
        "errors.jsonl",
        "errors-2026-02-31.jsonl",
        "errors-2026-3-24.jsonl",
        "errors-2026-03-24.json",
        "errors-2026-03-24.jsonl.tmp",
        "errors-2026-03-24.jsonl.gz.tmp",
        ".errors-2026-03-24.jsonl",
        "errors-2026-03-24.0.jsonl",
        "errors-2026-03-24.01.jsonl",
        "errors-2026-03-24.jsonl\n",
        "audit-2026-03-24.jsonl",
        "errors-٢٠٢٦-٠٣-٢٤.jsonl",
    ],
)
def test_s3_other_names_are_no_log_files(name: str) -> None:
    """
    Nothing is guessed: it would be read, or worse, archived.
    """
    assert parse_log_name(name) is None


def test_s4_a_plain_file_beats_the_compressed_one_of_its_name(tmp_path: Path) -> None:
    """
    Both are there while archiving ends: they hold the same records.
    """
    archive = tmp_path / ARCHIVE_DIR
    archive.mkdir()
    for path in (
        tmp_path / "events-2026-03-25.jsonl",
        tmp_path / "errors-2026-03-25.jsonl",
        archive / "errors-2026-03-24.jsonl",
        archive / "errors-2026-03-24.jsonl.gz",
        archive / "errors-2026-03-24.2.jsonl.gz",
        archive / "errors-2026-03-23.jsonl.gz",
        tmp_path / "notes.txt",
    ):
        path.touch()
    found = [Path(file.path).name for file in list_log_files(str(tmp_path))]

    assert found == [
        "errors-2026-03-23.jsonl.gz",
        "errors-2026-03-24.jsonl",
        "errors-2026-03-24.2.jsonl.gz",
        "errors-2026-03-25.jsonl",
        "events-2026-03-25.jsonl",
    ]


def test_a_directory_that_does_not_exist_says_so(tmp_path: Path) -> None:
    """
    A missing archive is an empty one; a missing log directory is a mistake.
    """
    with pytest.raises(FileNotFoundError):
        list_log_files(str(tmp_path / "missing"))

    assert list_log_files(str(tmp_path)) == []
