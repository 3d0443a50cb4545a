"""
Where does the time of a call go?

Each step of the two hot functions is timed by itself, in the form that it has there,
and so is the whole call.  What is left between the sum and the whole is the Python
between the steps.  Beside the event stands the least that a function in Python can do
for it, so that one sees how far the call is from what the language allows.
"""

from __future__ import annotations

import itertools
import mmap
import time
import timeit
from collections.abc import Mapping, Sequence
from types import TracebackType

import orjson

from bench.model import Figures, Job, Row, Samples, Scenario
from bench.quantiles import quantile
from bench.rows import value_row
from bench.workload import CONTEXT, EVENT, REQUEST_ID, failure
from tokenpak.telemetry.capture.bound import current
from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.index import Frame, add, find
from tokenpak.telemetry.capture.native import NATIVE
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.privacy.rule import HEX
from tokenpak.telemetry.capture.sink import Sink

SIZE = 4 * 1024 * 1024
LOOPS = 1_000
ROUNDS = 60

HOW = f"""\
Every step by itself, in loops of {LOOPS:,} that take turns, {ROUNDS} times; medians,
less the loop's own time. The whole calls are the real ones, but that they write into
one mapping of memory: there is no writer thread beside them, and the memory stays in
the cache. So they are shorter than in the scenarios above, where each exception is
raised anew and a thread appends what was written."""

READ = """\
The steps in C are what must be done for a record: reading ten frames, encoding three
values, looking for secrets in them, joining and copying 2 kB. `the Python between` is
the call itself, what it asks and decides, and the looks into attributes. The last floor
is that of an event in Python: it builds no time stamp, checks no type, and survives
nothing odd that it is given; what `caller_events` allows is twice the one before it."""

ERROR_STEPS: Mapping[str, str] = {
    "compare ten frames": "find(node, tb)",
    "encode the context": "dumps(CONTEXT, None, NATIVE)",
    "encode the message": "dumps(text)[1:-1]",
    "encode the request id": "dumps(REQUEST_ID)",
    "look for secrets": "(name + message + shown).translate(None, HEX) in harmless",
    "look what is bound": "bound_here()",
    "str(error)": "str(error)",
    "join the line": "join(error_parts)",
    "copy it into the mapping": "pages.write(error_line)",
    "ask the clock": "clock()",
    "count twice": "count(); count()",
    "mark it as recorded": "error._tokenpak_recorded = 1_774_373_722_123_456_789",
}
EVENT_STEPS: Mapping[str, str] = {
    "encode the context": "dumps(CONTEXT, None, NATIVE)",
    "encode the request id": "dumps(REQUEST_ID)",
    "look for secrets": "(name + shown).translate(None, HEX) in harmless",
    "look what is bound": "bound_here()",
    "join the line": "join(event_parts)",
    "copy it into the mapping": "pages.write(event_line)",
    "ask the clock": "clock()",
    "count": "count()",
}
EVENT_FLOORS: Mapping[str, str] = {
    "(floor) encode a ready record, copy it": "pages.write(dumps(record, None, NL))",
    "(floor) a function that does so, asks the clock and counts": "least()",
}
WHOLE = "the whole call"
BETWEEN = "the Python between"
EMPTY = "the empty loop"


CUTS_ERROR = (37, 8, 9, 45, 60, 17, -1, 2, 60, 14, 107, 2)
CUTS_EVENT = (37, 24, 9, 33, -1, 2)
"""Bytes of the pieces that a line is joined from; -1: what the others leave."""


class _Bell:
    rings = False

    def answer(self) -> None:
        """Is never called, since nothing rings."""


class _Pages(mmap.mmap):
    """As a segment is: a subclass of mmap, whose method is called."""


def measure_error(job: Job) -> Figures:
    """Time log_error() and its steps; nanoseconds."""
    call = "log_error(REQUEST_ID, error, CONTEXT)"
    return _times({WHOLE: call, **ERROR_STEPS}, job)


def measure_event(job: Job) -> Figures:
    """Time log_event(), its steps, and what bounds it from below; nanoseconds."""
    call = "log_event(EVENT, REQUEST_ID, CONTEXT)"
    return _times({WHOLE: call, **EVENT_STEPS, **EVENT_FLOORS}, job)


def _times(statements: Mapping[str, str], job: Job) -> Figures:
    names = _names()
    timers = {
        step: timeit.Timer(statement, "pages.seek(0)", globals=names)
        for step, statement in {**statements, EMPTY: "pass"}.items()
    }
    times: dict[str, list[float]] = {step: [] for step in timers}
    for _ in range(job.effort.count(ROUNDS, least=3)):
        for step, timer in timers.items():
            times[step].append(timer.timeit(LOOPS) / LOOPS * 1e9)
    medians = {step: quantile(found, 0.5) for step, found in times.items()}
    empty = medians.pop(EMPTY)
    found = {step: median - empty for step, median in medians.items()}
    steps = [found[step] for step in found if step not in {WHOLE, *EVENT_FLOORS}]
    return {**found, BETWEEN: found[WHOLE] - sum(steps)}


def _names() -> dict[str, object]:
    pages = _Pages(-1, SIZE)
    redactor = Redactor("credentials")
    encoder, error = Encoder(32_000, redactor=redactor), failure()
    count, clock = itertools.count().__next__, time.time_ns
    dumps, newline = orjson.dumps, orjson.OPT_APPEND_NEWLINE
    sink = Sink([pages], count, _never, int, _Bell())
    error_line = encoder.error(REQUEST_ID, error, CONTEXT)
    event_line = encoder.event(EVENT, REQUEST_ID, CONTEXT)
    record = orjson.loads(event_line)

    def least() -> None:
        clock()
        pages.write(dumps(record, None, newline))
        count()

    return {
        "CONTEXT": CONTEXT,
        "EVENT": EVENT,
        "HEX": HEX,
        "NATIVE": NATIVE,
        "NL": newline,
        "REQUEST_ID": REQUEST_ID,
        "bound_here": current.get,
        "clock": clock,
        "count": count,
        "dumps": dumps,
        "error": error,
        "error_line": error_line,
        "error_parts": _cut(error_line, CUTS_ERROR),
        "event_line": event_line,
        "event_parts": _cut(event_line, CUTS_EVENT),
        "find": find,
        "harmless": redactor.harmless,
        "join": b"".join,
        "least": least,
        "log_error": encoder.record_error(sink, {type(error): count}, _never),
        "log_event": encoder.record_event(sink),
        "message": dumps(str(error))[1:-1],
        "name": dumps(REQUEST_ID),
        "node": add(None, _frames(error.__traceback__), error),
        "pages": pages,
        "record": record,
        "shown": dumps(CONTEXT),
        "tb": error.__traceback__,
        "text": str(error),
    }


def _never(*_: object) -> None:
    raise AssertionError("the mapping has room for a loop, and the class is known")


def _frames(tb: TracebackType | None) -> tuple[Frame, ...]:
    frames = []
    while tb is not None:
        frames.append((tb.tb_frame.f_code, tb.tb_lasti))
        tb = tb.tb_next
    return tuple(frames)


def _cut(line: bytes, sizes: Sequence[int]) -> tuple[bytes, ...]:
    rest = len(line) - sum(size for size in sizes if size >= 0)
    parts, start = [], 0
    for size in sizes:
        end = start + (rest if size < 0 else size)
        parts.append(line[start:end])
        start = end
    return tuple(parts)


def judge(samples: Samples) -> list[Row]:
    """List the steps; nothing is judged."""
    return [
        value_row(samples, f"{call}: {step}", (call, step), "ns")
        for call, steps in (
            ("log_error", (WHOLE, *ERROR_STEPS, BETWEEN)),
            ("log_event", (WHOLE, *EVENT_STEPS, BETWEEN, *EVENT_FLOORS)),
        )
        for step in steps
    ]


SCENARIO = Scenario(
    name="budget",
    title="Where the time of a call goes",
    how=HOW,
    read=READ,
    rounds=3,
    measurements={"log_error": measure_error, "log_event": measure_event},
    judge=judge,
)

__all__ = ["SCENARIO", "judge", "measure_error", "measure_event"]
