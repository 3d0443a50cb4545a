"""
How much does a call execute, whatever the machine does meanwhile?

Counts, not times.  Those of the interpreter's instructions and calls guard the hot path
in the tests; the processor's, by valgrind where it is installed, also see what happens
within a function in C.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from bench import counts
from bench.harness import ROOT
from bench.model import (
    Figures,
    Job,
    PeerMissingError,
    Row,
    Samples,
    Scenario,
    at_most,
)
from bench.rows import value_row

FEW, MANY = 1_000, 3_000

PROGRAM = """\
import sys
from bench.workload import CONTEXT, failure
from tokenpak.telemetry.error_logger import ErrorLogger
error = failure()
logger = ErrorLogger(log_dir=sys.argv[1], linger=5.0)
calls = int(sys.argv[3])
if sys.argv[2] == "error":
    for _ in range(calls):
        logger.log_error("req-123", error, CONTEXT)
else:
    for _ in range(calls):
        logger.log_event("completion", "req-123", CONTEXT)
logger.close(timeout=60)
"""

HOW = f"""\
Instructions of the interpreter and calls, of Python functions and into C, for one
call in its steady state, counted in the caller's thread with the interpreter's own
hooks; the limit is `bench/baseline.json`, which the tests check. Where valgrind is
installed, a full run also counts the processor's instructions with
`--tool=callgrind`: of a process that makes {MANY:,} calls less those of one that
makes {FEW:,}, for each call more; what the writer executes for them is in it."""

READ = """\
These are the same on every machine, load or not, and so are what a change is judged
by first. They do not say what an instruction takes."""

WHERE = " in "

CALLS = {
    "log_error": "`log_error`",
    "log_error, 100 frames": "`log_error`, 100 frames",
    "log_event": "`log_event`",
    "log_event, no context": "`log_event` without a context",
}


def measure_counts(_: Job) -> Figures:
    """Return the counts of each call."""
    figures: Figures = {}
    for name, (found, where) in counts.measure().items():
        figures |= {f"{name}: {what}": n for what, n in asdict(found).items()}
        figures |= {f"{name}{WHERE}{function}": n for function, n in where.items()}
    return figures


def measure_callgrind(job: Job) -> Figures:
    """Return the processor's instructions of each further call."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise PeerMissingError("valgrind is not installed")
    if job.effort.scale < 1:
        raise PeerMissingError("a full run only")
    kinds = ("error", "event")
    runs = [(kind, calls) for kind in kinds for calls in (FEW, MANY)]
    # At once: they are counted, not timed.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda run: _instructions(valgrind, job.directory, *run), runs)
        of = dict(zip(runs, found, strict=True))
    return {kind: (of[kind, MANY] - of[kind, FEW]) / (MANY - FEW) for kind in kinds}


def _instructions(valgrind: str, directory: str, kind: str, calls: int) -> int:
    logs = os.path.join(directory, f"{kind}-{calls}")
    done = subprocess.run(
        [
            valgrind,
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            sys.executable,
            "-c",
            PROGRAM,
            logs,
            kind,
            str(calls),
        ],
        cwd=ROOT,
        # Sets and dicts in the same order each time.
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if done.returncode or found is None:
        # It has been seen to give up on the mappings of CPython 3.11 (valgrind 3.19).
        raise PeerMissingError("valgrind itself has failed")
    return int(found[1])


def judge(samples: Samples) -> list[Row]:
    """Compare with the baseline of this version of Python."""
    agreed = counts.read_baseline().get(counts.version(), {})
    rows = []
    for name, label in CALLS.items():
        limit = agreed.get(name)
        for what in ("instructions", "python_calls", "c_calls"):
            target = None
            if limit is not None:
                most = asdict(limit)[what] * (1 + counts.TOLERANCE)
                target = at_most(float(int(most)))
            key = ("counts", f"{name}: {what}")
            text = f"{label}: {what.replace('_', ' ').replace('c calls', 'C calls')}"
            rows.append(
                value_row(samples, text.replace("python", "Python"), key, "", target)
            )
    return [
        *rows,
        *_where(samples),
        *(
            value_row(
                samples,
                f"`log_{kind}`: the processor's instructions",
                ("callgrind", kind),
                "",
            )
            for kind in ("error", "event")
        ),
    ]


def _where(samples: Samples) -> list[Row]:
    """Return the functions that most instructions of the two calls are in."""
    rounds = samples.get("counts")
    if not rounds:
        return []
    rows = []
    for name in ("log_error", "log_event"):
        found = {
            key.removeprefix(name + WHERE): n
            for key, n in rounds[0].items()
            # What calls it, in the benchmark itself, is a constant.
            if key.startswith(name + WHERE) and "counts.py" not in key
        }
        for function in sorted(found, key=lambda one: -found[one]):
            label = f"`{name}`: instructions in `{function}`"
            key = ("counts", f"{name}{WHERE}{function}")
            rows.append(value_row(samples, label, key, ""))
    return rows


SCENARIO = Scenario(
    name="instructions",
    title="What a call executes",
    how=HOW,
    read=READ,
    rounds=1,
    measurements={"counts": measure_counts, "callgrind": measure_callgrind},
    judge=judge,
    may_fail=frozenset({"callgrind"}),
    patience=600,
)

__all__ = ["SCENARIO", "judge"]
