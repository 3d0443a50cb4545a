"""The programs in docs/examples run, with the real SDKs, and log what they raise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tokenpak.demo.failures import FAILING_MODELS
from tokenpak.demo.server import serving

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
ROOT = Path(__file__).parents[2]

EXPECTED = {
    "fail-401": "AuthenticationError",
    "fail-429": "RateLimitError",
    "fail-500": "InternalServerError",
    "fail-truncated": "JSONDecodeError",
    "fail-silent": "APITimeoutError",
    "fail-dropped": "APIConnectionError",
}
CAUSE = "The above exception was the direct cause of the following exception:"
PATIENCE = "10"
"""Seconds for who does answer, on a busy machine too; the silent model takes them."""


class Run:
    """What one example has printed and logged."""

    def __init__(self, provider: str, output: str, log_dir: Path) -> None:
        self.provider = provider
        self.output = output
        self.errors = read_lines(log_dir, "errors")
        self.events = read_lines(log_dir, "events")

    def error(self, model: str) -> dict[str, Any]:
        """Return the only record of *model*'s failure."""
        (record,) = (r for r in self.errors if r["context"]["model"] == model)
        return record


def read_lines(log_dir: Path, stream: str) -> list[dict[str, Any]]:
    # Not through the reader: here the file itself is looked at.
    return [
        json.loads(line)
        for path in sorted(log_dir.glob(f"{stream}-*.jsonl"))
        for line in path.read_bytes().split(b"\n")[:-1]
    ]


def run_example(
    provider: str, home: Path, arguments: tuple[str, ...] = (), **variables: str
) -> Run:
    log_dir = home / "logs"
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPENAI_", "ANTHROPIC_", "TOKENPAK_"))
        and not name.lower().endswith("_proxy")
    }
    environment |= {
        "HOME": str(home),
        "TOKENPAK_LOG_DIR": str(log_dir),
        "TOKENPAK_EXIT_TIMEOUT": "100",  # the log is read, and not the spool
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
        **variables,
    }
    done = subprocess.run(
        [
            *(sys.executable, str(EXAMPLES / f"{provider}_errors.py")),
            *("--timeout", PATIENCE),
            *arguments,
        ],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return Run(provider, done.stdout, log_dir)


@pytest.fixture(scope="module", params=["openai", "anthropic"])
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    home = tmp_path_factory.mktemp(request.param)
    # A proxy that does not answer: the demo's server is called directly.
    return run_example(
        request.param, home, HTTP_PROXY="http://127.0.0.1:9", NO_PROXY=""
    )


def test_each_failure_makes_one_record_of_its_type(run: Run) -> None:
    """What the SDK raised is what the record names."""
    found = [(r["context"]["model"], r["error_type"]) for r in run.errors]

    assert found == list(EXPECTED.items())
    assert list(EXPECTED) == list(FAILING_MODELS)


def test_the_answer_makes_an_event(run: Run) -> None:
    """A call that went well is in the other stream, with the provider's id."""
    (event,) = run.events

    assert event["event"] == "completion"
    assert event["context"]["provider"] == run.provider
    assert event["context"]["provider_request_id"].startswith("req_")
    assert "All is well." in run.output


@pytest.mark.parametrize("model", EXPECTED)
def test_c3_the_stack_trace_leads_from_the_program_to_the_sdk(
    run: Run, model: str
) -> None:
    """It begins as tracebacks do, passes ask(), and ends with the error."""
    record = run.error(model)
    trace = record["stack_trace"]
    last = trace.rstrip("\n").splitlines()[-1]

    assert trace.startswith("Traceback (most recent call last):\n")
    assert f"{run.provider}_errors.py" in trace
    assert ", in ask\n" in trace
    assert last.split(":")[0].split(".")[-1] == record["error_type"]
    assert record["message"] in trace


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        ("fail-silent", "ReadTimeout: timed out"),
        ("fail-dropped", "RemoteProtocolError: Server disconnected"),
    ],
)
def test_c3_causes_below_the_sdk_are_in_the_stack_trace(
    run: Run, model: str, cause: str
) -> None:
    """The HTTP library's exceptions are there, marked as what led to the SDK's."""
    trace = run.error(model)["stack_trace"]
    before, marked, after = trace.rpartition(CAUSE)

    assert marked
    assert f"{EXPECTED[model]}: " in after
    # Once as the transport raised it, once as the HTTP library passed it on.
    assert before.count(cause) == 2
    assert before.count(CAUSE) == 1


def test_the_providers_request_ids_are_in_the_records(run: Run) -> None:
    """Each answer had one, the one with half a body too; the others had no answer."""
    ids = {
        r["context"]["model"]: r["context"].get("provider_request_id")
        for r in run.errors
    }
    answered = [ids[m] for m in EXPECTED if m not in {"fail-silent", "fail-dropped"}]

    assert ids["fail-silent"] is None
    assert ids["fail-dropped"] is None
    assert all(name.startswith("req_") for name in answered)
    assert len(set(answered)) == len(answered) == 4


def test_the_context_is_that_of_the_call(run: Run) -> None:
    """Model, provider, size and duration are there, and the wait that was asked for."""
    for record in run.errors:
        context = record["context"]

        assert context["provider"] == run.provider
        assert context["input_size"] == len("Is all well?")
        assert context["duration_ms"] > 0
    assert run.error("fail-429")["context"]["retry_after"] == 1.0
    assert run.error("fail-429")["context"]["kind"] == "rate_limit"


def test_request_ids_are_different(run: Run) -> None:
    """Each call has an id of its own, the same in its record and nowhere else."""
    names = [record["request_id"] for record in run.errors + run.events]

    assert len(set(names)) == len(names) == len(EXPECTED) + 1


@pytest.mark.parametrize(("provider", "suffix"), [("openai", "/v1"), ("anthropic", "")])
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_another_server_can_be_given(
    tmp_path: Path, provider: str, suffix: str, by: str
) -> None:
    """Then its answers are the ones that are logged."""
    upper = provider.upper()
    with serving() as server:
        url = server.url + suffix
        run = run_example(
            provider,
            tmp_path,
            ("--base-url", url) if by == "argument" else (),
            **({f"{upper}_BASE_URL": url} if by == "environment" else {}),
            **{f"{upper}_API_KEY": "demo"},
        )
        answered = next(server.request_numbers) - 1

    assert [r["error_type"] for r in run.errors] == list(EXPECTED.values())
    assert answered == 5
