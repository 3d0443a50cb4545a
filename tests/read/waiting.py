"""Spools that wait, and what is read of them and the log together."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from tests.queue.test_recovery import make_orphan
from tests.read.log_making import DAY, as_lines, make_record, make_records, write_log
from tokenpak.telemetry.read import (
    Damage,
    Query,
    Record,
    iter_records,
)
from tokenpak.telemetry.store.spool import SpoolFile

RECORDS = make_records(4)
LINES = [as_lines([record]) for record in RECORDS]
RANGE = b"".join(LINES[1:3])
FOREIGN = make_record(99)
FILLER: list[Record] = [{"n": number} for number in range(1000)]


def read_both(
    log_dir: Path, query: Query | None = None
) -> tuple[list[Record], list[Damage]]:
    records: list[Record] = []
    damage: list[Damage] = []
    for item in iter_records(log_dir, query, pending=True):
        if isinstance(item, dict):
            records.append(item)
        else:
            damage.append(item)
    return records, damage


def as_counts(records: list[Record]) -> Counter[str]:
    return Counter(json.dumps(record) for record in records)


def noted_orphan(log_dir: Path, log: bytes, offset: int) -> SpoolFile:
    """
    Return the spool of a process that died while it appended RANGE at *offset*.

    LINES[0] is consumed, and LINES[3] was accepted meanwhile.
    """
    path = write_log(log_dir, log)
    spool, segment = make_orphan(log_dir, LINES)
    status = path.stat()
    start = len(LINES[0])
    spool.notes.begin(
        DAY,
        (status.st_dev, status.st_ino),
        offset,
        (segment.sequence, start),
        (segment.sequence, start + len(RANGE)),
    )
    spool.release()
    return spool
