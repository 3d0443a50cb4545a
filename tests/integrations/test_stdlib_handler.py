"""logging.Handler: errors, events, extra, filters; and what it must not do."""

from __future__ import annotations

import logging
import logging.config
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from tests.integrations.logs import Make, records
from tests.queue.logs import eventually
from tokenpak.telemetry import error_logger
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.integrations._request import bound
from tokenpak.telemetry.integrations.stdlib import TelemetryHandler
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.read import Query, iter_records


class Scene:
    """A logger of the standard library with the handler, and the log behind it."""

    def __init__(self, logger: ErrorLogger) -> None:
        self.telemetry = logger
        self.handler = TelemetryHandler(logger=logger)
        # Not getLogger(): pytest adds handlers of its own to all that are known.
        self.log = logging.Logger("app.part")  # noqa: LOG001
        self.log.addHandler(self.handler)

    def events(self) -> list[dict[str, Any]]:
        return records(self.telemetry, "events")

    def errors(self) -> list[dict[str, Any]]:
        return records(self.telemetry)


@pytest.fixture
def scene(make_logger: Make) -> Scene:
    return Scene(make_logger())


def test_a_record_with_an_exception_is_an_error(scene: Scene) -> None:
    """The exception is what is recorded; the text of the call is beside it."""
    try:
        raise ValueError("bad")
    except ValueError as error:
        scene.log.exception("no %s for %d", "answer", 7)
        scene.log.warning("again", exc_info=error)
        scene.log.warning("and again", exc_info=sys.exc_info())

    found = scene.errors()

    assert [r["error_type"] for r in found] == ["ValueError"] * 3
    assert [r["message"] for r in found] == ["bad"] * 3
    assert found[0]["stack_trace"].endswith("ValueError: bad\n")
    assert found[0]["context"] == {
        "logger": "app.part",
        "level": "ERROR",
        "message": "no answer for 7",
    }
    assert scene.events() == []


def test_any_other_record_is_an_event(scene: Scene) -> None:
    """Named as it was written, so that those of one kind can be counted."""
    for user in ("ann", "bob"):
        scene.log.info("user %s is new", user)

    found = scene.events()

    assert [r["event"] for r in found] == ["user %s is new"] * 2
    assert [r["context"] for r in found] == [
        {"logger": "app.part", "level": "INFO", "message": f"user {user} is new"}
        for user in ("ann", "bob")
    ]
    assert scene.errors() == []


def test_exception_outside_of_an_except_block_is_an_event(scene: Scene) -> None:
    """There is no exception then."""
    scene.log.exception("nothing was raised")  # noqa: LOG004

    assert [r["event"] for r in scene.events()] == ["nothing was raised"]
    assert scene.errors() == []


def test_what_comes_as_extra_is_context(scene: Scene) -> None:
    """Nothing that every record has is in it, and nothing is overwritten."""
    scene.log.info(
        "call", extra={"model": "gpt-4", "cost": 0.5, "level": 3, "request_id": "r-1"}
    )

    (found,) = scene.events()

    assert found["request_id"] == "r-1"
    assert found["context"] == {
        "logger": "app.part",
        "level": "INFO",
        "message": "call",
        "model": "gpt-4",
        "cost": 0.5,
        "extra_level": 3,
    }


def test_the_id_that_is_bound_is_the_request_id(scene: Scene) -> None:
    """Unless the call has its own."""
    with bound("bound-1"):
        scene.log.info("one")
        scene.log.info("two", extra={"request_id": "own"})
    scene.log.info("three")

    assert [r["request_id"] for r in scene.events()] == ["bound-1", "own", None]


def test_where_the_call_was_is_context_if_asked_for(scene: Scene) -> None:
    """With stack_info."""
    scene.log.info("here", stack_info=True)

    (found,) = scene.events()
    assert found["context"]["stack_info"].startswith("Stack (most recent call last)")


def test_levels_and_filters_work_as_usual(scene: Scene) -> None:
    """Of the handler as well as of the logger."""
    scene.handler.setLevel("WARNING")
    scene.handler.addFilter(lambda record: "secret" not in record.getMessage())
    scene.log.addFilter(lambda record: "noise" not in record.getMessage())

    for text in ("loud", "secret", "noise"):
        scene.log.info("quiet %s", text)
        scene.log.warning("%s", text)

    assert [r["context"]["message"] for r in scene.events()] == ["loud"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="filters only say yes or no")
def test_a_filter_may_put_another_record_in_its_place(scene: Scene) -> None:
    """From Python 3.12 on."""
    other = logging.makeLogRecord({"name": "x", "msg": "other", "levelname": "INFO"})
    replace: Any = lambda _: other  # noqa: E731
    scene.handler.addFilter(replace)

    scene.log.info("this")

    assert [r["event"] for r in scene.events()] == ["other"]


class Unhappy:
    """Cannot be shown."""

    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("%d items", ("many",)),
        ("%s", (Unhappy(),)),
        ("too many", (1, 2)),
        (Unhappy(), ()),
        ({"a": 1}, ()),
        (ValueError("as a message"), ()),
        (None, ()),
    ],
)
def test_c1_what_cannot_be_formatted_is_recorded_all_the_same(
    scene: Scene,
    capsys: pytest.CaptureFixture[str],
    message: Any,
    arguments: tuple[Any, ...],
) -> None:
    """And nothing is printed, as logging's own handlers do."""
    scene.log.warning(message, *arguments)

    assert len(scene.events()) == 1
    assert capsys.readouterr().err == ""


def test_x2_the_loggers_own_warnings_are_not_recorded(scene: Scene) -> None:
    """They say that records cannot be written; each would make another one."""
    for name in ("tokenpak.telemetry", "tokenpak.telemetry.store", "tokenpak.other"):
        log = logging.Logger(name)  # noqa: LOG001
        log.addHandler(scene.handler)
        log.warning("the disk is full")

    assert [r["context"]["logger"] for r in scene.events()] == ["tokenpak.other"]


def test_x2_a_log_that_cannot_be_written_does_not_feed_itself(
    make_logger: Make, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning of a logger reaches the root's handlers, this one among them."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the directory should be")
    broken = make_logger(blocked)
    root = logging.getLogger()
    handler = TelemetryHandler(logger=broken)
    root.addHandler(handler)
    try:
        broken.log_event("one")
        warned = eventually(
            lambda: any(r.name == "tokenpak.telemetry" for r in list(caplog.records))
        )
        broken.flush(0.5)
    finally:
        root.removeHandler(handler)

    assert warned
    assert broken.stats().accepted + sum(broken.stats().dropped.values()) == 1
    # Or close() would wait for it, and leave a spool in the memory of the machine.
    blocked.unlink()
    assert broken.flush(60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_q5_a_child_forked_in_the_middle_of_a_record_can_log(scene: Scene) -> None:
    """A lock of the handler would be held for ever in the child."""
    inside, go_on = threading.Event(), threading.Event()

    class Slow:
        def __str__(self) -> str:
            inside.set()
            go_on.wait(60)
            return "slow"

    thread = threading.Thread(target=lambda: scene.log.info("%s", Slow()))
    thread.start()
    assert inside.wait(60)
    child = os.fork()
    if child == 0:
        signal.alarm(150)  # ends a child that hangs
        scene.log.info("in the child")
        scene.telemetry.close(100)
        os._exit(0)
    go_on.set()
    thread.join(60)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert sorted(r["context"]["message"] for r in scene.events()) == [
        "in the child",
        "slow",
    ]


def test_q6_a_signal_handler_may_log_in_the_middle_of_a_record(scene: Scene) -> None:
    """In the same thread, while the handler is at work."""

    class Signalling:
        def __str__(self) -> str:
            signal.raise_signal(signal.SIGTERM)
            return "outer"

    def handler(*_: object) -> None:
        scene.log.info("inner")

    before = signal.signal(signal.SIGTERM, handler)
    try:
        scene.log.info("%s", Signalling())
    finally:
        signal.signal(signal.SIGTERM, before)

    assert [r["context"]["message"] for r in scene.events()] == ["inner", "outer"]


def test_it_is_configured_as_any_handler(
    make_logger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By dictConfig, for the logger of the process."""
    logger = make_logger()
    monkeypatch.setitem(error_logger._shared, "it", logger)
    own = "tokenpak.telemetry.integrations.stdlib.TelemetryHandler"
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"telemetry": {"class": own, "level": "WARNING"}},
            "loggers": {"configured": {"handlers": ["telemetry"], "level": "DEBUG"}},
        }
    )
    try:
        logging.getLogger("configured").info("not this")
        logging.getLogger("configured").warning("this")
    finally:
        logging.getLogger("configured").handlers.clear()

    assert [r["event"] for r in records(logger, "events")] == ["this"]


def test_q1_what_was_logged_last_survives_the_end_of_the_process(
    tmp_path: Any,
) -> None:
    """logging.shutdown() closes the handler; a record of an exit hook comes later."""
    code = (
        "import atexit, logging\n"
        "from tokenpak.telemetry.integrations.stdlib import TelemetryHandler\n"
        "log = logging.getLogger()\n"
        "atexit.register(log.warning, 'at exit')\n"
        "log.addHandler(TelemetryHandler())\n"
        "log.warning('before')\n"
    )
    environment = {
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=250,
    )

    log_dir = tmp_path / ".tokenpak" / "logs"
    recover(str(log_dir))  # the exit hook of the logger had run by then
    found = list(iter_records(log_dir, Query(stream="events")))

    assert [r["event"] for r in found] == ["before", "at exit"]  # type: ignore[index]
    assert done.stderr == ""
