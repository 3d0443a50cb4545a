"""S5: modes from the first byte, whose files are, and what is refused."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tokenpak.telemetry.errors import SpoolError
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.modes import (
    make_directories,
    open_to_group,
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


# -- spools of several users ----------------------------------------------------------


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


# -- obstacles ------------------------------------------------------------------------


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


def put_in_the_way(kind: str, path: Path) -> None:
    """Put something that is no regular file at *path*; skip if that is not allowed."""
    if kind == "link":
        (path.parent / "target").write_bytes(b"precious")
        path.symlink_to(path.parent / "target")
    elif kind == "dangling":
        path.symlink_to(path.parent / "gone")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            here = os.getcwd()
            os.chdir(path.parent)  # the path of a socket must be short
            try:
                listener.bind(path.name)
            finally:
                os.chdir(here)
    else:
        try:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))  # as /dev/null
        except PermissionError:
            pytest.skip("only root can make a device")
