"""
Which lines of a spool the log does not hold: asked after the machine has started anew.

After a power failure the disk has of each file whatever was written back by then.  A
spool may be older than the log: its notes say that lines are pending that were appended
and synced.  So a spool of another boot is not believed.  Each line that its newest note
does not say is consumed is looked for in the files of its day, the archived ones too,
and only those that are not there are appended: exactly once (Q1), also for what was
synced.  Identical lines are counted.

Pages of the spool may be missing, or be those of an earlier turn of the slot, so that a
line begins as one and ends as another: what is no JSON object is damage.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from tokenpak.telemetry.store.files import READ_FLAGS
from tokenpak.telemetry.store.names import LogFile, list_log_files

_TRIES: Final = 16


def missing(log_dir: str, stream: str, day: str, lines: Iterable[bytes]) -> list[bool]:
    """
    Return for each of *lines* whether the files of *day* lack it.

    Args:
        log_dir: the log directory.
        stream: whose files.
        day: ``YYYY-MM-DD``.
        lines: with their newlines.

    Raises:
        OSError: a file cannot be read, so that it is not known.

    """
    keys = [_key(line) for line in lines]
    found = _count(log_dir, stream, day, frozenset(keys))
    lacks = []
    for key in keys:
        lacks.append(found[key] <= 0)
        found[key] -= 1
    return lacks


def is_record(line: bytes) -> bool:
    """Return whether *line* is one JSON object, and a newline."""
    try:
        return line.endswith(b"}\n") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _key(line: bytes) -> bytes:
    # Not the lines themselves: 64 MiB of them can be pending.
    return hashlib.blake2b(line, digest_size=16, usedforsecurity=False).digest()


def _count(
    log_dir: str, stream: str, day: str, wanted: frozenset[bytes]
) -> Counter[bytes]:
    """Return how often each line is there whose key is in *wanted*."""
    for _ in range(_TRIES):
        found: Counter[bytes] = Counter()
        seen: set[tuple[int, int]] = set()
        try:
            # Twice: a listing is no snapshot, and of two in a row one has what is
            # compressed meanwhile (see read/source).
            listed = {*list_log_files(log_dir), *list_log_files(log_dir)}
            for file in sorted(listed, key=lambda file: file.path):
                if file.stream == stream and file.day.isoformat() == day:
                    keys = map(_key, _whole_lines(file, seen))
                    found.update(key for key in keys if key in wanted)
            return found
        except FileNotFoundError:
            if not os.path.isdir(log_dir):
                return found
            # Archived between listing and opening: list again.
    raise OSError(f"the files of {day} in {log_dir} are renamed again and again")


def _whole_lines(file: LogFile, seen: set[tuple[int, int]]) -> Iterator[bytes]:
    fd = os.open(file.path, READ_FLAGS)
    with os.fdopen(fd, "rb") as raw:
        status = os.fstat(fd)
        identity = (status.st_dev, status.st_ino)
        # On its way into the archive, a file has two names for a moment.
        if not stat.S_ISREG(status.st_mode) or identity in seen:
            return
        seen.add(identity)
        text: Iterable[bytes] = gzip.GzipFile(fileobj=raw) if file.compressed else raw
        try:
            for line in text:
                if line.endswith(b"\n"):
                    yield line
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return  # cut: what is behind is not there


__all__ = ["is_record", "missing"]
