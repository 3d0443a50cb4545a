r"""
What a process counts of its own pipeline, in the head of its spool (M1).

The log is the counter of what is in it.  How long appends took, how often the disk
refused, what was sampled away: that is in no record.  So the writer counts it in words
of 64 bits behind the notes of its spool, which survive the process as they do:

    word 1024   MAGIC, whose last byte is the version of this layout; 0: not begun
    word 1025   ident: whose counters these are, also after they moved to another spool
    word 1026-  one word for each place of the layout

Each word is changed by one store and only rises, so whoever looks sees no half of one,
and of two looks the larger is the newer.  Only the owner's writer stores; the calls of
the application store nothing here.  They are at most one batch behind the notes.

Drops are in the notes already, exact whenever the process dies: parse() adds them.

Pure, but for the words.  What cannot be believed is no error: a Reading says so.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tokenpak.telemetry.store.notes import DROP_REASONS, HEADER_WORDS, Drops

FIRST: Final = 1024
"""The word of the head at which the block begins."""
VERSION: Final = 1
_NAME: Final = b"TPMETER"
MAGIC: Final = int.from_bytes(_NAME + bytes([VERSION]), "little")
BEFORE: Final = 2
"""Words of the block that are no counters."""
MOST: Final = 2**62
"""More than any counter comes to: what holds more is damaged."""

SIZES: Final = (256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216)
"""Bytes: upper bounds of the histogram of batches."""
TIMES: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
"""Seconds: upper bounds of the histograms of appends and of waiting for a lock."""

BATCH: Final = "batch"
APPEND: Final = "append"
LOCK: Final = "lock"
HISTOGRAMS: Final[Mapping[str, tuple[float, ...]]] = {
    BATCH: SIZES,
    APPEND: TIMES,
    LOCK: TIMES,
}
"""Their sums are in bytes, and in nanoseconds."""

DROPPED: Final = "dropped"
SUPPRESSED: Final = "suppressed"
WRITE_ERRORS: Final = "write_errors"
ARCHIVE_RUNS: Final = "archive_runs"
RECOVERED: Final = "recovered"
LEFT_OUT: Final = "left_out"
LAST_SUCCESS: Final = "last_success"

SAMPLED: Final = "sampled"
STORM: Final = "storm"
DONE: Final = "archived"
NOTHING: Final = "nothing_to_do"
PUT_OFF: Final = "put_off"
FAILED: Final = "failed"
RECORDS: Final = "records"
SPOOLS: Final = "spools"
DAMAGED_LINES: Final = "damaged_lines"
DAMAGED: Final = "damaged"
OTHER_VERSION: Final = "other_version"
NOT_SAVED: Final = "not_saved"

OTHER_ERROR: Final = "other"
ERRORS: Final = (
    *("ENOSPC", "EDQUOT", "EROFS", "EIO", "EACCES", "EPERM", "EMFILE", "ENFILE"),
    *("ENOENT", "ENOTDIR", "EISDIR", "ELOOP", "EINVAL", "EFBIG", "ESTALE", "ENOMEM"),
    *("EAGAIN", OTHER_ERROR),
)

COUNTERS: Final[Mapping[str, tuple[str, ...]]] = {
    DROPPED: DROP_REASONS,
    SUPPRESSED: (SAMPLED, STORM),
    WRITE_ERRORS: ERRORS,
    ARCHIVE_RUNS: (DONE, NOTHING, PUT_OFF, FAILED),
    RECOVERED: (RECORDS, SPOOLS, DAMAGED_LINES),
    LEFT_OUT: (DAMAGED, OTHER_VERSION, NOT_SAVED),
    LAST_SUCCESS: ("",),
}
"""By name, what is told apart.  The last one is a time, in nanoseconds since the epoch:
of several the newest counts, not the sum."""

Values = list[int]
"""One number for each place."""


def _layout() -> tuple[dict[str, int], dict[tuple[str, str], int], int]:
    place = 0
    histograms, counters = {}, {}
    for name, bounds in HISTOGRAMS.items():
        histograms[name] = place
        place += len(bounds) + 2  # one beyond all bounds, and the sum
    for name, labels in COUNTERS.items():
        for label in labels:
            counters[name, label] = place
            place += 1
    return histograms, counters, place


HISTOGRAM_AT, COUNTER_AT, PLACES = _layout()
"""Where a histogram begins, where a counter is, and how many places there are."""
NEWEST: Final = COUNTER_AT[LAST_SUCCESS, ""]
BLOCK: Final = BEFORE + PLACES
"""Words."""


class Reading(NamedTuple):
    """The counters of one spool, or why there are none."""

    stream: str
    ident: int
    values: Values
    left_out: str | None = None
    """Of LEFT_OUT, if the block cannot be believed."""


def zeros() -> Values:
    """Return counters of which nothing was counted."""
    return [0] * PLACES


def error_name(error: OSError) -> str:
    """Return which of ERRORS *error* is."""
    name = errno.errorcode.get(error.errno or 0, OTHER_ERROR)
    return name if name in ERRORS else OTHER_ERROR


def parse(
    block: Sequence[int], drops: Iterable[Drops], stream: str, ident: int
) -> Reading:
    """
    Return what *block* holds, with the drops that the notes hold.

    Args:
        block: BLOCK words.
        drops: those of the notes.
        stream: of the spool.
        ident: of the spool, for a block that was not begun.

    """
    values = zeros()
    if block[0] == MAGIC:
        values = list(block[BEFORE:BLOCK])
        ident = block[1] or ident
    elif block[0]:
        name = block[0].to_bytes(8, "little")[:-1]
        reason = OTHER_VERSION if name == _NAME else DAMAGED
        return Reading(stream, ident, zeros(), reason)
    for drop in drops:
        values[COUNTER_AT[DROPPED, drop.reason]] += drop.total
    if len(values) != PLACES or max(values) >= MOST:
        return Reading(stream, ident, zeros(), DAMAGED)
    return Reading(stream, ident, values)


def newer(one: Sequence[int], other: Sequence[int]) -> Values:
    """Return the newer of two looks at the same counters, place by place."""
    return list(map(max, one, other))


def plus(one: Sequence[int], other: Sequence[int]) -> Values:
    """Return the sum of two processes' counters."""
    return total((one, other))


def total(all_values: Iterable[Sequence[int]]) -> Values:
    """Return the sum of the counters of several processes, at least one."""
    # By columns: a thousand processes are added up in a tenth of the time.
    columns = [*zip(*all_values, strict=True)]
    added = [min(sum(column), MOST - 1) for column in columns]
    added[NEWEST] = max(columns[NEWEST])
    return added


if FIRST < HEADER_WORDS:
    raise AssertionError("the block begins in the notes")

__all__ = [
    "APPEND",
    "ARCHIVE_RUNS",
    "BATCH",
    "BEFORE",
    "BLOCK",
    "COUNTERS",
    "COUNTER_AT",
    "DAMAGED",
    "DAMAGED_LINES",
    "DONE",
    "DROPPED",
    "ERRORS",
    "FAILED",
    "FIRST",
    "HISTOGRAMS",
    "HISTOGRAM_AT",
    "LAST_SUCCESS",
    "LEFT_OUT",
    "LOCK",
    "MAGIC",
    "MOST",
    "NEWEST",
    "NOTHING",
    "NOT_SAVED",
    "OTHER_VERSION",
    "PLACES",
    "PUT_OFF",
    "RECORDS",
    "RECOVERED",
    "SAMPLED",
    "SIZES",
    "SPOOLS",
    "STORM",
    "SUPPRESSED",
    "TIMES",
    "WRITE_ERRORS",
    "Reading",
    "Values",
    "error_name",
    "newer",
    "parse",
    "plus",
    "total",
    "zeros",
]
