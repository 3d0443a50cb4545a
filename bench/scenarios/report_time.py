"""
How long does a report take, next to an export of the same records?

Both have to read, decompress and decode every record; an export then copies the lines,
a report counts what is in them.  So the one is the measure of the other, whatever the
machine.  The commands are run as a person runs them, in turn.
"""

from __future__ import annotations

import functools
import gzip
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator

import orjson

from bench.harness import ROOT
from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.readlogs import each_by_a_process
from bench.rows import ratio_row, total_row, value_row
from bench.workload import failure

RECORDS = 1_000_000
DAYS = ("2026-03-22", "2026-03-23", "2026-03-24")
"""History, in the archive; the window before; the window."""

HOW = f"""\
A log of {RECORDS:,} errors (in a quick run a twentieth) over three days, the first
of them archived: 20 stacks of ten frames, messages with numbers, three providers,
costs and durations. The first round makes it, and looks whether reports of each day
count all of it. `tokenpak telemetry report --since {DAYS[2]}` and `tokenpak telemetry
export --format jsonl`, both into `/dev/null`, one after the other in each round, as
commands: with the start of the interpreter. Seconds and peak memory are those of the
commands, with the processes that they start."""


def write_log(log_dir: str, number: int, seed: int) -> None:
    """Write so many records, evenly over DAYS."""
    os.makedirs(os.path.join(log_dir, "archive"))
    each = number // len(DAYS)
    each_by_a_process(functools.partial(_write_day, log_dir, each, seed), len(DAYS))


def _write_day(log_dir: str, each: int, seed: int, place: int) -> None:
    """Write the records of one of DAYS; the first is in the archive."""
    name = f"errors-{DAYS[place]}.jsonl"
    lines = _lines(DAYS[place], each, random.Random(f"{seed}, {place}"))
    if place:
        with open(os.path.join(log_dir, name), "wb") as file:
            file.writelines(lines)
    else:
        path = os.path.join(log_dir, "archive", f"{name}.gz")
        with gzip.open(path, "wb", 6) as archive:
            archive.writelines(lines)


def _lines(day: str, each: int, dice: random.Random) -> Iterator[bytes]:
    stacks = [_stack().replace("in call", f"in call_{kind}") for kind in range(20)]
    # As it stands in JSON.
    stacks = [orjson.dumps(stack).decode()[1:-1] for stack in stacks]
    for i in range(each):
        second, micros = divmod(86_400_000_000 * i // each, 1_000_000)
        clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
        kind = dice.randrange(20)
        provider = ("openai", "anthropic", "google")[kind % 3]
        took = dice.randrange(60_000)
        message = f"{provider} did not answer within {took} ms"
        line = (
            f'{{"timestamp":"{day}T{clock}.{micros:06}Z","request_id":"req-{i}",'
            f'"error_type":"Timeout{kind % 4}","message":"{message}",'
            f'"stack_trace":"{stacks[kind]}'
            f'Timeout{kind % 4}: {message}\\n","context":{{'
            f'"model":"m-{kind % 5}","provider":"{provider}",'
            f'"input_size":{dice.randrange(9999)},'
            f'"duration_ms":{took},'
            f'"cost_estimate":{dice.random() / 50:.6f}}}}}\n'
        )
        yield line.encode()


def _stack() -> str:
    """Return a stack of ten frames, without its last line."""
    import traceback

    error = failure()
    text = "".join(traceback.format_exception(error))
    return text[: text.rstrip("\n").rfind("\n") + 1]


def run(*command: str) -> tuple[float, float]:
    """Run the command; return seconds, and peak memory in bytes."""
    with open(os.devnull, "wb") as out:
        begun = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-m", "tokenpak", "telemetry", *command],
            cwd=ROOT,
            stdout=out,
        )
        _, status, usage = os.wait4(child.pid, 0)
        taken = time.perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command[0]} ended with {child.returncode}")
    return taken, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(job: Job) -> Figures:
    """Run both commands in turn, on a log that the first round writes."""
    # A smaller log of read_export would be a measure of the commands' start; here both
    # start alike.
    number = job.effort.count(job.effort.choose(RECORDS, RECORDS // 2))
    number = number // len(DAYS) * len(DAYS)
    log_dir = os.path.join(job.shared, "logs")
    wrong = 0
    if not os.path.exists(log_dir):
        write_log(log_dir, number, job.seed)
        # It also brings the files into memory.
        wrong = abs(_counted(log_dir) - number)
    export = ("export", "--format", "jsonl", "--log-dir", log_dir)
    report = ("report", "--log-dir", log_dir, "--since", DAYS[2], "--until", DAYS[2])
    exporting, _ = run(*export)
    reporting, memory = run(*report)
    return {
        "export": exporting,
        "report": reporting,
        "export_each": exporting / number,
        "report_each": reporting / number,
        "memory": memory,
        "wrong": wrong,
    }


def _counted(log_dir: str) -> int:
    """Return how many records reports find, day by day; once, the log is the same."""
    total = 0
    for day in DAYS:
        answer = subprocess.run(
            [
                *(sys.executable, "-m", "tokenpak", "telemetry", "report"),
                *("--log-dir", log_dir, "--since", day, "--until", day),
                *("--format", "json"),
            ],
            cwd=ROOT,
            capture_output=True,
            check=True,
            timeout=600,
        )
        total += orjson.loads(answer.stdout)["total"]["now"]
    return total


def judge(samples: Samples) -> list[Row]:
    """Compare with the export."""
    return [
        ratio_row(
            samples,
            "`report` over an unfiltered `export --format jsonl`",
            ("both", "report"),
            ("both", "export"),
            at_most(1.5),
        ),
        *(
            value_row(
                samples,
                f"`{name}`, a record",
                ("both", f"{name}_each"),
                "µs",
                factor=1e6,
            )
            for name in ("report", "export")
        ),
        value_row(
            samples,
            "peak memory of a process of `report`",
            ("both", "memory"),
            "MB",
            at_most(100),
            factor=1e-6,
        ),
        total_row(samples, "records not counted", [("both", "wrong")], at_most(0)),
    ]


SCENARIO = Scenario(
    name="report_time",
    title="How long a report takes",
    how=HOW,
    rounds=3,
    measurements={"both": measure},
    judge=judge,
)

__all__ = ["SCENARIO", "judge", "measure", "write_log"]
