"""S5 and Q5: what our files may be, and what a forked child lets go of."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenpak.telemetry.store.files import FileStatus, OsFiles
from tokenpak.telemetry.store.modes import is_private, make_directories


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(params=[0, 0o022, 0o777])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def files() -> Iterator[OsFiles]:
    """Return the operations, and close what is left open."""
    files = OsFiles()
    yield files
    for fd in list(files.descriptors):
        files.close(fd)


@pytest.mark.usefixtures("_umask")
def test_s5_files_and_directories_are_private_whatever_the_umask(
    tmp_path: Path, files: OsFiles
) -> None:
    """
    0600 and 0700: the umask may neither open them to others nor close them to us.
    """
    path = tmp_path / "new" / "logs" / "file.jsonl"
    files.open_append(str(path))

    assert mode_of(path) == 0o600
    assert mode_of(path.parent) == 0o700
    assert mode_of(path.parent.parent) == 0o700


def test_s5_what_was_configured_otherwise_stays(tmp_path: Path, files: OsFiles) -> None:
    """
    An operator may let a group read the log: modes that are there are not changed.
    """
    directory = tmp_path / "logs"
    directory.mkdir(mode=0o755)
    path = directory / "file.jsonl"
    path.write_bytes(b"line\n")
    path.chmod(0o640)
    files.open_append(str(path))
    make_directories(str(directory))

    assert mode_of(path) == 0o640
    assert mode_of(directory) == 0o755


@pytest.mark.parametrize("exists", [True, False])
def test_s5_a_symbolic_link_is_refused(
    tmp_path: Path, files: OsFiles, *, exists: bool
) -> None:
    """
    With words that a person understands, and without touching what it points to.
    """
    target, link = tmp_path / "target", tmp_path / "file.jsonl"
    if exists:
        target.write_bytes(b"precious")
    link.symlink_to(target)
    with pytest.raises(OSError, match="symbolic link") as caught:
        files.open_append(str(link))

    assert caught.value.filename == str(link)
    assert target.exists() == exists
    assert files.descriptors == {}


def test_s5_a_fifo_is_refused_and_does_not_hang(tmp_path: Path, files: OsFiles) -> None:
    """
    Whatever has the file's name, the writer goes on.
    """
    path = tmp_path / "file.jsonl"
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        files.open_append(str(path))

    assert files.descriptors == {}


def test_s5_a_directory_is_refused(tmp_path: Path, files: OsFiles) -> None:
    """
    Likewise.
    """
    with pytest.raises(IsADirectoryError):
        files.open_append(str(tmp_path))

    assert files.descriptors == {}


def test_s5_a_directory_of_ours_is_private_only_if_others_cannot_write(
    tmp_path: Path,
) -> None:
    """
    Nor is a link to one, which can be turned elsewhere, nor a file.
    """
    verdicts = {}
    for mode in (0o700, 0o755, 0o770, 0o707, 0o1777):
        directory = tmp_path / f"{mode:o}"
        directory.mkdir()
        directory.chmod(mode)
        verdicts[mode] = is_private(str(directory))
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(tmp_path / "700")
    file.touch(0o600)

    assert verdicts == {0o700: True, 0o755: True, 0o770: False} | {
        0o707: False,
        0o1777: False,
    }
    assert not is_private(str(link))
    assert not is_private(str(file))


def test_s5_a_directory_of_somebody_else_is_not_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    However closed it looks: who owns it can put files there.
    """
    tmp_path.chmod(0o700)
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    assert not is_private(str(tmp_path))


def test_s2_every_write_goes_to_the_end(tmp_path: Path, files: OsFiles) -> None:
    """
    O_APPEND: also where somebody without our lock has written meanwhile.
    """
    path = tmp_path / "file.jsonl"
    fd = files.open_append(str(path))
    files.write(fd, [b"one\n"])
    with path.open("ab") as other:
        other.write(b"other\n")
    taken = files.write(fd, [b"two\n", memoryview(b"three\n")])

    assert path.read_bytes() == b"one\nother\ntwo\nthree\n"
    assert taken == 10
    assert files.read(fd, 100, 4) == b"other\ntwo\nthree\n"


def test_s1_the_lock_is_between_open_files_not_processes(
    tmp_path: Path, files: OsFiles
) -> None:
    """
    Two loggers of one process keep each other out, too; unlocking lets the other in.
    """
    path = str(tmp_path / "file.jsonl")
    one, other = files.open_append(path), files.open_append(path)
    outcomes = [files.lock(one), files.lock(other), files.lock(one)]
    files.unlock(one)
    outcomes.append(files.lock(other))

    assert outcomes == [True, False, True, True]


def test_s1_the_lock_is_that_of_filelock(tmp_path: Path, files: OsFiles) -> None:
    """
    So a program that uses it keeps out of our way, and we out of its.
    """
    filelock = pytest.importorskip("filelock")
    path = str(tmp_path / "file.jsonl")
    one, other = files.open_append(path), files.open_append(path)
    filelock.lock_descriptor(one, blocking=False)
    refused = files.lock(other)
    filelock.unlock_descriptor(one)

    assert not refused
    assert files.lock(other)
    assert not filelock.lock_descriptor(one, blocking=False)


def test_a_file_is_the_same_as_long_as_it_has_its_name(
    tmp_path: Path, files: OsFiles
) -> None:
    """
    Renamed, deleted or replaced: another file.
    """
    path = tmp_path / "file.jsonl"
    fd = files.open_append(str(path))
    same = files.status(fd).same_file(files.status_at(str(path)))
    path.rename(tmp_path / "renamed")
    gone = files.status(fd).same_file(files.status_at(str(path)))
    path.touch()
    replaced = files.status(fd).same_file(files.status_at(str(path)))

    assert (same, gone, replaced) == (True, False, False)
    assert not FileStatus(1, 2, 0, 0).same_file(FileStatus(1, 2, 0, 1))


# -- fork ---------------------------------------------------------------------------


def test_q5_a_descriptor_is_marked_while_it_is_being_opened(
    tmp_path: Path, files: OsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Threads open at the same time: each takes away its own mark, whichever ends first.
    """
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    in_open, go_on = threading.Event(), threading.Event()
    os_open = os.open

    def slow_open(path: str, flags: int, mode: int = 0o600) -> int:
        if path == there:
            in_open.set()
            go_on.wait(240)
        return os_open(path, flags, mode)

    monkeypatch.setattr(os, "open", slow_open)
    thread = threading.Thread(target=files.open, args=(there, os.O_CREAT))
    opening: list[str] = []

    def begin_the_other(path: str, flags: int, mode: int = 0o600) -> int:
        monkeypatch.setattr(os, "open", slow_open)
        thread.start()
        in_open.wait(240)
        return os_open(path, flags, mode)

    monkeypatch.setattr(os, "open", begin_the_other)
    files.open(here, os.O_CREAT)
    opening.extend(files.opening)
    go_on.set()
    thread.join()

    assert opening == [there]
    assert files.opening == []
    assert sorted(files.descriptors.values()) == [here, there]


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError as error:
        return error.errno != errno.EBADF
    return True


def test_q5_a_child_closes_what_was_registered(tmp_path: Path, files: OsFiles) -> None:
    """
    And nothing twice: the number may be a stranger's by then.
    """
    fd = files.open_append(str(tmp_path / "file.jsonl"))
    files.close_all_in_child()
    closed = not is_open(fd)
    stranger = os.open(tmp_path / "strangers", os.O_CREAT | os.O_RDWR, 0o600)
    files.close_all_in_child()

    assert closed
    assert stranger == fd
    assert is_open(stranger)
    os.close(stranger)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="there is no /proc")
@pytest.mark.parametrize("by_link", [True, False])
def test_q5_a_child_closes_what_was_opened_but_not_registered(
    tmp_path: Path, files: OsFiles, *, by_link: bool
) -> None:
    """
    The fork came within os.open(): found by its place, also through a symbolic link.
    """
    logs, link = tmp_path / "logs", tmp_path / "link"
    logs.mkdir()
    link.symlink_to(logs)
    place = link if by_link else logs
    flags = os.O_CREAT | os.O_APPEND | os.O_RDWR
    log = os.open(place / "errors-2026-03-24.jsonl", flags, 0o600)
    (logs / "errors-1.spool").touch()
    lock = os.open(place / "errors-1.spool", os.O_RDONLY)
    mapped = os.open(place / "errors-1.spool", os.O_RDWR)
    applications = os.open(place / "application.log", flags, 0o600)
    elsewhere = os.open(tmp_path / "errors-2026-03-24.jsonl", flags, 0o600)
    (logs / "metrics").mkdir()
    counters = os.open(place / "metrics" / "pipeline-v1.lock", flags, 0o600)
    other_lock = os.open(place / "application.lock", flags, 0o600)
    files.opening.append(str(place / "errors-2026-03-24.jsonl"))
    files.opening.append(str(place / "metrics" / "pipeline-v1.lock"))
    files.close_all_in_child()
    opened = (log, lock, mapped, applications, elsewhere, counters, other_lock)
    left = {fd for fd in opened if is_open(fd)}
    for fd in left:
        os.close(fd)

    assert left == {mapped, applications, elsewhere, other_lock}
    assert files.opening == []


def test_descriptors_are_not_inherited_by_programs(
    tmp_path: Path, files: OsFiles
) -> None:
    """
    A program that the application starts must not hold our locks.
    """
    appended = files.open_append(str(tmp_path / "file.jsonl"))
    opened = files.open(str(tmp_path / "file.jsonl"), os.O_RDONLY)

    assert not os.get_inheritable(appended)
    assert not os.get_inheritable(opened)


def test_files_can_be_written_without_writev(
    tmp_path: Path, files: OsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Systems without writev and pread take one part at a time.
    """
    monkeypatch.delattr(os, "writev")
    monkeypatch.delattr(os, "pread")
    fd = files.open_append(str(tmp_path / "file.jsonl"))
    taken = files.write(fd, [b"one\n", b"two\n"])

    assert taken == 4
    assert files.read(fd, 100, 1) == b"ne\n"
