"""
Logs to read: a directory as many processes leave it behind, of any size, quickly.

Per day: records of four processes, whose batches interleave; one in twenty of another
provider; one line in ten thousand damaged; some hundred that were recovered hours
late; stack traces of many shapes, messages that hold JSON and now and then an escape
sequence of a terminal.  The first third of the days is in archives.

The lines of a block are made once and dated anew for each day and block: what is read
is as varied as real logs are within some megabytes, and the making takes seconds.
"""

from __future__ import annotations

import functools
import gzip
import os
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from multiprocessing import get_context
from typing import Final, NamedTuple, TypeVar

import orjson

T = TypeVar("T")

FIRST_DAY: Final = date(2026, 1, 1)
DAYS: Final = 60
OTHERS: Final = 0.05
MALFORMED: Final = 0.0001
OTHER: Final = "anthropic"
_POOL: Final = 6_000
_ERRORS: Final = (
    (
        "RateLimitError",
        "Error code: 429 - {'error': {'message': 'Rate limit'}}",
    ),
    ("APITimeoutError", "Request timed out."),
    ("APIConnectionError", "Connection error."),
    ("BadRequestError", 'Error code: 400 - {"error": {"code": "context_length"}}'),
    ("ValidationError", "2 validation errors for Answer\nscore\n  Input should be ≤ 1"),
    ("ValueError", "\x1b[31mcannot parse the answer\x1b[0m"),
)
_WEIGHTS: Final = (30, 20, 20, 18, 10, 2)
_MODELS: Final = ("gpt-4", "gpt-4o-mini", "gpt-4-turbo", "o1")


class Made(NamedTuple):
    """What was made: bytes are those of log, uncompressed."""

    size: int
    stored: int
    records: int
    others: int
    malformed: int


@functools.cache
def _pool(seed: int) -> list[tuple[bytes, bool]]:
    """Return lines without their timestamps, and whether each is of OTHER."""
    rng = random.Random(seed)
    made = []
    for _ in range(_POOL):
        kind, message = rng.choices(_ERRORS, _WEIGHTS)[0]
        frames = "".join(
            f'  File "/srv/app/{rng.choice("abcdef")}/module_{rng.randrange(200)}.py", '
            f"line {rng.randrange(900)}, in {rng.choice(('call', 'send', 'retry'))}\n"
            f"    return self.{rng.choice(('client', 'pool', 'api'))}.post(url, "
            f"json=payload, timeout={rng.randrange(60)})\n"
            for _ in range(rng.randrange(4, 13))
        )
        other = rng.random() < OTHERS
        record = {
            "timestamp": "",
            "request_id": f"req-{rng.getrandbits(64):016x}",
            "error_type": kind,
            "message": f"{message} (request {rng.getrandbits(48):x})",
            "stack_trace": f"Traceback (most recent call last):\n{frames}{kind}: x\n",
            "context": {
                "model": "claude-3-5-sonnet" if other else rng.choice(_MODELS),
                "provider": OTHER if other else "openai",
                "input_size": rng.randrange(100_000),
                "cost_estimate": round(rng.random(), 5),
                "duration_ms": round(rng.random() * 30_000, 1),
                "status_code": rng.choice((400, 429, 500, 503)),
                "retry": {"n": rng.randrange(5), "after": rng.random()},
            },
        }
        made.append((orjson.dumps(record)[len(b'{"timestamp":"') :], other))
    return made


def make_logs(
    log_dir: str, size: int, *, days: int = DAYS, seed: int = 1, archived: float = 1 / 3
) -> Made:
    """Write about *size* bytes of log into *log_dir*; return what is in it."""
    os.makedirs(os.path.join(log_dir, "archive"), exist_ok=True)
    maker = functools.partial(_make_day, log_dir, size // days, seed, days * archived)
    # A process for each processor: it is most of what the scenario takes.
    made = each_by_a_process(maker, days)
    return Made(*map(sum, zip(*made, strict=True)))


def each_by_a_process(work: Callable[[int], T], count: int) -> list[T]:
    """Return what *work* returns for 0 to *count* - 1, done by several processes."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return list(pool.map(work, range(count)))


def _make_day(log_dir: str, size: int, seed: int, archived: float, number: int) -> Made:
    """Write the log of one day."""
    pool = _pool(seed)
    rng = random.Random(f"{seed}, {number}")
    records = others = malformed = 0
    day = FIRST_DAY + timedelta(days=number)
    count = size // (sum(len(tail) for tail, _ in pool[:500]) // 500 + 41)
    step = 86_400_000_000 // (count + 1)
    lines = []
    for i in range(count):
        tail, other = pool[rng.randrange(len(pool))]
        # Four processes: each appends batches of what it has logged meanwhile.
        at = i * step + rng.randrange(step * 8)
        if rng.random() < 0.001:
            at = max(0, at - 3_600_000_000 * rng.randrange(1, 6))
        at = min(at, 86_399_999_999)
        seconds, micros = divmod(at, 1_000_000)
        stamp = (
            f"{day}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            f".{micros:06}Z"
        )
        line = b'{"timestamp":"' + stamp.encode() + tail
        if rng.random() < MALFORMED:
            line = line[: rng.randrange(20, len(line) - 2)]
            malformed += 1
        else:
            records += 1
            others += other
        lines.append(line)
    data = b"\n".join(lines) + b"\n"
    name = f"errors-{day}.jsonl"
    total = len(data)
    if number < archived:
        path = os.path.join(log_dir, "archive", f"{name}.gz")
        data = gzip.compress(data, 6, mtime=0)
    else:
        path = os.path.join(log_dir, name)
    with open(path, "wb") as file:
        file.write(data)
    return Made(total, len(data), records, others, malformed)


__all__ = [
    "DAYS",
    "FIRST_DAY",
    "OTHER",
    "Made",
    "each_by_a_process",
    "make_logs",
]
