"""
How long does a report take, next to an export of the same records?

Both have to read, decompress and decode every record; an export then copies the lines,
a report counts what is in them.  So the one is the measure of the other, whatever the
machine.  The commands are run as a person runs them, in turn.
"""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import orjson

from bench.harness import ROOT
from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.quantiles import quantile
from bench.rows import ratio_row, total_row, value_row
from bench.workload import failure

RECORDS = 1_000_000
TURNS = 2
DAYS = ("2026-03-22", "2026-03-23", "2026-03-24")
"""History, in the archive; the window before; the window."""

HOW = f"""\
A log of {RECORDS:,} errors (in a quick run a fifth of that) over three days, the first
of them archived: 20 stacks of ten frames, messages with numbers, three providers,
costs and durations. `tokenpak telemetry report --since {DAYS[2]}` and `tokenpak
telemetry export --format jsonl`, both into `/dev/null`, in turn, as commands: with
the start of the interpreter. Seconds and peak memory are those of the commands, with
the processes that they start."""


def write_log(log_dir: str, number: int, seed: int) -> None:
    """Write so many records, evenly over DAYS."""
    dice = random.Random(seed)
    stack = orjson.dumps(_stack()).decode()[1:-1]
    os.makedirs(os.path.join(log_dir, "archive"))
    each = number // len(DAYS)
    for day in DAYS:
        begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
        path = os.path.join(log_dir, f"errors-{day}.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            for i in range(each):
                when = begin + timedelta(days=i / each)
                stamp = when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                kind = dice.randrange(20)
                provider = ("openai", "anthropic", "google")[kind % 3]
                took = dice.randrange(60_000)
                message = f"{provider} did not answer within {took} ms"
                file.write(
                    f'{{"timestamp":"{stamp}","request_id":"req-{i}",'
                    f'"error_type":"Timeout{kind % 4}","message":"{message}",'
                    f'"stack_trace":"{stack.replace("in call", f"in call_{kind}")}'
                    f'Timeout{kind % 4}: {message}\\n","context":{{'
                    f'"model":"m-{kind % 5}","provider":"{provider}",'
                    f'"input_size":{dice.randrange(9999)},'
                    f'"duration_ms":{took},'
                    f'"cost_estimate":{dice.random() / 50:.6f}}}}}\n'
                )
    first = os.path.join(log_dir, f"errors-{DAYS[0]}.jsonl")
    packed = os.path.join(log_dir, "archive", f"errors-{DAYS[0]}.jsonl.gz")
    with open(first, "rb") as source, gzip.open(packed, "wb", 6) as archive:
        while data := source.read(1 << 20):
            archive.write(data)
    os.unlink(first)


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
    """Write a log; run both commands in turn."""
    # A smaller log would measure the start of the interpreter.
    number = min(RECORDS, job.effort.count(2 * RECORDS)) // len(DAYS) * len(DAYS)
    log_dir = os.path.join(job.directory, "logs")
    write_log(log_dir, number, job.seed)
    export = ("export", "--format", "jsonl", "--log-dir", log_dir)
    report = ("report", "--log-dir", log_dir, "--since", DAYS[2], "--until", DAYS[2])
    taken: dict[str, list[float]] = {"export": [], "report": []}
    memory = 0.0
    for turn in range(job.effort.count(TURNS, least=1) + 1):
        for command in (export, report):
            seconds, peak = run(*command)
            if turn:  # the first brings the files into memory
                taken[command[0]].append(seconds)
            if command is report:
                memory = max(memory, peak)
    return {
        "export": quantile(taken["export"], 0.5),
        "report": quantile(taken["report"], 0.5),
        "export_each": quantile(taken["export"], 0.5) / number,
        "report_each": quantile(taken["report"], 0.5) / number,
        "memory": memory,
        "wrong": abs(_counted(log_dir) - number),
    }


def _counted(log_dir: str) -> int:
    """Return how many records reports find, day by day."""
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
