"""
What does the import cost, and what does it start?

Timed inside fresh interpreters, around the import statement alone: the start of the
interpreter, several times longer and noisier, is left out on both sides.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from bench.harness import ROOT
from bench.model import Figures, Job, Row, Samples, Scenario, at_most
from bench.quantiles import quantile
from bench.rows import ratio_row, total_row, value_row

OURS = "tokenpak.telemetry.error_logger"
BASELINE = "logging, orjson, filelock"

HOW = f"""\
`import {OURS}` against `import {BASELINE}`, the least that it is made of, in fresh
interpreters in turn, byte code cached. Timed inside each, around the import
statement alone. The median of some dozens of interpreters is one round. What the
import must not start or load is counted in the same interpreters."""

PROGRAM = """\
import sys, time
sys.path.insert(0, {root!r})
before = time.perf_counter_ns()
import {modules}
taken = time.perf_counter_ns() - before
import json, os, threading
here = os.listdir(".")
print(json.dumps({{
    "taken": taken,
    "threads": threading.active_count() - 1,
    "files": len(here),
    "unwanted": len({{"click", "prometheus_client"}} & set(sys.modules)),
}}))
"""


def measure(job: Job) -> Figures:
    """Start interpreters in turn; return the medians and what was found started."""
    found: dict[str, list[dict[str, int]]] = {OURS: [], BASELINE: []}
    for modules in found:
        _import(modules, job.directory)  # writes the byte code
    for _ in range(job.effort.count(40, least=3)):
        for modules, answers in found.items():
            answers.append(_import(modules, job.directory))
    return {
        "taken": quantile([answer["taken"] for answer in found[OURS]], 0.5),
        "baseline": quantile([answer["taken"] for answer in found[BASELINE]], 0.5),
        "started": sum(
            answer["threads"] + answer["files"] + answer["unwanted"]
            for answer in found[OURS]
        ),
    }


def _import(modules: str, directory: str) -> dict[str, int]:
    program = PROGRAM.format(root=ROOT, modules=modules)
    environment = {**os.environ, "HOME": directory, "TOKENPAK_LOG_DIR": directory}
    # Byte code that may not be cached would be compiled anew in every interpreter.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=directory,
        env=environment,
        capture_output=True,
        check=True,
        timeout=60,
    )
    answer: dict[str, int] = json.loads(done.stdout)
    return answer


def judge(samples: Samples) -> list[Row]:
    """Compare with what the package is made of."""
    return [
        ratio_row(
            samples,
            f"over `import {BASELINE}`",
            ("imports", "taken"),
            ("imports", "baseline"),
            at_most(1.3),
        ),
        total_row(
            samples,
            "threads, files, click or prometheus_client",
            [("imports", "started")],
            at_most(0),
        ),
        value_row(samples, "import", ("imports", "taken"), "ms", factor=1e-6),
        value_row(samples, "baseline", ("imports", "baseline"), "ms", factor=1e-6),
    ]


SCENARIO = Scenario(
    name="import_time",
    title="What the import costs",
    how=HOW,
    rounds=3,
    measurements={"imports": measure},
    judge=judge,
)

__all__ = ["SCENARIO", "judge", "measure"]
