"""Memory does not grow with the size of the log."""

from __future__ import annotations

import tracemalloc
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from tests.queue.test_recovery import make_orphan
from tests.read.log_making import as_lines, make_record, read_all, write_log
from tokenpak.telemetry.read import (
    Format,
    MalformedLine,
    Verification,
    export_records,
    iter_records,
    repair_log,
)
from tokenpak.telemetry.read.lines import whole_lines

if TYPE_CHECKING:
    from pathlib import Path

RECORD = make_record(message="x" * 1000)
MIB = 1024 * 1024


class Nowhere:
    """Counts what is written to it."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_r2_an_export_holds_a_day_at_most(
    tmp_path: Path, form: Format, compressed: bool
) -> None:
    """Thirty megabytes, three a day, go through less than ten."""
    data = as_lines([RECORD] * 2500)
    for day in range(10, 20):
        write_log(
            tmp_path, data, f"2026-03-{day}", archived=True, compressed=compressed
        )
    out = Nowhere()

    tracemalloc.start()
    try:
        exported = export_records(tmp_path, out, form=form)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert exported.records == 25_000
    assert out.size > 25 * MIB
    assert peak < 10 * MIB


@pytest.mark.parametrize("damaged", [False, True])
def test_r2_verify_and_repair_hold_one_chunk(tmp_path: Path, damaged: bool) -> None:
    """Twenty megabytes, each line of which may be damaged, go through less than six."""
    log_dir = tmp_path / "logs"
    data = as_lines([RECORD] * 2500)
    if damaged:
        data = data.replace(b"{", b"[")
    for day in range(10, 18):
        write_log(log_dir, data, f"2026-03-{day}")

    tracemalloc.start()
    try:
        check = Verification(log_dir)
        found = sum(1 for finding in check if finding.kind == "malformed")
        done = repair_log(log_dir, tmp_path / "clean")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert found == done.quarantined == 20_000 * damaged
    assert check.records == done.records == 20_000 * (not damaged)
    assert peak < 6 * MIB


def test_r2_what_waits_in_spools_is_not_held(tmp_path: Path) -> None:
    """Some hundred bytes for each record, whatever its size."""
    write_log(tmp_path, b"")
    for _ in range(4):
        lines = as_lines([make_record(n, message="x" * 5000) for n in range(350)])
        make_orphan(tmp_path, lines.splitlines(keepends=True))[0].release()

    tracemalloc.start()
    try:
        found = sum(1 for _ in iter_records(tmp_path, pending=True))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert found == 1400
    assert peak < 4 * MIB


@pytest.mark.slow
def test_r2_a_file_of_nuls_is_not_held(tmp_path: Path) -> None:
    """More of them than a line may have, and the record behind them is found."""
    path = write_log(tmp_path, b"")
    with open(path, "r+b") as file:
        file.truncate(200 * MIB)
        file.seek(0, 2)
        file.write(as_lines([RECORD]))

    tracemalloc.start()
    try:
        records, damage = read_all(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert records == [RECORD]
    assert damage[0].offset == 0
    assert peak < 100 * MIB


@pytest.mark.slow
def test_r2_a_line_of_200_mb_is_reported_and_not_held(tmp_path: Path) -> None:
    """It begins as a record, and never ends; what is around it is read."""
    first, last = make_record(1), make_record(2)
    path = write_log(tmp_path, as_lines([first]))
    start = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(0, 2)
        file.write(as_lines([RECORD])[:100])
        file.truncate(start + 200 * MIB)
        file.seek(0, 2)
        file.write(b"\n" + as_lines([last]))

    tracemalloc.start()
    try:
        records, damage = read_all(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert records == [first, last]
    assert damage[0].offset == start
    pieces = [piece for piece in damage if isinstance(piece, MalformedLine)]
    assert sum(piece.length for piece in pieces) == 200 * MIB
    # The 64 MiB of a piece are held once, and once more while they are searched.
    assert peak < 160 * MIB


@pytest.mark.parametrize("end", [b"", b"\n{}\n"])
def test_r2_of_a_line_without_end_one_copy_is_held(end: bytes) -> None:
    """While somebody looks what is in it, which takes copies of its own."""
    limit = 16 * MIB
    count = 15 if end else 40
    chunks = (b"{" * (n == 0) + b"x" * MIB for n in range(count))
    tracemalloc.start()
    try:
        held = [
            tracemalloc.get_traced_memory()[0]
            for _ in whole_lines(chain(chunks, [end] if end else []), limit=limit)
        ]
    finally:
        tracemalloc.stop()

    assert held
    assert max(held) < 1.5 * limit
