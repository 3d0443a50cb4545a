"""
Whether a spool still has something to settle with a day's file.

A note that is pending says: of this range, nobody knows how much is in that file.  It
is found out by looking into the file, at its place under its name (see store/append).
If the file were archived before, all of the range would be appended anew, and what was
there already would be there twice (Q1).  So archiving is put off while there is one.

The caller holds the day file's lock, and has checked that it is the file of that name.
A note that names the file is made, and done, under that lock alone, so what is read of
one does not change meanwhile.  What else is in a head may change while it is read; it
is of no importance here, and at worst looks like a note of this file: archived later.

All spools count, whether or not their owner lives, and whether or not they could be
adopted.  An error while looking is an error, never "no note".
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from datetime import date
from typing import Final

from tokenpak.telemetry.errors import SpoolError
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.notes import HEADER_WORDS, MAGIC, WORD, Notes
from tokenpak.telemetry.store.places import spool_directories
from tokenpak.telemetry.store.spool import HEAD_BYTES, NEW_PREFIX, SUFFIX

_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_DIRECTORY: Final = (FileNotFoundError, NotADirectoryError)


class DayFile:
    """
    Which file: by what it is, and by what it is called.

    Args:
        stream: ``errors`` or ``events``.
        day: of its name.
        identity: device and inode, as notes have them.

    """

    def __init__(self, stream: str, day: date, identity: tuple[int, int]) -> None:
        self._stream = stream
        self._day = day.isoformat()
        self._identity = identity

    def is_named_by(self, notes: Notes) -> bool:
        """Return whether the newest note of *notes* is pending, and names the file."""
        note = notes.current()
        if note is None or note.done:
            return False
        # By name, too: who settles it opens the file by its name.
        return self._identity == (note.device, note.inode) or (
            self._stream == notes.stream and self._day == note.day
        )


def find_unsettled(
    files: OsFiles,
    log_dir: str,
    spool_dir: str | None,
    file: DayFile,
    own: Iterable[Notes] = (),
) -> str | None:
    """
    Return the spool that has something to settle with *file*, or None.

    Args:
        files: the operations.
        log_dir: the log directory, absolute.
        spool_dir: the setting.
        file: whose lock the caller holds.
        own: the notes of this process, which may be in memory where no file shows them.

    Raises:
        OSError: a spool, or where spools are, cannot be looked at.
        SpoolError: one is of another version, or damaged.

    """
    if any(file.is_named_by(notes) for notes in own):
        return "this process"
    for directory in spool_directories(log_dir, spool_dir):
        try:
            names = os.listdir(directory)
        except _NO_DIRECTORY:
            continue
        for name in sorted(names):
            # One that is being born under a temporary name has no note yet.
            if name.endswith(SUFFIX) and not name.startswith(NEW_PREFIX):
                path = os.path.join(directory, name)
                notes = _notes_of(files, path)
                if notes is not None and file.is_named_by(notes):
                    return path
    return None


def _notes_of(files: OsFiles, path: str) -> Notes | None:
    """Return the head of the spool at *path*, a copy; None if there is no spool."""
    try:
        fd = files.open(path, _FLAGS)
    except FileNotFoundError:
        return None  # its owner had nothing left to settle
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None  # nobody follows a link: there are no notes behind it
        raise
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size < HEAD_BYTES:
            return None
        # Read, not mapped: a page that the disk cannot give would be SIGBUS.
        head = bytearray(HEADER_WORDS * WORD)
        size = 0
        while size < len(head):
            part = files.read(fd, len(head) - size, size)
            if not part:
                raise OSError(errno.EIO, "ends in the middle of its head", path)
            head[size : size + len(part)] = part
            size += len(part)
    finally:
        files.close(fd)
    words = memoryview(head).cast("Q")
    if words[0] != MAGIC:
        return None  # recovery does not read it either
    notes = Notes(words)
    problem = notes.problem()
    if problem is not None:
        raise SpoolError(path, problem)
    try:
        notes.current()
    except (ValueError, OverflowError) as error:
        # Damage, or a note of a live spool that changed under our eyes.  In the second
        # case it is not about our file, but who could tell.
        raise SpoolError(path, "has a note that cannot be read") from error
    return notes


__all__ = ["DayFile", "find_unsettled"]
