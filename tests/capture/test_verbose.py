"""The encoder for who asks for more or less: promises hold as for the usual one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture.exceptions import MAKERS
from tests.capture.odd_things import ODD
from tests.capture.strict_line import ERROR_FIELDS, EVENT_FIELDS, raising
from tests.capture.test_interrupt import DisturbedError
from tests.capture.verbose_rig import EVERYTHING, asking, loosely
from tests.scope.rig import records_of
from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.parts import Parts
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.verbose import VerboseEncoder
from tokenpak.telemetry.capture.verbosity import make_encoder
from tokenpak.telemetry.error_logger import ErrorLogger, bind, log_exception
from tokenpak.telemetry.options import FIELDS
from tokenpak.telemetry.queue.notice import notice_line
from tokenpak.telemetry.settings import resolve_settings
from tokenpak.telemetry.store.notes import Drops

ALL: dict[str, Any] = {
    "max_message_bytes": 2_000,
    "max_stack_bytes": 8_000,
    "max_context_bytes": 6_000,
    "context_deny": "prompt",
    "locals_frames": 2,
    "fields": FIELDS,
}


@pytest.mark.parametrize("name", ALL)
def test_only_who_asks_has_another_encoder(name: str) -> None:
    """With the defaults it is the usual one, whose hot path knows nothing of this."""
    usual = make_encoder(resolve_settings({}, {}), Redactor())
    asked = make_encoder(resolve_settings({name: ALL[name]}, {}), Redactor())

    assert type(usual) is Encoder
    assert type(asked) is VerboseEncoder


def test_x1_the_usual_logger_does_not_import_what_is_for_more() -> None:
    """It would take time at each start."""
    program = (
        "import sys; from tokenpak.telemetry.error_logger import ErrorLogger;"
        "ErrorLogger('/nowhere'); print([m for m in sys.modules if 'capture' in m])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )

    for module in ("verbose'", "extras'", "variables'", "keys'"):
        assert module not in done.stdout


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("limit", [32_000, 4_000, 1_000])
def test_c1_odd_things_make_one_line(what: str, limit: int) -> None:
    """As request id, error, event and context; never longer than the bound."""
    encoder = VerboseEncoder(limit, EVERYTHING)
    make = ODD[what]

    for request_id, error, context in (
        (make(), raising(ValueError("x")), {"a": 1}),
        ("r", make(), {"a": 1}),
        ("r", ValueError(make()), make()),
        (make(), make(), {"secret_plan": 5, "odd": make()}),
    ):
        line = encoder.error(request_id, error, context)
        loosely(line, limit, ERROR_FIELDS)
        line = encoder.event(error, request_id, context)
        assert "secret_plan" not in loosely(line, limit, EVENT_FIELDS)["context"]


@pytest.mark.parametrize("name", MAKERS)
def test_c3_the_usual_fields_are_what_they_are_without(name: str) -> None:
    """Stack trace and all, where nothing is to be shortened."""
    error = MAKERS[name]()
    plain = Encoder(64_000).error("r", error, {"n": 1})
    more = VerboseEncoder(
        64_000, EVERYTHING._replace(parts=Parts(), frames=0, fields=("host",))
    ).error("r", error, {"n": 1})

    usual, record = json.loads(plain), json.loads(more)
    assert {**usual, "timestamp": ""} == {
        **{field: record[field] for field in ERROR_FIELDS},
        "timestamp": "",
    }


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1_000, 9_000),
    st.text(max_size=3_000),
    st.dictionaries(st.text(max_size=50), st.text(max_size=2_000), max_size=20),
)
def test_c1_a_line_keeps_its_bound(
    limit: int, message: str, context: dict[str, str]
) -> None:
    """With all that can be asked for, also where there is hardly room for it."""
    encoder = VerboseEncoder(limit, EVERYTHING)

    loosely(encoder.error(message, ValueError(message), context), limit, ERROR_FIELDS)
    loosely(encoder.event(message, message, context), limit, EVENT_FIELDS)


def test_records_of_the_loggers_own_are_not_filtered() -> None:
    """That of dropped records says why, whoever allows what; it has the fields, too."""
    encoder = asking(allow=("model",), fields=("process",))
    drops = Drops("queue_full", 5, 0, 10**18, 10**18 + 1)

    for stream in ("errors", "events"):
        record = json.loads(notice_line(encoder, stream, drops, 7))
        assert record["context"]["dropped"] == 5
        assert record["process"]["pid"] == os.getpid()


def test_q1_each_record_of_many_threads_is_there_once(tmp_path: Path) -> None:
    """With the fields of its own thread, and its own context."""
    logger = ErrorLogger(tmp_path, **{**ALL, "locals_frames": 0})
    each = 300

    def work() -> None:
        name = threading.current_thread().name
        for number in range(each):
            with bind(thread_name=name, prompt="hidden"):
                error = ValueError("x")
                logger.log_error(f"{name} {number}", error, {"n": number})

    threads = [threading.Thread(target=work, name=f"t{n}") for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    records = records_of(logger)
    assert len(records) == len({r["request_id"] for r in records}) == 6 * each
    for record in records:
        name, number = record["request_id"].split()
        assert record["thread"] == name
        assert record["context"] == {"thread_name": name, "n": int(number)}
    assert logger.get_metrics() == {"ValueError": 6 * each}
    assert logger.stats().accepted == 6 * each
    logger.close(100)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals")
def test_q1_records_of_signal_handlers_do_not_mix_with_those_they_interrupt(
    tmp_path: Path,
) -> None:
    """A handler logs in the middle of a call that makes a line."""
    logger = ErrorLogger(tmp_path, **ALL)
    made: list[int] = []
    busy: list[bool] = []
    for name in ("call", "signal"):  # what is new takes longer
        logger.log_error(f"{name} first", ValueError(name[0]), {"own": name})
    assert logger.flush(100)

    def handle(*_: object) -> None:
        if not busy:
            busy.append(True)
            made.append(len(made))
            logger.log_error(f"signal {made[-1]}", ValueError("s"), {"own": "signal"})
            busy.clear()

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for count in range(2_000):
            logger.log_error(f"call {count}", ValueError("c"), {"own": "call"})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    records = records_of(logger)
    ids = Counter(record["request_id"] for record in records)
    assert len(ids) == len(records) == 2_002 + len(made)
    assert made
    for record in records:
        assert record["request_id"].startswith(record["context"]["own"])
    logger.close(100)


def test_c1_at_the_end_of_the_stack_nothing_is_raised_and_all_is_counted(
    tmp_path: Path,
) -> None:
    """Each call makes a record, or is counted as dropped."""
    logger = ErrorLogger(tmp_path, **ALL)
    logger.log_error("first", ValueError("x"), {"a": 1})
    calls = 0

    def fall(depth: int) -> None:
        nonlocal calls
        try:
            fall(depth + 1)
        except RecursionError as error:
            if calls < 50:
                logger.log_error("deep", error, {"a": 1})
                calls += 1  # it could be called
            if depth % 100 == 0:
                logger.log_event("deep")
                calls += 1
            raise

    with pytest.raises(RecursionError):
        fall(0)
    stats = logger.stats()
    assert stats.accepted + sum(stats.dropped.values()) == calls + 1
    logger.close(100)


def test_an_exception_is_recorded_once_however_many_layers_it_passes(
    tmp_path: Path,
) -> None:
    """The mark is set as by the usual encoder."""
    logger = ErrorLogger(tmp_path, **ALL)

    @log_exception(logger=logger)
    @log_exception(logger=logger)
    def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()

    assert len(records_of(logger)) == 1
    logger.close(100)


def test_an_interruption_of_the_program_passes() -> None:
    """Ctrl-C inside of a ``__str__``, as with the usual encoder."""

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for encoder in (asking(fields=("fingerprint",)), asking(deny=("prompt",))):
            with pytest.raises(KeyboardInterrupt):
                encoder.error("r", DisturbedError(), {})
    finally:
        signal.signal(signal.SIGINT, before)
