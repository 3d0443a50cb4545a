"""The demo itself: processes are killed, and no accepted record is lost or doubled."""

from __future__ import annotations

import dataclasses
import importlib
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

import click
import pytest
from click.testing import CliRunner

from tests.fault.ledger import log_lines, sort_lines
from tokenpak.demo import crew
from tokenpak.demo.acks import FAILURES, AckTable
from tokenpak.demo.audit import Audit
from tokenpak.demo.crew import DemoError
from tokenpak.demo.failures import FAILING_MODELS
from tokenpak.demo.report import format_result
from tokenpak.demo.run import DemoResult, run_demo
from tokenpak.demo.workers import (
    REPLAYS_A_FAILURE,
    WORKING_MODELS,
    Job,
    start_worker,
)
from tokenpak.telemetry.read import Query, iter_records

# By name: what tokenpak.cli calls "demo" may be the command instead of its module.
command = importlib.import_module("tokenpak.cli.demo")

GOOD = DemoResult(
    log_dir="/tmp/with a space",
    temporary=True,
    workers=4,
    killed=2,
    failures=60,
    successes=10,
    replayed=2_430,
    dropped=0,
    in_memory=False,
    recovered=321,
    audit=Audit(
        in_log=2_501,
        in_flight=1,
        missing=0,
        doubled=0,
        unknown=0,
        malformed=0,
        log_bytes=1_500_000,
    ),
    calls_per_second=123_456.0,
    median_call_us=4.25,
    seconds=5.0,
)
LOSING = dataclasses.replace(GOOD, audit=dataclasses.replace(GOOD.audit, missing=1))
DOUBLING = dataclasses.replace(GOOD, audit=dataclasses.replace(GOOD.audit, doubled=1))
INVENTING = dataclasses.replace(GOOD, audit=dataclasses.replace(GOOD.audit, unknown=1))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    log_dir = tmp_path_factory.mktemp("demo") / "logs"
    return run_demo(str(log_dir), workers=3, kill=2, seconds=0.8, seed=7)


def records_of(result: DemoResult, stream: str) -> list[dict[str, Any]]:
    items = iter_records(result.log_dir, Query(stream=stream))
    return [item for item in items if isinstance(item, dict)]


def test_q1_no_accepted_record_is_lost_or_doubled_when_workers_are_killed(
    result: DemoResult,
) -> None:
    """Each acknowledged record is in the log once, whoever logged it."""
    assert result.killed == 2
    assert result.accepted > REPLAYS_A_FAILURE
    assert result.lost == 0
    assert result.audit.doubled == 0
    assert result.audit.unknown == 0
    assert result.ok


def test_s2_a_killed_worker_leaves_one_torn_line_at_most_and_its_record_whole(
    result: DemoResult,
) -> None:
    """SIGKILL ends a long write between two pages; whoever goes on closes the line."""
    lines = sort_lines(log_lines(Path(result.log_dir)))

    assert lines.stray == []
    assert len(lines.torn) == result.audit.malformed <= result.killed


def test_q3_the_numbers_add_up(result: DemoResult) -> None:
    """What is in the log is what was accepted, and what was in flight."""
    assert result.audit.in_log == result.accepted + result.audit.in_flight
    assert result.accepted == result.failures + result.successes + result.replayed
    assert result.audit.in_flight <= result.killed
    assert result.dropped == 0


def test_real_and_replayed_failures_are_told_apart_in_the_log(
    result: DemoResult,
) -> None:
    """The table's honesty can be checked: each record says which it is."""
    errors = records_of(result, "errors")
    replayed = sum(record["context"]["replayed"] for record in errors)
    extra = len(errors) - result.failures - result.replayed

    assert 0 <= extra <= result.killed
    assert result.failures <= len(errors) - replayed <= result.failures + extra
    assert result.replayed <= replayed <= result.replayed + extra


def test_each_way_to_fail_is_in_the_log_with_its_cause(result: DemoResult) -> None:
    """Each model failed, as an exception of its own that has a real cause."""
    errors = records_of(result, "errors")
    kinds = {record["context"]["model"]: record["error_type"] for record in errors}
    traces = {record["error_type"]: record["stack_trace"] for record in errors}

    assert kinds.keys() == set(FAILING_MODELS)
    # A slow machine may let a call time out that was meant to fail otherwise.
    assert len(traces) >= len(FAILING_MODELS) - 1
    assert all("direct cause of the following" in text for text in traces.values())


def test_answers_are_in_the_log_as_events(result: DemoResult) -> None:
    """Calls that went well have a record too, in their own stream."""
    events = records_of(result, "events")

    assert result.successes <= len(events) <= result.successes + result.killed
    assert {record["event"] for record in events} == {"completion"}
    assert {record["context"]["model"] for record in events} <= set(
        WORKING_MODELS.values()
    )


def test_the_times_are_taken_of_the_replays(result: DemoResult) -> None:
    """There is a median and a rate, whatever the machine makes of them."""
    assert result.median_call_us is not None
    assert result.median_call_us > 0
    assert result.calls_per_second is not None
    assert result.calls_per_second > 0


def test_without_a_directory_a_temporary_one_is_made_and_nothing_else_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an empty home, and no process, thread or scratch file left behind."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any) -> subprocess.Popen[bytes]:
        started.append(start_worker(*arguments))
        return started[-1]

    monkeypatch.setattr(crew, "start_worker", start)
    threads = set(threading.enumerate())
    result = run_demo(workers=2, kill=1, seconds=0.1)

    assert result.ok
    assert result.temporary
    assert os.listdir(temporary) == [os.path.basename(result.log_dir)]
    assert os.listdir(home) == []
    assert set(threading.enumerate()) <= threads
    # None until it has been waited for.
    assert None not in [process.returncode for process in started]
    assert len(started) == 2


def test_a_directory_can_be_used_again(result: DemoResult) -> None:
    """The records of an earlier run are neither counted nor touched."""
    before = len(records_of(result, "errors"))
    again = run_demo(result.log_dir, workers=1, kill=0, seconds=0.5)

    assert again.ok
    assert not again.temporary
    assert again.audit.in_log == again.accepted + again.audit.in_flight
    assert len(records_of(result, "errors")) > before


@pytest.mark.parametrize(
    "arguments",
    [
        {"workers": 0},
        {"workers": 65},
        {"workers": 2, "kill": 3},
        {"kill": -1},
        {"seconds": 0},
        {"seconds": float("nan")},
    ],
)
def test_an_argument_out_of_range_is_refused_before_anything_starts(
    tmp_path: Path, arguments: dict[str, Any]
) -> None:
    """The message names the argument, what was given and what is expected."""
    log_dir = tmp_path / "logs"
    with pytest.raises(ValueError, match=r"(workers|kill|seconds)=.*: expected"):
        run_demo(str(log_dir), **arguments)

    assert not log_dir.exists()


@pytest.mark.parametrize("logs_first", [False, True])
def test_a_worker_that_fails_ends_the_demo_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, logs_first: bool
) -> None:
    """All workers are reaped, and the message says what the failed one said."""
    started: list[subprocess.Popen[bytes]] = []

    def start_failing(
        job: Job, _base_url: str, acks_path: str, output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        if logs_first:
            with AckTable(acks_path, job.workers) as table, table.row(job.index) as row:
                row[FAILURES] = 1
        program = "import sys; sys.exit('no room for a spool')"
        started.append(subprocess.Popen([sys.executable, "-c", program], stderr=output))
        return started[-1]

    monkeypatch.setattr(crew, "start_worker", start_failing)
    with pytest.raises(DemoError, match="no room for a spool") as caught:
        run_demo(str(tmp_path / "logs"), workers=2, kill=0, seconds=0.1)

    assert str(tmp_path / "logs") in str(caught.value)
    assert [process.returncode is None for process in started] == [False, False]


def test_a_worker_that_ends_before_its_kill_ends_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill that hit nobody would prove nothing."""

    def start_short(
        job: Job, base_url: str, acks_path: str, output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        job = dataclasses.replace(job, seconds=1e-9)
        process = start_worker(job, base_url, acks_path, output)
        process.wait()
        return process

    monkeypatch.setattr(crew, "start_worker", start_short)
    with pytest.raises(DemoError, match="ended before it was killed"):
        run_demo(str(tmp_path / "logs"), workers=1, kill=1, seconds=0.1)


def test_the_table_shows_the_account_and_what_to_try_next() -> None:
    """Each number is beside its name, and the commands can be pasted."""
    text = format_result(GOOD)
    rows = {line[2:22].strip(): line[22:32].strip() for line in text.splitlines()}

    assert rows["accepted"] == "2,500"
    assert rows["in the log"] == "2,501"
    assert rows["lost"] == rows["doubled"] == "0"
    assert rows["recovered"] == "321"
    assert rows["calls a second"] == "123,456"
    assert rows["microseconds a call"] == "4.2"
    assert "real failures: 60" in text
    assert "replayed at full speed: 2,430" in text
    assert "2 of them were killed" in text
    assert "export --log-dir '/tmp/with a space' --format csv" in text
    assert text.isascii()
    assert text.endswith("\n")


def test_only_a_directory_of_the_demos_own_is_offered_for_removal() -> None:
    """A directory that was given may hold what somebody else needs."""
    assert "rm -r '/tmp/with a space'" in format_result(GOOD)
    assert "rm -r" not in format_result(dataclasses.replace(GOOD, temporary=False))


@pytest.mark.parametrize(
    ("result", "row"),
    [(LOSING, "lost"), (DOUBLING, "doubled"), (INVENTING, "unknown")],
)
def test_a_broken_promise_is_said_aloud(result: DemoResult, row: str) -> None:
    """The row has its number, and the verdict does not claim what is not so."""
    text = format_result(result)
    rows = {line[2:22].strip(): line[22:32].strip() for line in text.splitlines()}

    assert not result.ok
    assert rows[row] == "1"
    assert "NOT each accepted record" in text


def test_a_loss_without_a_spool_is_explained() -> None:
    """What only memory held dies with its process: no defect, and it says so."""
    text = format_result(dataclasses.replace(LOSING, in_memory=True))

    assert "No spool could be had" in text
    assert "defect" not in text
    assert "defect" in format_result(LOSING)


def test_what_the_logger_dropped_and_counted_is_not_lost() -> None:
    """It was given up on purpose, and the table says so."""
    dropped = dataclasses.replace(LOSING, dropped=1)

    assert dropped.ok
    assert dropped.lost == 0
    assert dropped.accepted == GOOD.accepted - 1
    assert "dropped" in format_result(dropped)
    assert "dropped" not in format_result(GOOD)


@pytest.mark.parametrize(
    ("result", "status"), [(GOOD, 0), (LOSING, 1), (DOUBLING, 1), (INVENTING, 1)]
)
def test_the_commands_exit_status_tells_whether_the_promise_held(
    monkeypatch: pytest.MonkeyPatch, result: DemoResult, status: int
) -> None:
    """0 if each record is there once, else 1; the table is printed either way."""
    monkeypatch.setattr("tokenpak.demo.run.run_demo", lambda *_, **__: result)
    outcome = CliRunner().invoke(command.demo, [])

    assert outcome.exit_code == status
    assert outcome.output == format_result(result)


def test_the_command_passes_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed is what run_demo() is called with."""
    calls: list[Any] = []

    def note(*arguments: Any, **options: Any) -> DemoResult:
        calls.append((arguments, options))
        return GOOD

    monkeypatch.setattr("tokenpak.demo.run.run_demo", note)
    options = ["--log-dir", "d", "--workers", "5", "--kill", "1", "--seconds", "0.5"]
    CliRunner().invoke(command.demo, [*options, "--seed", "9"])
    CliRunner().invoke(command.demo, [])

    assert calls == [
        (("d",), {"workers": 5, "kill": 1, "seconds": 0.5, "seed": 9}),
        ((None,), {"workers": 4, "kill": 2, "seconds": 3.0, "seed": None}),
    ]


def test_more_kills_than_workers_is_a_usage_error() -> None:
    """Exit status 2, and the message names the option."""
    outcome = CliRunner().invoke(command.demo, ["--workers", "1", "--kill", "2"])

    assert outcome.exit_code == click.UsageError.exit_code
    assert "--kill" in outcome.output


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "/logs"), "Try another --log-dir"),
        (DemoError("Worker 1 of the demo did not come to its end."), "Worker 1"),
    ],
)
def test_trouble_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    """Exit status 1 and one message that says what to do."""

    def fail(*_: Any, **__: Any) -> DemoResult:
        raise error

    monkeypatch.setattr("tokenpak.demo.run.run_demo", fail)
    outcome = CliRunner().invoke(command.demo, [])

    assert outcome.exit_code == 1
    assert words in outcome.output
    assert "Traceback" not in outcome.output
