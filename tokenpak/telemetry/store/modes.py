"""
Whose files are, who may use them, and what they are (S5).

Files are 0600 and directories 0700 from the first byte, whatever the umask; with group
access 0660 and 2770, the directory of spools 3770.  What exists keeps its mode, but for
files of ours that lack what group access gives: they get it.  Nothing is ever taken
away: an operator may have given it.

Symbolic links and whatever is no regular file are refused, in words that say what is
there and what to do.  (The log directory itself may be a link to a directory.)
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
GROUP_FILE_MODE: Final = 0o660
GROUP_DIRECTORY_MODE: Final = 0o2770
"""setgid: what is made in it is of its group, whatever the maker's own group is."""
SHARED_SPOOL_MODE: Final = 0o3770
"""Of a directory in which several users have spools: sticky, so that none can take away
or replace another's."""
SHARED_SPOOL_FILE_MODE: Final = 0o640
"""The group may look what is in it, and what its note says: who archives a day must.
Not write: who could cut it short could end our process with SIGBUS."""


def set_mode(fd: int, mode: int) -> None:
    """Give *fd* exactly *mode*: the umask may have taken away even our own rights."""
    if not hasattr(os, "fchmod"):
        return
    try:
        os.fchmod(fd, mode)
    except OSError as error:
        # File systems without modes (FAT) have the mount's, and refuse others.
        if error.errno not in {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP}:
            raise


def let_group_in(fd: int, status: os.stat_result) -> None:
    """Give the group its rights to a file of ours that was made without."""
    mode = stat.S_IMODE(status.st_mode)
    if hasattr(os, "fchmod") and status.st_uid == os.geteuid():
        wanted = mode | GROUP_FILE_MODE
        if wanted != mode:
            set_mode(fd, wanted)


def open_to_group(directory: str) -> None:
    """
    Give the group its rights to a directory of spools that is ours and lacks them.

    Only to what is the logger's own: the log directory may hold other things, too.

    Raises:
        OSError: it cannot be looked at or changed.

    """
    let_group_into(directory, SHARED_SPOOL_MODE)


def let_group_into(directory: str, wanted: int = GROUP_DIRECTORY_MODE) -> None:
    """
    Give *directory*, if it is ours, what it lacks of the mode *wanted*.

    Raises:
        OSError: it cannot be looked at or changed.

    """
    if not hasattr(os, "geteuid"):
        return
    status = os.lstat(directory)
    mode = stat.S_IMODE(status.st_mode)
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    if ours and mode | wanted != mode:
        os.chmod(directory, mode | wanted)


def give_to_owner(fd: int, directory: str) -> None:
    """
    Give what root has just made, as *fd*, to the owner of *directory*.

    Root only asks, once; the application would be kept out of its own file for good.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    owner, made = os.stat(directory), os.fstat(fd)
    # Not what somebody has put there meanwhile: it may be any file, under another name.
    empty = made.st_size == 0 and made.st_nlink == 1
    ours = made.st_uid == 0 and (empty or stat.S_ISDIR(made.st_mode))
    if ours and owner.st_uid != 0:
        try:
            os.chown(fd, owner.st_uid, owner.st_gid)
        except OSError:  # a file system without owners
            pass


def make_directory_for_owner(path: str, mode: int, directory: str) -> None:
    """
    Create *path*, in *directory*, whose owner it is for, also if root makes it.

    Raises:
        OSError: it cannot be made.

    """
    make_directories(path, mode)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            give_to_owner(fd, directory)
        finally:
            os.close(fd)


def kind_of(status: os.stat_result) -> str:
    """Return what *status*, of lstat(), is of, in words."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), "of a kind that is not known")


_KINDS: Final = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def refuse_irregular(path: str, status: os.stat_result) -> None:
    """
    Raise OSError if *status*, of *path*, is of anything but a regular file.

    ``strerror`` says what it is and what to do.
    """
    if stat.S_ISREG(status.st_mode):
        return
    what = kind_of(status)
    if stat.S_ISLNK(status.st_mode):
        number, reason = errno.ELOOP, f"is {what}, which is not followed"
    elif stat.S_ISDIR(status.st_mode):
        number, reason = errno.EISDIR, f"is {what}, not a regular file"
    else:
        number, reason = errno.EINVAL, f"is {what}, not a regular file"
    raise OSError(number, f"{reason}; move it away, or delete it", path)


def not_a_directory(path: str) -> OSError:
    """Return the error for *path*, above which something is no directory."""
    above = os.path.dirname(path)
    while not os.path.lexists(above) and os.path.dirname(above) != above:
        above = os.path.dirname(above)
    return NotADirectoryError(errno.ENOTDIR, _in_the_way(above), above)


def _in_the_way(path: str) -> str:
    try:
        status = os.lstat(path)
    except OSError:
        return "is not a directory"
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link that does not lead to a directory"
    return f"is {kind_of(status)} where a directory should be; move it away"


def whose_it_is(status: os.stat_result) -> str:
    """Return who may use a file that we may not, in words; empty: cannot be told."""
    if not hasattr(os, "geteuid") or status.st_uid == os.geteuid():
        return ""
    mode = stat.S_IMODE(status.st_mode)
    return (
        f"Permission denied: it belongs to user {status.st_uid} and group "
        f"{status.st_gid}, with mode {mode:04o}; to share it, all processes need "
        f"group_access"
    )


def make_directories(
    path: str, mode: int = DIRECTORY_MODE, *, last: int | None = None
) -> None:
    """
    Create *path* and what is missing above it; leave what is there as it is.

    Args:
        path: absolute, or relative to the current directory.
        mode: of each directory that is created, whatever the umask.
        last: of *path* itself, if not *mode*.

    Raises:
        OSError: something that is no directory is in the way, or may not be created.

    """
    last = mode if last is None else last
    try:
        _make_directory(path, last)
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if parent in {path, ""}:
            raise
        make_directories(parent, mode)
        # Once: below a link that leads nowhere, it would be the same for ever.
        _make_directory(path, last)


def _make_directory(path: str, mode: int) -> None:
    try:
        if mode & stat.S_IWGRP:
            _make_for_group(path, mode)
            return
        os.mkdir(path, mode)
    except FileExistsError:
        if os.path.isdir(path):
            return
        if os.path.islink(path):
            reason = (
                f"is a symbolic link to {os.readlink(path)}, which is not there; "
                f"create that directory, or delete the link"
            )
            raise OSError(errno.ENOTDIR, reason, path) from None
        raise OSError(errno.ENOTDIR, _in_the_way(path), path) from None
    os.chmod(path, mode)  # whatever the umask left of it


def _make_for_group(path: str, mode: int) -> None:
    """
    Create *path* with its mode from the moment on at which it has its name.

    As with files: what the umask takes away must not shut out another user meanwhile.
    """
    if os.path.lexists(path):
        raise FileExistsError(path)
    new = os.path.join(os.path.dirname(path), f".new-{os.urandom(8).hex()}")
    os.mkdir(new, mode)
    try:
        os.chmod(new, mode)
        # It may replace one that somebody else has made meanwhile, but only an empty
        # one, for the same purpose.
        os.rename(new, path)
    except OSError:
        os.rmdir(new)
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        raise


def why_not_private(
    path: str, *, shared: bool = False, user: int | None = None
) -> str | None:
    """
    Return why *path* is no directory that only we can put files into, or None.

    Args:
        path: looked at as it is: a link to a directory is none, since it can be turned
            elsewhere.
        shared: it may also be one of our group: then the sticky bit must keep others
            from taking away or replacing what is ours.  It may belong to somebody else
            if nobody but the group could have made it: it has the group of the
            directory above it, which is closed to all others.
        user: who we are; None: the effective user.

    Raises:
        OSError: it cannot be looked at.

    """
    if not hasattr(os, "geteuid"):
        return None
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        return f"is {kind_of(status)}, not a directory; move it away, or delete it"
    mode = status.st_mode
    if mode & stat.S_IWOTH:
        return "can be changed by other users; chmod o-w"
    if mode & stat.S_IWGRP and not shared:
        return (
            "can be changed by other users, of its group; chmod g-w, or, if they log "
            "here, too, set group_access"
        )
    if mode & stat.S_IWGRP and not mode & stat.S_ISVTX:
        return "lets its group delete each other's files; chmod +t"
    if status.st_uid == (os.geteuid() if user is None else user):
        return None
    if shared and mode & stat.S_IWGRP:
        above = os.stat(os.path.dirname(path))
        if above.st_gid == status.st_gid and not above.st_mode & stat.S_IWOTH:
            return None
    return f"belongs to user {status.st_uid}, and so to other users than this one"


def is_private(path: str, *, shared: bool = False) -> bool:
    """Return whether why_not_private() knows of nothing."""
    return why_not_private(path, shared=shared) is None


__all__ = [
    "DIRECTORY_MODE",
    "FILE_MODE",
    "GROUP_DIRECTORY_MODE",
    "GROUP_FILE_MODE",
    "SHARED_SPOOL_FILE_MODE",
    "SHARED_SPOOL_MODE",
    "give_to_owner",
    "is_private",
    "kind_of",
    "let_group_in",
    "let_group_into",
    "make_directories",
    "make_directory_for_owner",
    "not_a_directory",
    "refuse_irregular",
    "set_mode",
    "whose_it_is",
    "why_not_private",
]
