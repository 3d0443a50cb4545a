"""
What does redaction add to a call?

Two of our loggers, one with the default setting and one with ``redact="off"``, take the
same failures in alternating small blocks in one process, so that both meet the same
clock speed, caches and neighbours.
"""

from __future__ import annotations

import os
import random
import string
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from bench.hostile import HOSTILE_BYTES, hostile, took
from bench.model import Column, Figures, Job, Row, Samples, Scenario, at_most
from bench.quantiles import quantile
from bench.rows import ratio_row, total_row, value_row
from bench.workload import CONTEXT, REQUEST_ID, failure
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.error_logger import ErrorLogger

CALLS_A_BLOCK = 200

_WORDS = ("model", "failed", "rate", "limit", "please", "retry", "provider", "answer")
_PROVIDER = (
    "Error code: 429 - {{'error': {{'message': 'Rate limit reached for gpt-4 in "
    "organization org-xxx on requests per min (RPM): Limit {0}, Used {1}, Requested 1. "
    "Please try again in 20s. Visit https://platform.openai.com/account/rate-limits "
    "to learn more.', 'type': 'requests', 'param': None, 'code': 'rate_limit_exceeded'"
    "}}}}"
)

Call = tuple[str, BaseException, dict[str, object]]


def _numbers(chance: random.Random) -> dict[str, object]:
    return {
        **CONTEXT,
        "duration_ms": chance.randrange(5_000),
        "cost_estimate": chance.random(),
    }


def _said(message: str) -> BaseException:
    error = failure()
    error.args = (message,)
    return error


def _same(_chance: random.Random) -> Call:
    return REQUEST_ID, failure(), CONTEXT


def _service(chance: random.Random) -> Call:
    limit, used = chance.randrange(1_000), chance.randrange(1_000)
    request_id = str(uuid.UUID(int=chance.getrandbits(128)))
    return request_id, _said(_PROVIDER.format(limit, used)), _numbers(chance)


def _random_ids(chance: random.Random) -> Call:
    letters = string.ascii_letters + string.digits
    request_id = "req_" + "".join(chance.choices(letters, k=24))
    return request_id, failure(), _numbers(chance)


def _other_words(chance: random.Random) -> Call:
    message = " ".join(chance.choices(_WORDS, k=10))
    return REQUEST_ID, _said(message), _numbers(chance)


def _secret(_chance: random.Random) -> Call:
    key = "-".join(("sk", "proj", "aB3d" * 12))
    return REQUEST_ID, _said(f"Incorrect API key provided: {key}"), CONTEXT


KINDS: Final[dict[str, Callable[[random.Random], Call]]] = {
    "the same short texts": _same,
    "a provider's answer, UUIDs and numbers": _service,
    "an id of random letters each time": _random_ids,
    "other words each time": _other_words,
    "a key in the message": _secret,
}
SAME, SERVICE = list(KINDS)[:2]
EVENTS = "`log_event`"
HOSTILE = f"{HOSTILE_BYTES // 1_000} KB of hostile text"

HOW = f"""\
`log_error` for an exception ten frames deep with five context fields, by a logger with
the default setting and by one with `redact="off"`. Blocks of {CALLS_A_BLOCK} calls of
each alternate in one thread; each call is timed by itself. The texts are those of the
benchmark, or as a service has them: a provider's long answer with other numbers in it,
a UUID as the request id. Ids of random letters, and messages in other words each time,
are what redaction has never met before, and has to search. Hostile texts are made of
what the rules look for, many thousand times: each by itself, mixed at random, and the
worst mixtures that `python -m bench.hostile` has found. Their processor time is taken,
the least of several times; the slowest of them is shown."""

READ = """\
With a key in it a record takes the slow road, where it is searched as a whole."""


def measure(kind: str, job: Job) -> Figures:
    """Time alternating blocks of calls with redaction and without."""
    with_it = ErrorLogger(os.path.join(job.directory, "with"))
    without = ErrorLogger(os.path.join(job.directory, "without"), redact="off")
    times: dict[str, list[int]] = {"with": [], "without": []}
    chance = random.Random(job.seed)
    for block in range(job.effort.count(40, least=4) + 1):
        for name, logger in (("with", with_it), ("without", without)):
            found = _time_calls(logger, KINDS[kind], chance)
            if block:  # the first one fills caches
                times[name] += found
    return _figures(times, with_it, without)


def measure_events(job: Job) -> Figures:
    """Time alternating blocks of events with redaction and without."""
    with_it = ErrorLogger(os.path.join(job.directory, "with"))
    without = ErrorLogger(os.path.join(job.directory, "without"), redact="off")
    times: dict[str, list[int]] = {"with": [], "without": []}
    clock = time.perf_counter_ns
    for block in range(job.effort.count(80, least=4) + 1):
        for name, logger in (("with", with_it), ("without", without)):
            log_event = logger.log_event
            for _ in range(CALLS_A_BLOCK):
                before = clock()
                log_event("completion", REQUEST_ID, CONTEXT)
                after = clock()
                if block:
                    times[name].append(after - before)
    return _figures(times, with_it, without)


def _time_calls(
    logger: ErrorLogger, make: Callable[[random.Random], Call], chance: random.Random
) -> list[int]:
    clock, log_error = time.perf_counter_ns, logger.log_error
    times = []
    for _ in range(CALLS_A_BLOCK):
        request_id, error, context = make(chance)
        before = clock()
        log_error(request_id, error, context)
        times.append(clock() - before)
    return times


def _figures(times: dict[str, list[int]], *loggers: ErrorLogger) -> Figures:
    dropped = 0
    for logger in loggers:
        logger.flush(timeout=60)
        dropped += sum(logger.stats().dropped.values())
        logger.close(timeout=60)
    return {
        "with": quantile(times["with"], 0.5),
        "without": quantile(times["without"], 0.5),
        "dropped": dropped,
    }


def measure_hostile(job: Job) -> Figures:
    """Take the time of the search of long texts that are made of what it looks for."""
    redactor = Redactor("credentials", key=lambda: bytes(32))
    times = job.effort.count(20, least=8)
    texts = sorted(
        (text for _, text in hostile()), key=lambda text: took(redactor, text, times)
    )
    # Those that were the slowest may only have met a neighbour.
    worst = max(took(redactor, text, 5 * times) for text in texts[-8:])
    return {"with": 1_000 * worst, "without": 0, "dropped": 0}


def judge(samples: Samples) -> list[Row]:
    """Compare the two loggers."""
    limits = {SAME: at_most(120), SERVICE: at_most(135)}
    return [
        *(
            ratio_row(
                samples,
                f"{kind}: the call, in % of one without redaction",
                (kind, "with"),
                (kind, "without"),
                limits.get(kind),
                percent=True,
            )
            for kind in (*KINDS, EVENTS)
        ),
        value_row(
            samples,
            f"{HOSTILE}: the slowest of {len([*hostile()])}",
            (HOSTILE, "with"),
            "ms",
            at_most(1),
            factor=1e-6,
        ),
        total_row(
            samples,
            "dropped meanwhile",
            [(kind, "dropped") for kind in (*KINDS, EVENTS)],
            at_most(0),
        ),
    ]


def _kind(kind: str) -> Callable[[Job], Figures]:
    return lambda job: measure(kind, job)


_MEASUREMENTS: dict[str, Any] = {kind: _kind(kind) for kind in KINDS}

SCENARIO = Scenario(
    name="redaction",
    title="Redaction: what it adds to a call",
    how=HOW,
    read=READ,
    rounds=3,
    measurements={**_MEASUREMENTS, EVENTS: measure_events, HOSTILE: measure_hostile},
    judge=judge,
    columns=(
        Column("with redaction", "with", "µs", 1e-3),
        Column("without", "without", "µs", 1e-3),
    ),
)

__all__ = ["EVENTS", "HOSTILE", "KINDS", "SAME", "SCENARIO", "SERVICE", "judge"]
