"""The reference says what the code says: names, signatures, settings, tests."""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import inspect
import re
from types import ModuleType
from typing import Any

import pytest

from tokenpak.telemetry import doctor, error_logger, errors, read
from tokenpak.telemetry.metrics import prometheus
from tokenpak.telemetry.queue import recovery
from tokenpak.telemetry.store import archive, manage, retention

from .pages import DOCS, ROOT, Block, blocks_of, rows_of, sections_of

API = DOCS / "reference" / "api.md"
PROMISES = DOCS / "reference" / "promises.md"
GLOSSARY = DOCS / "reference" / "glossary.md"
MODULES = (error_logger, read, recovery, errors)
PUBLIC = {
    **{name: getattr(error_logger, name) for name in error_logger.__all__},
    **{name: getattr(read, name) for name in read.__all__},
    **{name: getattr(doctor, name) for name in doctor.__all__},
    **{
        name: getattr(prometheus, name)
        for name in ("Collector", "register", "wsgi_app", "asgi_app", "write_textfile")
    },
    "recover": recovery.recover,
    "Recovered": recovery.Recovered,
    "archive_days": manage.archive_days,
    "Archived": archive.Archived,
    "prune_archives": manage.prune_archives,
    "Pruned": retention.Pruned,
    "TelemetryError": errors.TelemetryError,
    "SettingError": errors.SettingError,
}
METHODS = {
    f"ErrorLogger.{name}": member
    for name, member in vars(error_logger.ErrorLogger).items()
    if not name.startswith("_")
}
SIGNATURES = [block for block in blocks_of(API) if "signature" in block.marks]
WITH_ATTRIBUTES = (
    *("Stats", "Exported", "MalformedLine", "UnreadableFile", "Recovered"),
    *("Finding", "Repaired"),
    *("Diagnosis", "CheckResult", "Fate", "SpoolInfo"),
    *("Archived", "Pruned"),
)
EXPECTED_PROMISES = [
    *("C1", "C2", "C3", "Q1", "Q2", "Q3", "Q4", "Q5", "Q6"),
    *("S1", "S2", "S3", "S4", "S5", "R1", "R2", "M1", "X1", "X2"),
]


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_made_from_the_code_is_not_stale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The settings and the help texts are those of the code, whatever the terminal."""
    monkeypatch.setenv("COLUMNS", "40")

    stale = {
        path.name: text
        for path, text in _generator().pages().items()
        if path.read_text(encoding="utf-8") != text
    }

    assert stale == {}, "run python docs/generate.py"


def test_every_public_name_has_a_section() -> None:
    """What the modules offer is on the page, and the page has nothing else."""
    names = set(PUBLIC) | set(METHODS)
    chapters = {"API", "Logging", "Reading", "Recovering", "Archiving", "Examining"}
    chapters |= {"Counting", "Errors"}

    assert set(sections_of(API)) == names | chapters


def test_every_function_has_a_signature() -> None:
    """Whatever can be called is shown with its arguments."""
    shown = {block.heading for block in SIGNATURES}
    functions = {
        name
        for name, value in {**PUBLIC, **METHODS}.items()
        if inspect.isfunction(value)
    }

    assert shown == functions | {"ErrorLogger", "Query", "Verification"}


@pytest.mark.parametrize("block", SIGNATURES, ids=lambda block: block.heading)
def test_a_signature_is_that_of_the_code(block: Block) -> None:
    """Names, order, types and defaults of the arguments are those of the code."""
    name = block.heading
    target: Any = {**PUBLIC, **METHODS}[name]

    assert _of_page(block) == _of_code(target)


@pytest.mark.parametrize("block", SIGNATURES, ids=lambda block: block.heading)
def test_every_parameter_is_explained(block: Block) -> None:
    """The section of a function says something of each of its arguments."""
    text = sections_of(API)[block.heading]
    _, prose = text.split("\n```\n", 1)

    missing = [name for name, *_ in _of_page(block)[0] if f"`{name}`" not in prose]
    assert missing == []


@pytest.mark.parametrize("name", WITH_ATTRIBUTES)
def test_every_attribute_is_listed_with_its_type(name: str) -> None:
    """The table of a class has its attributes and their types."""
    cells = rows_of(sections_of(API)[name])
    listed = {row[0].strip("`"): row[1].strip("`") for row in cells}

    assert listed == {
        attribute: getattr(kind, "__forward_arg__", kind)  # a NamedTuple's are wrapped
        for attribute, kind in PUBLIC[name].__annotations__.items()
    }


def _of_page(block: Block) -> tuple[list[tuple[str, str, str, object]], str]:
    head, _, returns = block.text.strip().partition(" -> ")
    arrow = f" -> {returns}" if returns else ""
    (function,) = ast.parse(f"def {head}{arrow}: ...").body
    assert isinstance(function, ast.FunctionDef)
    arguments = function.args
    empty = [None] * (len(arguments.args) - len(arguments.defaults))
    kinds: list[tuple[str, list[ast.arg], list[ast.expr | None]]] = [
        ("POSITIONAL_OR_KEYWORD", arguments.args, [*empty, *arguments.defaults]),
        ("KEYWORD_ONLY", arguments.kwonlyargs, arguments.kw_defaults),
        ("VAR_KEYWORD", [arguments.kwarg] if arguments.kwarg else [], [None]),
    ]
    parameters = [
        (
            argument.arg,
            kind,
            ast.unparse(argument.annotation) if argument.annotation else "",
            inspect.Parameter.empty if default is None else _value(default),
        )
        for kind, named, defaults in kinds
        for argument, default in zip(named, defaults, strict=False)
    ]
    return parameters, ast.unparse(function.returns) if function.returns else ""


def _value(default: ast.expr) -> object:
    if isinstance(default, ast.Name):  # a class, such as Exception
        return getattr(builtins, default.id)
    return ast.literal_eval(default)


def _of_code(target: Any) -> tuple[list[tuple[str, str, str, object]], str]:
    signature = inspect.signature(target)
    parameters = [
        (p.name, p.kind.name, _plain(p.annotation), p.default)
        for p in signature.parameters.values()
        if p.name != "self"
    ]
    returns = "" if isinstance(target, type) else _plain(signature.return_annotation)
    return parameters, returns


def _plain(annotation: str) -> str:
    return ast.unparse(ast.parse(annotation, mode="eval"))


def _tests() -> set[str]:
    pattern = re.compile(r"^\s*def (test_\w+)", re.MULTILINE)
    found: set[str] = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        found.update(pattern.findall(file.read_text(encoding="utf-8")))
    return found


def test_each_promise_is_listed_once() -> None:
    """The page has a section for each promise, in their order."""
    listed = [name.split()[0] for name in sections_of(PROMISES) if name[1:2].isdigit()]

    assert listed == EXPECTED_PROMISES


@pytest.mark.parametrize("promise", EXPECTED_PROMISES)
def test_each_promise_is_guarded(promise: str) -> None:
    """There is a test named after each promise, and those that are named exist."""
    tests = _tests()
    (text,) = (
        text
        for name, text in sections_of(PROMISES).items()
        if name.split()[0] == promise
    )
    named = re.findall(r"`(test_\w+)`", text)

    assert any(name.startswith(f"test_{promise.lower()}_") for name in tests)
    assert named, f"{promise}: name a test"
    assert set(named) - tests == set(), f"{promise}: these tests do not exist"


def test_the_glossary_is_in_order() -> None:
    """A word is found where the alphabet says."""
    words = [row[0] for row in rows_of(sections_of(GLOSSARY)["Glossary"])]

    assert words == sorted(set(words))
