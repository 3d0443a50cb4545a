"""S5: the directory of spools that several users of a group have together."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenpak.telemetry.errors import SpoolError
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.modes import (
    make_directories,
    why_not_private,
)
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.places import is_shared, used_by_group
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


@pytest.mark.usefixtures("_umask")
def test_s5_a_shared_directory_of_spools_is_sticky_and_spools_can_be_read(
    tmp_path: Path, files: OsFiles
) -> None:
    """
    Who archives must know what is unsettled.  Nobody else may write, replace, delete.
    """
    directory = tmp_path / "logs" / "spool"
    spool = create(files, directory)
    (path,) = spool_paths(str(directory))
    modes = [mode_of(Path(path)), mode_of(directory), mode_of(directory.parent)]
    spool.remove()

    assert modes == [0o640, 0o3770, 0o2770]


def test_s5_a_place_of_one_user_stays_private_with_group_access(
    tmp_path: Path, files: OsFiles
) -> None:
    """
    Beside those of other users, in a directory that everybody may write to.
    """
    directory = tmp_path / f"tokenpak-{os.getuid()}" / "0123456789abcdef"
    spool = create(files, directory)
    (path,) = spool_paths(str(directory))
    modes = [mode_of(Path(path)), mode_of(directory), mode_of(directory.parent)]
    spool.remove()

    assert not is_shared(str(directory))
    assert modes == [0o600, 0o700, 0o700]


@pytest.mark.parametrize("shared", [False, True])
def test_s5_how_open_a_directory_of_spools_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, shared: bool
) -> None:
    """
    With group access: to the group, if it is sticky; never to all.
    """
    verdicts = {}
    tmp_path.chmod(0o770)
    for mode in (0o700, 0o755, 0o770, 0o1770, 0o3770, 0o777, 0o1777, 0o3777):
        directory = tmp_path / f"{mode:o}"
        directory.mkdir()
        directory.chmod(mode)
        verdicts[mode] = why_not_private(str(directory), shared=shared) is None
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    others = {
        mode: why_not_private(str(tmp_path / f"{mode:o}"), shared=shared) is None
        for mode in verdicts
    }

    closed = dict.fromkeys((0o770, 0o777, 0o1777, 0o3777), False)
    assert verdicts == {
        **closed,
        0o700: True,
        0o755: True,
        0o1770: shared,
        0o3770: shared,
    }
    assert others == {
        **closed,
        0o700: False,
        0o755: False,
        0o1770: shared,
        0o3770: shared,
    }


def test_s5_a_shared_directory_of_another_user_where_anybody_could_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    In /tmp it may be a stranger's, whatever its group; elsewhere, of another group.
    """
    directory = tmp_path / "spool"
    directory.mkdir()
    directory.chmod(0o3770)
    stranger = tmp_path.stat().st_uid + 1
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    tmp_path.chmod(0o1777)
    in_tmp = why_not_private(str(directory), shared=True)
    tmp_path.chmod(0o2770)
    before = why_not_private(str(directory), shared=True)

    class OtherGroup:
        st_gid = directory.stat().st_gid + 1
        st_mode = tmp_path.stat().st_mode

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda _: OtherGroup)
        of_another_group = why_not_private(str(directory), shared=True)

    assert in_tmp is not None
    assert "belongs to user" in in_tmp
    assert before is None
    assert of_another_group == in_tmp


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("link", "a symbolic link"),
        ("fifo", "a named pipe"),
        ("file", "a regular file"),
    ],
)
def test_s5_what_is_no_directory_gets_no_spool_and_is_named(
    tmp_path: Path, kind: str, words: str
) -> None:
    """
    With its path and what to do.
    """
    place = tmp_path / "spool"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir(0o700)
        place.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.touch()
    with pytest.raises(OSError, match=words) as caught:
        create(OsFiles(), place)

    assert "move it away" in str(caught.value)
    assert str(place) in str(caught.value)
    assert spool_paths(str(tmp_path / "elsewhere")) == []


def test_s5_a_spool_of_another_user_is_left_to_that_user(
    tmp_path: Path, files: OsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is not even opened: to somebody else it may be closed, and that is no trouble.
    """
    create(files, tmp_path / "spool").release()
    (path,) = spool_paths(str(tmp_path / "spool"))
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(path).st_uid + 1)

    def must_not(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", must_not)

    assert SpoolFile.adopt(files, path) is None


def test_s5_a_socket_is_not_adopted(tmp_path: Path, files: OsFiles) -> None:
    """
    Nor are links, pipes and directories; see test_spool.
    """
    path = tmp_path / "errors-1.spool"
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(tmp_path)  # the path of a socket must be short
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)
        with pytest.raises(SpoolError, match="is a socket"):
            SpoolFile.adopt(files, str(path))


def test_group_access_shows_in_the_directory(tmp_path: Path, files: OsFiles) -> None:
    """
    A command that appends what the dead had accepted was not told of the setting.
    """
    before = used_by_group(str(tmp_path))
    create(OsFiles(), tmp_path / "private" / "spool").remove()
    create(files, tmp_path / "shared" / "spool").remove()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "spool").mkdir()
    (tmp_path / "tmp" / "spool").chmod(0o1777)

    assert not before
    assert not used_by_group(str(tmp_path / "private"))
    assert used_by_group(str(tmp_path / "shared"))
    assert not used_by_group(str(tmp_path / "tmp"))


@pytest.mark.usefixtures("_umask")
def test_s5_a_directory_for_the_group_has_its_mode_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Another user may look at it, and refuse it, the moment it is there.
    """
    path = tmp_path / "logs" / "spool"
    seen = []
    chmod = os.chmod

    def look_first(name: str, mode: int) -> None:
        seen.append((path.exists(), path.parent.exists()))
        chmod(name, mode)

    monkeypatch.setattr(os, "chmod", look_first)
    make_directories(str(path), 0o2770, last=0o3770)

    assert seen == [(False, False), (False, True)]
    assert (mode_of(path), mode_of(path.parent)) == (0o3770, 0o2770)
    assert sorted(tmp_path.rglob("*")) == [path.parent, path]


@pytest.mark.parametrize("used", [True, False])
def test_s5_two_that_create_the_same_directory_have_the_same_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, used: bool
) -> None:
    """
    One that is in use already is not replaced, and nothing is left behind.
    """
    path = tmp_path / "spool"
    chmod = os.chmod

    def another_is_faster(name: str, mode: int) -> None:
        monkeypatch.setattr(os, "chmod", chmod)
        chmod(name, mode)
        make_directories(str(path), 0o3770)
        if used:
            (path / "errors-1.spool").touch()

    monkeypatch.setattr(os, "chmod", another_is_faster)
    make_directories(str(path), 0o3770)

    assert mode_of(path) == 0o3770
    assert list(tmp_path.iterdir()) == [path]
    assert len(list(path.iterdir())) == used
