"""
How long does an export take, and how much memory?

Of the same logs, made by the first round: without a filter, against ``jq -c .`` and
DuckDB; with one that keeps a twentieth; of one day of sixty; and until the first row.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

from bench.model import (
    Column,
    Figures,
    Job,
    Row,
    Samples,
    Scenario,
    at_least,
    at_most,
)
from bench.quantiles import quantile
from bench.readlogs import DAYS, FIRST_DAY, OTHER, Made, make_logs
from bench.rows import ratio_row, value_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ALL: Final = "export"
FEW: Final = f"export --provider {OTHER}"
ALL_ZLIB: Final = "export, by zlib"
FEW_ZLIB: Final = f"export --provider {OTHER}, by zlib"
DAY: Final = "export, one day"
ALONE: Final = "export, that day alone"
FIRST: Final = "export, first row"
JQ: Final = "jq -c ."
DUCKDB: Final = "DuckDB COPY"

SIZE: Final = 1_050_000_000
TURNS: Final = 5
"""Of the commands that take a third of a second."""
_POLL: Final = 0.02
_MIDDLE: Final = 40
"""The day that is asked for: not in an archive."""

_WITHOUT_ISAL: Final = """\
import sys
sys.modules["isal"] = None
from tokenpak.cli import main
main(prog_name="tokenpak")
"""


def _library() -> str:
    try:
        return f"isal {version('isal')} (the extra `fast`)"
    except PackageNotFoundError:
        return "zlib, since isal (the extra `fast`) is not installed"


HOW = f"""\
{SIZE / 1e9:.2f} GB of log are made: {DAYS} days, a third of them archived, 5 % of
another provider, 0.01 % malformed lines, batches of four processes interleaved, one
record in a thousand hours late. Each command writes JSON Lines into a file, and
reads files that are in the page cache. `jq -c .` and DuckDB read the same files; `jq`
gets those of the archives through `gzip -dc`, and both get them without the malformed
lines: `jq` would end at the first, DuckDB is told to skip them, and that it need not
keep the order of the lines. Archives are decompressed by
{_library()}; the rows "by zlib" are those of commands without it. The exports of one
day and the first row take turns {TURNS} times in a round, and their medians count. The
memory is the sum over all processes of what each holds alone and its share of what they
hold together (PSS), looked at every {_POLL * 1e3:.0f} ms."""

READ = """\
The export puts rows in order by time and checks each line, by as many processes as
there are processors. DuckDB uses as many threads and keeps no order.
The search for one provider still has to decompress the archives, which no test on
bytes can spare, and to start: that bounds its ratio. By `isal` (the extra `fast`) the
decompression takes a third of zlib's time."""


def _log_dir(job: Job) -> tuple[str, Made]:
    """Return where the logs are, and what is in them; the first round makes them."""
    log_dir = os.path.join(job.shared, "logs")
    note = os.path.join(job.shared, "made.json")
    if not os.path.exists(note):
        made = make_logs(log_dir, job.effort.count(SIZE), seed=job.seed)
        with open(note, "w", encoding="utf-8") as file:
            json.dump(made, file)
    with open(note, encoding="utf-8") as file:
        return log_dir, Made(*json.load(file))


def _export(log_dir: str, *options: str, zlib: bool = False) -> list[str]:
    start = ["-c", _WITHOUT_ISAL] if zlib else ["-m", "tokenpak"]
    command = [sys.executable, *start, "telemetry", "export"]
    return [*command, "--format", "jsonl", "--log-dir", log_dir, *options]


def _environment() -> dict[str, str]:
    """Return this process's own, in which byte code is cached, as where it is used."""
    environment = dict(os.environ)
    # Else each command would compile what it imports, as nobody's does.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _day_options() -> tuple[str, ...]:
    day = str(FIRST_DAY.replace(month=2, day=_MIDDLE - 30))
    return "--since", day, "--until", day


def _pss(pid: int) -> int:
    """Return the bytes of *pid* and its children."""
    total = 0
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    total += int(line.split()[1]) * 1024
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            total += sum(_pss(int(child)) for child in file.read().split())
    except (OSError, ValueError):
        pass
    return total


def _run(command: Sequence[str], target: str) -> Figures:
    """Run *command* with its output in *target*; return its seconds and bytes."""
    peak = 0
    with open(target, "wb") as out:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.DEVNULL, env=_environment()
        )
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(_POLL):
                peak = max(peak, _pss(process.pid))

        thread = threading.Thread(target=watch)
        thread.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        done.set()
        thread.join()
    assert process.returncode == 0, command
    written = os.path.getsize(target)
    os.unlink(target)
    cpu = usage.ru_utime + usage.ru_stime  # of all processes that it waited for
    return {"seconds": seconds, "memory": peak, "written": written, "cpu": cpu}


def measure(job: Job) -> Figures:
    """Measure all of it on one directory, which the first round makes."""
    log_dir, made = _log_dir(job)
    target = os.path.join(job.directory, "out")
    figures: Figures = {"size": made.size, "records": made.records}

    def add(name: str, found: Figures) -> None:
        figures.update({f"{name}, {key}": value for key, value in found.items()})

    _run(_export(log_dir, "--limit", "1"), target)  # its byte code is cached now
    files = sorted(glob.glob(f"{log_dir}/**/*.jsonl*", recursive=True))
    for path in files:  # into the page cache
        with open(path, "rb") as file:
            while file.read(1 << 20):
                pass
    add(ALL, _run(_export(log_dir), target))
    add(FEW, _run(_export(log_dir, "--provider", OTHER), target))
    add(ALL_ZLIB, _run(_export(log_dir, zlib=True), target))
    add(FEW_ZLIB, _run(_export(log_dir, "--provider", OTHER, zlib=True), target))
    add(DUCKDB, _duckdb(log_dir, target))
    add(JQ, _jq(log_dir, target))
    alone = os.path.join(job.directory, "alone")
    os.mkdir(alone)
    name = f"errors-{_day_options()[1]}.jsonl"
    shutil.copy(os.path.join(log_dir, name), alone)
    # These take so little that one by itself tells nothing.
    turns = [
        (
            _run(_export(log_dir, *_day_options()), target),
            _run(_export(alone), target),
            _first_row(log_dir),
        )
        for _ in range(job.effort.count(TURNS, least=1))
    ]
    for name, found in zip((DAY, ALONE, FIRST), zip(*turns, strict=True), strict=True):
        add(name, _median(found))
    figures["few rate"] = made.size / figures[f"{FEW}, seconds"]
    figures["rate"] = made.size / figures[f"{ALL}, seconds"]
    figures["few rate by zlib"] = made.size / figures[f"{FEW_ZLIB}, seconds"]
    figures["rate by zlib"] = made.size / figures[f"{ALL_ZLIB}, seconds"]
    return figures


def _median(found: Sequence[Figures]) -> Figures:
    return {key: quantile([one[key] for one in found], 0.5) for key in found[0]}


def _duckdb(log_dir: str, target: str) -> Figures:
    try:
        import duckdb  # noqa: F401
    except ImportError:
        return {"seconds": float("nan"), "cpu": float("nan")}
    statement = (
        f"COPY (SELECT * FROM read_json(['{log_dir}/*.jsonl', "
        f"'{log_dir}/archive/*.jsonl.gz'], format = 'newline_delimited', "
        f"ignore_errors = true)) TO '{target}.json' (FORMAT json)"
    )
    # It need not keep the order of the files, which takes it a fifth longer.
    statement = f"SET preserve_insertion_order = false; {statement}"
    code = f"import duckdb; duckdb.sql({statement!r})"
    found = _run([sys.executable, "-c", code], target)
    os.unlink(f"{target}.json")
    return found


def _jq(log_dir: str, target: str) -> Figures:
    if shutil.which("jq") is None:
        return {"seconds": float("nan"), "cpu": float("nan")}
    # Only lines that are whole: jq would end at the first that is not.
    script = (
        f"(gzip -dc {log_dir}/archive/*.gz; cat {log_dir}/*.jsonl)"
        " | grep -a '}}$' | jq -c ."
    )
    return _run(["sh", "-c", script], target)


def _first_row(log_dir: str) -> Figures:
    started = time.perf_counter()
    process = subprocess.Popen(
        _export(log_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
    )
    assert process.stdout is not None
    process.stdout.readline()
    seconds = time.perf_counter() - started
    process.stdout.close()
    process.wait()
    return {"seconds": seconds}


def over_jq(samples: Samples) -> Row:
    """Return how much longer jq takes."""
    above, below = (ALL, f"{JQ}, seconds"), (ALL, f"{ALL}, seconds")
    return ratio_row(samples, "`jq -c .`, over ours", above, below, at_least(3))


def over_duckdb(samples: Samples) -> Row:
    """Return how much longer DuckDB takes."""
    above, below = (ALL, f"{DUCKDB}, seconds"), (ALL, f"{ALL}, seconds")
    return ratio_row(samples, "DuckDB's `COPY`, over ours", above, below, at_least(1))


def over_all(samples: Samples) -> Row:
    """Return how much faster a byte is passed when few records are wanted."""
    above, below = (ALL, "few rate"), (ALL, "rate")
    label = "bytes a second, over no filter"
    return ratio_row(samples, label, above, below, at_least(5))


def over_all_by_zlib(samples: Samples) -> Row:
    """Return the same without isal."""
    above, below = (ALL, "few rate by zlib"), (ALL, "rate by zlib")
    return ratio_row(samples, "the same, by zlib", above, below)


def over_day(samples: Samples) -> Row:
    """Return how much longer one day of all takes than that day alone."""
    above, below = (ALL, f"{DAY}, seconds"), (ALL, f"{ALONE}, seconds")
    return ratio_row(samples, "over that day alone", above, below, at_most(1.2))


def first_row(samples: Samples) -> Row:
    """Return the time until the first row."""
    key = (ALL, f"{FIRST}, seconds")
    return value_row(samples, "the first row", key, "ms", at_most(300), factor=1e3)


def memory(samples: Samples) -> Row:
    """Return the peak of the memory of all processes."""
    key = (ALL, f"{ALL}, memory")
    label = "peak memory, all processes"
    return value_row(samples, label, key, "MB", at_most(100), factor=1e-6)


def judge(samples: Samples) -> list[Row]:
    """Make the rows that have no target; the others are in ``targets``."""
    return [
        value_row(samples, "no filter", (ALL, "rate"), "MB/s", factor=1e-6),
        value_row(
            samples, "one provider in twenty", (ALL, "few rate"), "MB/s", factor=1e-6
        ),
        *(
            value_row(samples, f"processor time: {name}", (ALL, f"{name}, cpu"), "s")
            for name in (ALL, FEW, ALL_ZLIB, FEW_ZLIB, DUCKDB, JQ)
        ),
        *(
            row(samples)
            for row in (
                over_jq,
                over_duckdb,
                over_all,
                over_all_by_zlib,
                over_day,
                first_row,
                memory,
            )
        ),
    ]


MEASUREMENTS: dict[str, Callable[[Job], Figures]] = {ALL: measure}

SCENARIO = Scenario(
    name="read_export",
    title="Export: a gigabyte of log",
    how=HOW,
    read=READ,
    rounds=2,
    measurements=MEASUREMENTS,
    judge=judge,
    timeout=600.0,
    columns=(
        Column("no filter", "rate", "MB/s", 1e-6),
        Column("one provider in twenty", "few rate", "MB/s", 1e-6),
    ),
)

__all__ = [
    "SCENARIO",
    "first_row",
    "judge",
    "measure",
    "memory",
    "over_all",
    "over_day",
    "over_duckdb",
    "over_jq",
]
