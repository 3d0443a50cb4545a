"""
The record that tells of dropped ones: how many, why, and from when to when (Q3).

It goes into the stream that the records were for, in that stream's own form, so that it
is found where they are missed.
"""

from __future__ import annotations

from typing import Final

from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.moment import iso
from tokenpak.telemetry.store.dayfiles import DayFiles
from tokenpak.telemetry.store.days import day_of
from tokenpak.telemetry.store.limits import NOTICE_BYTES, Limits
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.notes import Drops

NOTICE_TYPE: Final = "RecordsDropped"

_REASONS: Final = {
    "queue_full": "the queue was full, because the log could not be written",
    "closed": "the logger was closed",
    "not_encoded": "they could not be encoded",
    "damaged": "the spool was damaged",
    "day_full": "the day's file has reached max_day_bytes",
    "directory_full": "the log directory has reached max_dir_bytes",
}


def notice_line(encoder: Encoder, stream: str, drops: Drops, pid: int) -> bytes:
    """Return the line that tells of *drops*, but for those told of already."""
    count = drops.total - drops.told
    reason = _REASONS.get(drops.reason, drops.reason)
    message = f"{count:,} records of process {pid} were dropped: {reason}"
    context = {
        "dropped": count,
        "reason": drops.reason,
        "since": iso(drops.first),
        "until": iso(drops.last),
        "pid": pid,
    }
    if stream == ERRORS:
        return encoder.error(None, _Notice(message), context, own=True)
    return encoder.event(NOTICE_TYPE, None, {"message": message, **context}, own=True)


def append_notice(
    day_files: DayFiles, stream: str, line: bytes, limits: Limits | None = None
) -> bool:
    """
    Append a line that tells of drops, past any queue.

    Not noted, so a death before it is marked as told tells it twice: it is no accepted
    record, and to tell it never would be worse.

    Args:
        day_files: the log.
        stream: for which stream.
        line: the line.
        limits: which it may exceed by NOTICE_BYTES; None: there are none.

    Returns:
        Whether it was appended: it is not if it has no room.

    Raises:
        Contended, OSError: it is not in the log.

    """
    with day_files.locked(stream, day_of(line)) as log:
        room = None if limits is None else limits.room(log.path, log.size, NOTICE_BYTES)
        if room is not None and room.size <= len(line):
            return False
        log.close_torn_tail()
        log.write([line])
        return True


class _Notice(Exception):  # noqa: N818  (its name is the record's error_type)
    """The form in which the encoder takes an error."""


_Notice.__name__ = _Notice.__qualname__ = NOTICE_TYPE
_Notice.__module__ = "tokenpak.telemetry"


__all__ = ["NOTICE_TYPE", "append_notice", "notice_line"]
