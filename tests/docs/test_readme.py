"""The README's programs do what it says of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.scope.rig import run_program

from .pages import ROOT, blocks_of

PYTHON = [b for b in blocks_of(ROOT / "README.md") if b.language == "python"]
BEFORE = """
documents = ["one", "two", "three"]


def call_llm(model, prompt=""):
    if prompt == "two" or not prompt:
        raise TimeoutError("no answer")
    return "an answer"


"""
"""What the reader has: some documents, and a call that fails at times."""


def _run(number: int, after: str, home: Path) -> list[dict[str, Any]]:
    status, printed, records = run_program(
        BEFORE + PYTHON[number].text + after, home, recovered=True
    )
    assert status == 0, printed
    return records


def test_the_first_program_records_what_a_call_raises(tmp_path: Path) -> None:
    """With what it was given."""
    (record,) = _run(0, "", tmp_path)

    assert (record["request_id"], record["error_type"]) == ("req-123", "TimeoutError")
    assert record["context"]["provider"] == "openai"


def test_the_decorator_records_and_raises_again(tmp_path: Path) -> None:
    """And lets through what returns."""
    after = """
assert summarise(1, "one") == "an answer"
try:
    summarise(2, "two")
except TimeoutError:
    raise SystemExit(0)
raise SystemExit(1)
"""
    (record,) = _run(1, after, tmp_path)

    assert (record["request_id"], record["context"]) == ("doc-2", {"model": "gpt-4"})
    assert "in summarise" in record["stack_trace"]


def test_the_web_application_records_a_failing_request(tmp_path: Path) -> None:
    """Once, with its id and what was bound where it failed."""
    pytest.importorskip("fastapi")
    after = """
from fastapi.testclient import TestClient

client = TestClient(app, raise_server_exceptions=False)
assert client.get("/answers/one").json() == "an answer"
failed = client.get("/answers/two", headers={"X-Request-ID": "req-7"})
assert failed.status_code == 500
"""
    (record,) = _run(2, after, tmp_path)

    assert (record["request_id"], record["error_type"]) == ("req-7", "TimeoutError")
    context = record["context"]
    assert (context["model"], context["provider"]) == ("gpt-4", "openai")
    assert (context["route"], context["status"]) == ("/answers/{name}", 500)


def test_the_batch_job_records_each_item_that_fails(tmp_path: Path) -> None:
    """And goes on; what nobody catches is recorded, too, and ends it."""
    (record,) = _run(3, "", tmp_path)

    assert (record["request_id"], record["context"]) == ("doc-1", {"size": 3})
    (events,) = (tmp_path / "logs").glob("events-*.jsonl")
    event = json.loads(events.read_text())
    assert (event["event"], event["context"]) == ("batch_done", {"documents": 3})

    program = BEFORE + PYTHON[3].text + "\nraise KeyError('nobody catches this')\n"
    status, _, records = run_program(program, tmp_path, recovered=True)
    assert status == 1
    assert records[-1]["error_type"] == "KeyError"
    assert records[-1]["context"] == {"uncaught": "program"}


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_a_program_of_the_readme_is_short_and_compiles(block: Any) -> None:
    """Ten lines each, blank ones not counted, and no wider than the page."""
    lines = [line for line in block.text.splitlines() if line.strip()]

    assert len(lines) <= 10
    assert max(map(len, lines)) <= 92
    done = subprocess.run(
        [sys.executable, "-c", "import sys; compile(sys.stdin.read(), 'x', 'exec')"],
        input=block.text,
        text=True,
        check=False,
    )
    assert done.returncode == 0
