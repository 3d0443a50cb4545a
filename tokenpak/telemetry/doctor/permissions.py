"""S5: who may read and change what is in the directory, and is each file one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

from tokenpak.telemetry.doctor.finding import CheckResult, Level
from tokenpak.telemetry.doctor.scene import Scene
from tokenpak.telemetry.store.names import (
    ARCHIVE_DIR,
    STREAMS,
    LogFile,
    day_file_name,
    list_log_files,
)

NAMED: Final = 3
"""How many files a finding names; there may be thousands."""


class _Thing(NamedTuple):
    path: str
    """As it is told: relative to the log directory."""
    mode: int
    owner: int
    regular: bool


def check_permissions(scene: Scene) -> Iterator[CheckResult]:
    """Look at the modes and owners of directories and files; follows no link."""
    if not scene.exists or not hasattr(os, "geteuid"):
        return
    try:
        files = list_log_files(scene.log_dir)
    except OSError as error:
        yield CheckResult(
            "permissions",
            Level.NOTE,
            f"the directory cannot be listed: {error.strerror}",
            advice="Run this as the user that logs.",
        )
        return
    group = scene.settings.group_access
    things = list(_things(scene, files))
    found = [
        *_odd_kinds(things),
        *_too_open(things, group=group),
        *_not_writable(scene),
        *_other_owners(scene, things, group=group),
    ]
    yield from found
    if not found:
        modes = "0770 and 0660 (group access)" if group else "0700 and 0600"
        yield CheckResult(
            "permissions",
            Level.OK,
            f"directories and {len(files):,} log files: no more than {modes}",
        )


def _things(scene: Scene, files: list[LogFile]) -> Iterator[_Thing]:
    directories = [scene.log_dir, os.path.join(scene.log_dir, ARCHIVE_DIR)]
    directories += scene.spool_places
    for path in directories:
        try:
            # The log directory itself may be a link; nothing in it may.
            status = os.stat(path) if path == scene.log_dir else os.lstat(path)
        except OSError:
            continue
        inside = path.startswith(scene.log_dir + os.sep)
        name = os.path.relpath(path, scene.log_dir) if inside else path
        if path == scene.log_dir:
            name = "the directory"
        yield _Thing(name, status.st_mode, status.st_uid, stat.S_ISDIR(status.st_mode))
    for file in files:
        try:
            status = os.lstat(file.path)
        except OSError:  # archived meanwhile
            continue
        yield _Thing(
            os.path.relpath(file.path, scene.log_dir),
            status.st_mode,
            status.st_uid,
            stat.S_ISREG(status.st_mode),
        )


def _odd_kinds(things: list[_Thing]) -> Iterator[CheckResult]:
    odd = [thing for thing in things if not thing.regular]
    if odd:
        yield CheckResult(
            "file kinds",
            Level.PROBLEM,
            f"no regular file or directory: {_some([_kind(t) for t in odd])}",
            "They are neither written to nor read: links are not followed.  Records "
            "that belong there are held in the spool.",
            "Move them away.",
        )


def _kind(thing: _Thing) -> str:
    for test, name in (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if test(thing.mode):
            return f"{thing.path} ({name})"
    return thing.path


def _too_open(things: list[_Thing], *, group: bool) -> Iterator[CheckResult]:
    allowed = 0o770 if group else 0o700
    whom = "users outside of the group" if group else "other users"
    chmod = "chmod o-rwx" if group else "chmod go-rwx"
    several = "" if group else "; if a group should have it, TOKENPAK_GROUP_ACCESS=1"
    open_ = [t for t in things if t.regular and t.mode & 0o777 & ~allowed]
    writable = [t for t in open_ if t.mode & 0o022 & ~allowed]
    readable = [t for t in open_ if t not in writable and not _is_directory(t)]
    listable = [t for t in open_ if t not in writable and _is_directory(t)]
    if writable:
        yield CheckResult(
            "permissions",
            Level.WARNING,
            f"can be changed by {whom}: {_modes(writable)}",
            "They could replace or delete what was logged.",
            f"{chmod}{several}",
        )
    if readable:
        yield CheckResult(
            "permissions",
            Level.WARNING,
            f"can be read by {whom}: {_modes(readable)}",
            "Stack traces and contexts may hold what is not for everybody.",
            f"{chmod}{several}",
        )
    if listable:
        yield CheckResult(
            "permissions",
            Level.NOTE,
            f"can be entered by {whom}: {_modes(listable)}",
            "They see names and sizes; files are closed to them by their own modes.",
        )


def _is_directory(thing: _Thing) -> bool:
    return stat.S_ISDIR(thing.mode)


def _modes(things: list[_Thing]) -> str:
    return _some([f"{t.path} ({stat.S_IMODE(t.mode):04o})" for t in things])


def _not_writable(scene: Scene) -> Iterator[CheckResult]:
    """Today's files must take appends."""
    if not scene.writable or scene.today is None:
        return
    for stream in STREAMS:
        name = day_file_name(stream, scene.today.isoformat())
        path = os.path.join(scene.log_dir, name)
        if os.path.isfile(path) and not os.access(path, os.R_OK | os.W_OK):
            yield CheckResult(
                "today's file",
                Level.PROBLEM,
                f"{name} cannot be written by this user",
                "Its records are held in the spool.",
                "Log as one user; or set TOKENPAK_GROUP_ACCESS=1, make the directory "
                "setgid, and the file writable for the group.",
            )


def _other_owners(
    scene: Scene, things: list[_Thing], *, group: bool
) -> Iterator[CheckResult]:
    if group or isinstance(scene.status, OSError):
        return
    owner = scene.status.st_uid
    others = [t.path for t in things if t.regular and t.owner != owner]
    if others:
        yield CheckResult(
            "owners",
            Level.WARNING,
            f"not of the directory's owner: {_some(others)}",
            "Who logs as one user cannot append to the file of another.",
            "chown them to the owner; log as one user, or see TOKENPAK_GROUP_ACCESS.",
        )


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    text = ", ".join(names[:NAMED])
    return f"{text} and {more:,} more" if more > 0 else text


__all__ = ["NAMED", "check_permissions"]
