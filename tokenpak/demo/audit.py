"""
Compare what is in the log with what was accepted, id by id.

Each worker numbers its records from 1 on and logs them one after the other.  So the
first n of them, n being what it acknowledged, must be in the log once each; of a
worker that was killed, number n + 1 was under way and may be there; nothing else may.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokenpak.demo.workers import request_id
from tokenpak.telemetry.read import Query, iter_records
from tokenpak.telemetry.store.names import STREAMS, list_log_files

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the log holds of one run of the demo."""

    in_log: int
    """Records of the run; one that is there twice counts twice."""
    in_flight: int
    """Those of them whose call had not returned when their worker was killed."""
    missing: int
    """Acknowledged records that are not there."""
    doubled: int
    """Records beyond the first with the same id."""
    unknown: int
    """Records of the run that no worker can have logged."""
    malformed: int
    """What could not be read, of this run or not; a lost record is in *missing*."""
    log_bytes: int
    """Size of all log files in the directory."""


def audit(
    log_dir: str,
    run: str,
    since: date,
    acknowledged: Sequence[int],
    killed: Collection[int],
) -> Audit:
    """
    Read the log, and compare it with what the workers say.

    Args:
        log_dir: the directory of the log.
        run: what begins each request id of this run.
        since: the UTC day on which the run began; files of earlier days are not read.
        acknowledged: for each worker, how many of its calls have returned.
        killed: the indices of the workers that were killed.

    Raises:
        OSError: *log_dir* cannot be listed.

    """
    seen = [bytearray(count + 1) for count in acknowledged]
    place_of = re.compile(re.escape(run) + r"-w(\d+)-(\d+)", re.ASCII).fullmatch
    in_log = doubled = unknown = malformed = 0
    for stream in STREAMS:
        for item in iter_records(log_dir, Query(stream=stream, since=since)):
            if not isinstance(item, dict):
                malformed += 1
                continue
            name = str(item.get("request_id"))
            if not name.startswith(run):
                continue
            in_log += 1
            match = place_of(name)
            if match is None or not _is_expected(name, match, run, seen, killed):
                unknown += 1
                continue
            worker, number = int(match[1]), int(match[2])
            doubled += seen[worker][number - 1]
            seen[worker][number - 1] = 1
    return Audit(
        in_log=in_log,
        in_flight=sum(there[-1] for there in seen),
        missing=sum(there[:-1].count(0) for there in seen),
        doubled=doubled,
        unknown=unknown,
        malformed=malformed,
        log_bytes=sum(os.path.getsize(f.path) for f in list_log_files(log_dir)),
    )


def _is_expected(
    name: str,
    match: re.Match[str],
    run: str,
    seen: Sequence[bytearray],
    killed: Collection[int],
) -> bool:
    worker, number = int(match[1]), int(match[2])
    if worker >= len(seen) or name != request_id(run, worker, number):
        return False
    last = len(seen[worker]) - (worker not in killed)
    return 1 <= number <= last


__all__ = ["Audit", "audit"]
