"""S5: what is no file, or no directory, is refused in words that help."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.obstacles import put_in_the_way
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.modes import (
    make_directories,
)


@pytest.fixture
def files() -> Iterator[OsFiles]:
    """Return the operations of a logger with group access."""
    files = OsFiles(group_access=True)
    yield files
    for fd in list(files.descriptors):
        files.close(fd)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_s5_directories_below_a_link_that_leads_nowhere_are_refused(
    tmp_path: Path, depth: int
) -> None:
    """
    And not tried for ever.  The words name the link.
    """
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "gone")
    path = link.joinpath(*["deep"] * depth)
    with pytest.raises(NotADirectoryError, match="is a symbolic link to") as caught:
        make_directories(str(path))
    (tmp_path / "gone").mkdir()
    make_directories(str(path))

    assert caught.value.filename == str(link)
    assert path.is_dir()


def test_s5_directories_below_a_file_are_refused(tmp_path: Path) -> None:
    """
    The words name the file.
    """
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="a regular file where") as caught:
        make_directories(str(tmp_path / "file"))
    with pytest.raises(NotADirectoryError, match="a regular file where") as deeper:
        OsFiles().open_append(str(tmp_path / "file" / "logs" / "errors.jsonl"))

    assert caught.value.filename == str(tmp_path / "file")
    assert deeper.value.filename == str(tmp_path / "file")


def test_a_log_directory_may_be_a_link_to_one(tmp_path: Path, files: OsFiles) -> None:
    """
    An operator has moved it to another disk.
    """
    (tmp_path / "disk").mkdir()
    (tmp_path / "logs").symlink_to(tmp_path / "disk")
    for each in (files, OsFiles()):
        name = f"errors-{each.group_access}.jsonl"
        fd = each.open_append(str(tmp_path / "logs" / name))
        each.write(fd, [b"line\n"])
        each.close(fd)
        assert (tmp_path / "disk" / name).read_bytes() == b"line\n"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("link", "a symbolic link"),
        ("dangling", "a symbolic link"),
        ("fifo", "a named pipe"),
        ("directory", "a directory"),
        ("socket", "a socket"),
        ("device", "a device"),
    ],
)
def test_s5_what_is_no_file_is_refused_unopened(
    tmp_path: Path, kind: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    To open a device may do something already.  The words say what it is.
    """
    path = tmp_path / "errors-2026-03-24.jsonl"
    put_in_the_way(kind, path)
    opened = []
    os_open = os.open

    def watch(name: str, *flags: int) -> int:
        opened.append(name)
        return os_open(name, *flags)

    monkeypatch.setattr(os, "open", watch)
    with pytest.raises(OSError, match=f"is {words}.*; move it away") as caught:
        OsFiles().open_append(str(path))

    assert caught.value.filename == str(path)
    assert opened == []
