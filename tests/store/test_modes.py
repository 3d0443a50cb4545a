"""S5: modes from the first byte, whose files are, and what is refused."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.modes import (
    open_to_group,
)
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.spool import SpoolFile, spool_paths


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(params=[0, 0o022, 0o777], ids=oct)
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def files() -> Iterator[OsFiles]:
    """Return the operations of a logger with group access."""
    files = OsFiles(group_access=True)
    yield files
    for fd in list(files.descriptors):
        files.close(fd)


def create(files: OsFiles, directory: Path) -> SpoolFile:
    return SpoolFile.create(files, str(directory), ERRORS, 2)


# -- from the first byte --------------------------------------------------------------


@pytest.fixture
def first_modes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the mode that each file has when os.open() returns."""
    modes: list[int] = []
    os_open = os.open

    def look_at_once(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        fd = os_open(path, flags, mode, **more)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            modes.append(stat.S_IMODE(os.fstat(fd).st_mode))
        return fd

    monkeypatch.setattr(os, "open", look_at_once)
    return modes


@pytest.mark.usefixtures("_umask")
def test_s5_no_file_is_open_to_others_for_a_moment(
    tmp_path: Path, first_modes: list[int]
) -> None:
    """
    Not even between its creation and the repair of what the umask took away.
    """
    files = OsFiles()
    fd = files.open_append(str(tmp_path / "logs" / "errors-2026-03-24.jsonl"))
    spool = create(files, tmp_path / "logs" / "spool")
    (path,) = spool_paths(str(tmp_path / "logs" / "spool"))
    modes = [mode_of(Path(path)), mode_of(Path(path).parent)]
    spool.remove()
    files.close(fd)

    assert first_modes
    assert [mode & ~0o600 for mode in first_modes] == [0] * len(first_modes)
    assert modes == [0o600, 0o700]


@pytest.mark.usefixtures("_umask")
def test_s5_with_group_access_files_have_their_mode_before_they_have_a_name(
    tmp_path: Path, files: OsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Another user of the group may open the file the moment it is there, and we may die.
    """
    path = tmp_path / "logs" / "errors-2026-03-24.jsonl"
    seen = []
    set_mode = os.fchmod

    def look_first(fd: int, mode: int) -> None:
        seen.append(path.exists())
        set_mode(fd, mode)

    monkeypatch.setattr(os, "fchmod", look_first)
    files.open_append(str(path))

    assert seen == [False]
    assert (mode_of(path), mode_of(path.parent)) == (0o660, 0o2770)
    assert len(files.descriptors) == 1


@pytest.mark.usefixtures("_umask")
@pytest.mark.parametrize("missing", ["O_TMPFILE", "link", "tmpfile"])
def test_s5_group_access_where_files_cannot_be_made_without_a_name(
    tmp_path: Path, files: OsFiles, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """
    The mode is then given at once after the creation.
    """
    os_open = os.open

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    def refuse_unnamed(path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            refuse()
        return os_open(path, flags, mode)

    if missing == "O_TMPFILE":
        monkeypatch.delattr(os, "O_TMPFILE")
    elif missing == "link":
        monkeypatch.setattr(os, "link", refuse)
    else:
        monkeypatch.setattr(os, "open", refuse_unnamed)
    path = tmp_path / "errors-2026-03-24.jsonl"
    files.open_append(str(path))

    assert mode_of(path) == 0o660
    assert len(files.descriptors) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_s5_two_that_create_the_same_file_have_the_same_file(
    tmp_path: Path, files: OsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever comes second takes the first one's, with or without group access.
    """
    for group_access in (True, False):
        path = tmp_path / f"errors-{group_access}.jsonl"
        lstat = os.lstat

        def another_is_faster(
            name: str, path: Path = path, lstat: Any = lstat
        ) -> os.stat_result:
            monkeypatch.setattr(os, "lstat", lstat)
            try:
                status: os.stat_result = lstat(name)
            finally:
                path.write_bytes(b"first\n")
            return status

        monkeypatch.setattr(os, "lstat", another_is_faster)
        one = OsFiles(group_access=group_access)
        fd = one.open_append(str(path))

        assert one.read(fd, 10, 0) == b"first\n"
        assert len(one.descriptors) == 1
        one.close(fd)


# -- what is there already ------------------------------------------------------------


def test_s5_group_access_opens_what_is_ours_and_takes_nothing_away(
    tmp_path: Path, files: OsFiles
) -> None:
    """
    The setting comes to a directory that has been in use without.
    """
    path = tmp_path / "errors-2026-03-24.jsonl"
    path.touch(0o600)
    files.open_append(str(path))
    wider = tmp_path / "events-2026-03-24.jsonl"
    wider.touch()
    wider.chmod(0o666)
    files.open_append(str(wider))
    spools = tmp_path / "spool"
    spools.mkdir(0o700)
    create(files, spools).remove()

    assert (mode_of(path), mode_of(wider)) == (0o660, 0o666)
    assert mode_of(spools) == 0o3770


def test_s5_a_log_directory_that_exists_keeps_its_mode(
    tmp_path: Path, files: OsFiles
) -> None:
    """
    It may be one that holds other things, too: its operator opens it.
    """
    logs = tmp_path / "logs"
    logs.mkdir(0o700)
    files.open_append(str(logs / "errors-2026-03-24.jsonl"))
    create(files, logs / "spool").remove()

    assert mode_of(logs) == 0o700


def test_s5_what_is_another_users_keeps_its_mode(
    tmp_path: Path, files: OsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Only its owner may change it, and a root that logs must not.
    """
    path, spools = tmp_path / "errors-2026-03-24.jsonl", tmp_path / "spool"
    path.touch(0o600)
    spools.mkdir(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    files.open_append(str(path))
    open_to_group(str(spools))

    assert (mode_of(path), mode_of(spools)) == (0o600, 0o700)


def test_s5_a_file_that_only_another_user_may_write_is_named_with_its_owner(
    tmp_path: Path, files: OsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever reads the warning knows whom to ask, and for what.
    """
    path = tmp_path / "errors-2026-03-24.jsonl"
    path.touch(0o600)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    os_open = os.open

    def refuse(name: str, *flags: int) -> int:
        if name == str(path):
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return os_open(name, *flags)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=f"belongs to user {owner} .*0600") as e:
        files.open_append(str(path))

    assert e.value.filename == str(path)
    assert "group_access" in str(e.value)


def test_a_file_system_without_modes_can_be_logged_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    FAT refuses modes that are not the mount's; any other error counts.
    """
    outcomes = []
    for number in (errno.EPERM, errno.EOPNOTSUPP, errno.EIO):
        files = OsFiles()

        def refuse(fd: int, mode: int, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fchmod", refuse)
        try:
            files.close(files.open_append(str(tmp_path / f"{number}.jsonl")))
            outcomes.append(True)
        except OSError as error:
            outcomes.append(error.errno == number)
        assert files.descriptors == {}

    assert outcomes == [True, True, True]
    with pytest.raises(OSError, match="Input/output"):
        OsFiles().open_append(str(tmp_path / "again.jsonl"))
