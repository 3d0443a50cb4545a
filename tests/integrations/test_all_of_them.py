"""What holds for every integration: what it imports, and what the reference says."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys

import pytest

from tests.docs.pages import DOCS, rows_of
from tokenpak.telemetry import integrations

HOSTS = {"celery", "fastapi", "flask", "gunicorn", "opentelemetry", "starlette"}
HOSTS |= {"structlog", "uvicorn", "werkzeug", "openai", "anthropic", "httpx"}
ROWS = rows_of((DOCS / "reference" / "integrations.md").read_text(encoding="utf-8"))
NAMES = [
    name
    for _, name, _ in pkgutil.iter_modules(integrations.__path__)
    if not name.startswith("_")
]


@pytest.mark.parametrize("name", NAMES)
def test_x1_an_integration_imports_its_host_when_it_is_used(name: str) -> None:
    """Not before, and nothing of the other integrations' either."""
    code = (
        f"import json, sys, tokenpak.telemetry.integrations.{name}\n"
        "print(json.dumps([module.partition('.')[0] for module in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert set(json.loads(done.stdout)) & HOSTS == set()


def test_x1_the_logger_imports_no_integration() -> None:
    """Whoever uses none pays for none."""
    code = (
        "import sys, tokenpak.telemetry.error_logger\n"
        "print([name for name in sys.modules if 'integrations' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_the_reference_lists_each_integration() -> None:
    """Every module, and every public name in it."""
    listed = {(row[0].strip("`"), row[1].strip("`")) for row in ROWS}
    public = {
        (name, each)
        for name in NAMES
        for each in importlib.import_module(
            f"tokenpak.telemetry.integrations.{name}"
        ).__all__
        if each != "HEADER"
    }

    assert listed == public


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_arguments_are_those_of_the_code(row: list[str]) -> None:
    """Their names, order and defaults."""
    module, name, arguments, _ = (cell.strip("`") for cell in row)
    found = getattr(
        importlib.import_module(f"tokenpak.telemetry.integrations.{module}"), name
    )
    signature = inspect.signature(found)
    plain = signature.replace(
        parameters=[
            parameter.replace(annotation=inspect.Parameter.empty)
            for parameter in signature.parameters.values()
        ],
        return_annotation=inspect.Signature.empty,
    )

    assert str(plain) == f"({arguments})"
