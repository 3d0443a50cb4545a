"""Memory does not grow with the size of the log."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from tests.queue.test_recovery import make_orphan
from tests.read.log_making import as_lines, make_record, read_all, write_log
from tokenpak.telemetry.read import (
    Format,
    Verification,
    export_records,
    iter_records,
    repair_log,
)

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
