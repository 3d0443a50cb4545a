"""
The table of options: name, default, unit, check and purpose of each.

What comes from code is checked by ``accepts()`` and, where there is more than one way
to write it, brought into one form by ``normal()``; the text of an environment variable
is parsed first.  Nothing here is read from the environment: see settings.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

MIB: Final = 1024 * 1024
SEGMENT_BYTES: Final = 2 * MIB
"""The unit in which the spool grows: one link of its chain."""

SyncPolicy = Literal["never", "interval", "batch"]
Rate = float
"""Between 0, none, and 1, all."""
Sample = Rate | Mapping[str, Rate] | Callable[[BaseException, Any], "bool | Rate"]
"""A rate for all; rates by the name of the error's class, ``*`` being all others; or
what decides for an error and its context: by yes or no, or by a rate."""
RedactLevel = Literal["credentials", "personal", "off"]
Names = str | Iterable[str]
"""Names, or a text that holds them with commas between."""
FIELDS: Final = ("process", "host", "thread", "task", "fingerprint", "trace")
"""What a record may have behind its context, in this order."""


def _as_it_is(value: object) -> object:
    return value


class Option(NamedTuple):
    """One option: what it is called, what it may be, what it is for."""

    name: str
    default: object
    unit: str
    expected: str
    purpose: str
    parse: Callable[[str], object]
    """From the text of an environment variable; raises ValueError."""
    check: Callable[[Any], bool]
    normal: Callable[[Any], object] = _as_it_is
    """What is kept of a value that passed the check."""

    @property
    def variable(self) -> str:
        """The environment variable: ``TOKENPAK_`` and the name in capitals."""
        return f"TOKENPAK_{self.name.upper()}"

    def accepts(self, value: object) -> bool:
        """Return whether *value* can be used; never raises."""
        try:
            return bool(self.check(value))
        except Exception:  # the methods of a number or path are user code
            return False


def _is_int(low: int, high: int) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high


def _is_seconds(low: float, high: float) -> Callable[[Any], bool]:
    return lambda v: (
        isinstance(v, int | float)
        and not isinstance(v, bool)
        and math.isfinite(v)
        and low <= v <= high
    )


def _is_zero_or(low: int, high: int) -> Callable[[Any], bool]:
    inside = _is_int(low, high)
    return lambda v: inside(v) or (_is_int(0, 0)(v))


def _yes_or_no(text: str) -> bool:
    try:
        return {"1": True, "true": True, "yes": True, "on": True}.get(text.lower()) or {
            "0": False,
            "false": False,
            "no": False,
            "off": False,
        }[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _is_rate(value: object) -> bool:
    return _is_seconds(0, 1)(value)


def _is_sample(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _is_rate(v) for k, v in value.items())
    return _is_rate(value) or callable(value)


def _parse_sample(text: str) -> Rate | Mapping[str, Rate]:
    if "=" not in text:
        return float(text)
    pairs = (pair.partition("=") for pair in text.split(",") if pair.strip())
    return {name.strip(): float(rate) for name, _, rate in pairs}


def _is_path(value: object) -> bool:
    if not isinstance(value, str | os.PathLike):
        return False
    path = os.fspath(value)
    return isinstance(path, str) and path != "" and "\0" not in path


def _names(value: Names) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(dict.fromkeys(name for part in parts if (name := part.strip())))


def _are_names(value: object) -> bool:
    # No iterator: it would be used up by the check.
    return isinstance(value, str) or (
        isinstance(value, Collection)
        and not isinstance(value, Mapping | bytes | bytearray)
        and all(isinstance(name, str) and name.strip() for name in value)
    )


def _are_fields(value: object) -> bool:
    return _are_names(value) and set(_names(value)) <= set(FIELDS)  # type: ignore[arg-type]


def _in_order(value: Names) -> tuple[str, ...]:
    wanted = _names(value)
    return tuple(name for name in FIELDS if name in wanted)


OPTIONS: Final = (
    Option(
        "log_dir",
        "~/.tokenpak/logs",
        "path",
        "a path that is not empty",
        "Where the daily files are; all processes with the same one share them.",
        str,
        _is_path,
    ),
    Option(
        "max_line_bytes",
        32_000,
        "bytes",
        f"an integer from 1,000 to {SEGMENT_BYTES // 2:,}",
        "The longest line; a record that needs a longer one is shortened.  Shippers "
        "have limits: Fluent Bit stops reading a file at its first line over 32 KB.",
        int,
        _is_int(1_000, SEGMENT_BYTES // 2),
    ),
    Option(
        "max_pending_bytes",
        64 * MIB,
        "bytes, for each stream of a process",
        f"an integer from {2 * SEGMENT_BYTES:,} to {1024 * MIB:,}",
        "How much may be pending while the log cannot be written (disk full, lock "
        "held).  Beyond that, records are dropped and counted.",
        int,
        _is_int(2 * SEGMENT_BYTES, 1024 * MIB),
    ),
    Option(
        "linger",
        0.02,
        "seconds",
        "a number from 0 to 10",
        "How long the writer collects a batch; more is less disk work, later lines.",
        float,
        _is_seconds(0, 10),
    ),
    Option(
        "full_wait",
        0.0,
        "seconds",
        "a number from 0 to 3600",
        "How long a call may wait for room when the queue is full, before its record "
        "is dropped; for batch jobs.",
        float,
        _is_seconds(0, 3600),
    ),
    Option(
        "fsync",
        "never",
        "never, interval or batch",
        "'never', 'interval' or 'batch'",
        "When to force the log file to the disk; for machines that may lose power.",
        str,
        lambda v: v in {"never", "interval", "batch"},
    ),
    Option(
        "fsync_interval",
        1.0,
        "seconds",
        "a number from 0.01 to 3600",
        "How often, with fsync='interval': what a power failure may cost.",
        float,
        _is_seconds(0.01, 3600),
    ),
    Option(
        "recovery_interval",
        30.0,
        "seconds",
        "a number from 0.05 to 86400",
        "How often a process looks for what dead ones had accepted, to append it.",
        float,
        _is_seconds(0.05, 86_400),
    ),
    Option(
        "exit_timeout",
        5.0,
        "seconds",
        "a number from 0 to 3600",
        "How long the end of a process may wait until all is in the log.",
        float,
        _is_seconds(0, 3600),
    ),
    Option(
        "spool_dir",
        None,
        "path",
        "a path that is not empty, on a local file system",
        "Where the spool is, if not in the log directory; on a local file system.",
        str,
        lambda v: v is None or _is_path(v),
    ),
    Option(
        "archive_after_days",
        7,
        "days",
        "an integer from 0 to 36,500",
        "How old a day's file must be to be gzipped into archive/; 0: never.  For who "
        "has a shipper that needs longer, or a disk that needs it sooner.",
        int,
        _is_int(0, 36_500),
    ),
    Option(
        "prune_after_days",
        0,
        "days",
        "an integer from 0 to 36,500",
        "How old an archive must be to be deleted; 0: never.  For who may keep records "
        "only for so long.",
        int,
        _is_int(0, 36_500),
    ),
    Option(
        "max_archive_bytes",
        0,
        "bytes",
        f"0, or an integer from {MIB:,}",
        "How much the archives may take together, before the oldest are deleted; 0: no "
        "bound.  For disks that others need, too.",
        int,
        _is_zero_or(MIB, 2**62),
    ),
    Option(
        "max_day_bytes",
        0,
        "bytes, for each stream",
        f"0, or an integer from {MIB:,}",
        "How large one day's file may grow; beyond it records are dropped and counted, "
        "and one record says so.  0: no bound.  For a failure that repeats all day.",
        int,
        _is_zero_or(MIB, 2**62),
    ),
    Option(
        "max_dir_bytes",
        0,
        "bytes",
        f"0, or an integer from {MIB:,}",
        "How large the log directory may grow, archives included, spools not; beyond "
        "it records are dropped and counted, and one record says so.  0: no bound.",
        int,
        _is_zero_or(MIB, 2**62),
    ),
    Option(
        "group_access",
        False,
        "yes or no",
        "True or False; in the environment 1 or 0, yes or no",
        "Whether the group may read and write the log, too: for a web server and a "
        "cron job that run as two users.  All processes that log there need it.  Make "
        "the directory setgid then.",
        _yes_or_no,
        lambda v: isinstance(v, bool),
    ),
    Option(
        "sample",
        1.0,
        "a part of all errors",
        "a number from 0 to 1; a mapping of error types to such, with '*' for all "
        "others; in code also a callable; in the environment 0.1 or TimeoutError=0.1",
        "Which errors are recorded; all are counted.  For who fails so often, and so "
        "much alike, that a part tells all.  A callable is given error and context, "
        "and returns a bool or a number.",
        _parse_sample,
        _is_sample,
    ),
    Option(
        "storm_first",
        0,
        "records of one fingerprint in a window",
        "an integer from 0 to 1,000,000",
        "How many failures that are alike (type, stack, message without its numbers) "
        "are recorded before more of them are held back; 0: all.  For who must not "
        "fill the disk with one failure that repeats itself.",
        int,
        _is_int(0, 1_000_000),
    ),
    Option(
        "storm_every",
        100,
        "failures",
        "an integer from 0 to 1,000,000",
        "Of those held back, each how manieth is recorded all the same; 0: none.",
        int,
        _is_int(0, 1_000_000),
    ),
    Option(
        "storm_window",
        60.0,
        "seconds",
        "a number from 0.1 to 86400",
        "After how long a storm counts as new; one record then says how many were held "
        "back.",
        float,
        _is_seconds(0.1, 86_400),
    ),
    Option(
        "exception_facts",
        True,
        "yes or no",
        "True or False; in the environment 1 or 0, yes or no",
        "Whether status_code, provider_request_id, retry_after and kind of an SDK's or "
        "HTTP library's exception go into the context, where the caller gave none.  "
        "For who wants only what the call was given.",
        _yes_or_no,
        lambda v: isinstance(v, bool),
    ),
    Option(
        "redact",
        "credentials",
        "credentials, personal or off",
        "'credentials', 'personal' or 'off'",
        "What is replaced by a mark in every record: keys, tokens and passwords; these "
        "and personal data (e-mail addresses, telephone and card numbers, IP "
        "addresses); or nothing.",
        str,
        lambda v: v in {"credentials", "personal", "off"},
    ),
    Option(
        "max_message_bytes",
        0,
        "bytes",
        f"0, or an integer from 100 to {SEGMENT_BYTES // 2:,}",
        "The longest message; what is longer loses its middle.  0: as long as the line "
        "allows.  The stack trace ends with the message, too, and has its own bound.",
        int,
        _is_zero_or(100, SEGMENT_BYTES // 2),
    ),
    Option(
        "max_stack_bytes",
        0,
        "bytes",
        f"0, or an integer from 100 to {SEGMENT_BYTES // 2:,}",
        "The longest stack trace; what is longer loses its middle.  0: as long as the "
        "line allows.",
        int,
        _is_zero_or(100, SEGMENT_BYTES // 2),
    ),
    Option(
        "max_context_bytes",
        0,
        "bytes",
        f"0, or an integer from 100 to {SEGMENT_BYTES // 2:,}",
        "The largest context; of a larger one the largest values are shortened.  0: as "
        "large as the line allows.",
        int,
        _is_zero_or(100, SEGMENT_BYTES // 2),
    ),
    Option(
        "context_allow",
        (),
        "names of keys",
        "names of keys, or a text with commas between them",
        "Which keys of the context are recorded; none named: all.  usage.total is the "
        "key total in the key usage.  For who may record only what was agreed on.",
        str,
        _are_names,
        _names,
    ),
    Option(
        "context_deny",
        (),
        "names of keys",
        "names of keys, or a text with commas between them",
        "Which keys of the context are left out, also of those that are allowed.  For "
        "prompts and answers, which belong into no log.",
        str,
        _are_names,
        _names,
    ),
    Option(
        "locals_frames",
        0,
        "frames",
        "an integer from 0 to 50",
        "Of how many frames, from where the error was raised outwards, the local "
        "variables are recorded; 0: of none.  Redacted and bounded, but they may hold "
        "what a user has typed.",
        int,
        _is_int(0, 50),
    ),
    Option(
        "fields",
        (),
        "names of fields",
        "some of " + ", ".join(FIELDS) + ", or a text with commas between them",
        "What each record has behind its context: pid, start and name of the process, "
        "the host, the thread, the asyncio task, a fingerprint of the failure, and the "
        "ids of OpenTelemetry's active span.",
        str,
        _are_fields,
        _in_order,
    ),
)


__all__ = [
    "FIELDS",
    "MIB",
    "OPTIONS",
    "SEGMENT_BYTES",
    "Names",
    "Option",
    "RedactLevel",
    "Sample",
    "SyncPolicy",
]
