"""
Write what the code knows best into the reference: settings, commands, facts, redaction,
metrics.

What is above the mark in a page is written by hand, and kept.

    python docs/generate.py            write them
    python docs/generate.py --check    only say which are stale; exit status 1 if any is
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

import click

from tokenpak.cli import main as command_line
from tokenpak.telemetry.capture.fact_table import (
    CLASSES,
    CODES,
    KINDS,
    PHRASES,
    STATUSES,
)
from tokenpak.telemetry.capture.privacy.names import NAMES
from tokenpak.telemetry.capture.privacy.options import OPTION
from tokenpak.telemetry.capture.privacy.personal import PERSONAL
from tokenpak.telemetry.capture.privacy.rule import Rule
from tokenpak.telemetry.capture.privacy.text import SCHEMES
from tokenpak.telemetry.capture.privacy.tokens import TOKENS
from tokenpak.telemetry.metrics.families import FAMILIES, Family
from tokenpak.telemetry.report import (
    Cell,
    Count,
    Health,
    Kind,
    Place,
    Report,
    Rise,
    Spread,
)
from tokenpak.telemetry.settings import MIB, OPTIONS, Option

REFERENCE = Path(__file__).parent / "reference"
COLUMNS = 80
"""Of the help texts: a page must not depend on whose terminal it was made in."""
MARK = "<!-- From here on made by docs/generate.py; do not edit by hand. -->\n"


def settings() -> str:
    """Return a section for each setting."""
    return "\n".join(_section(option) for option in OPTIONS)


def _section(option: Option) -> str:
    return f"""\
## `{option.name}`

{_lines(option.purpose)}

- Environment: `{option.variable}`
- Default: {_default(option.default)}
- Unit: {option.unit}
- May be: {option.expected}
"""


def _lines(text: str) -> str:
    return text.replace(".  ", ".\n")  # a sentence a line


def _default(value: object) -> str:
    if value is None:
        return "none: the logger chooses"
    if value == ():
        return "none"
    if isinstance(value, float):
        return f"`{value:g}`"
    if type(value) is int and value and value % MIB == 0:
        return f"`{value}` ({value // MIB} MiB)"
    return f"`{value}`"


REPORT = (Report, Count, Kind, Rise, Spread, Place, Cell, Health)


def commands() -> str:
    """Return a section for each command."""
    return "\n".join(
        f"## `{name}`\n\n```text\n{text}\n```\n"
        for name, text in _helps(command_line, None)
    )


def _helps(
    command: click.Command, parent: click.Context | None
) -> Iterator[tuple[str, str]]:
    context = click.Context(
        command,
        parent,
        info_name=command.name if parent else "tokenpak",
        terminal_width=COLUMNS,
        **command.context_settings,
    )
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _helps(child, context)


def kinds() -> str:
    """Return the table of kinds, and a section for where each comes from."""
    table = "\n".join(
        f"| [`{kind}`](#{kind}) | {means} |" for kind, means in KINDS.items()
    )
    sections = "\n".join(_sources(kind) for kind in KINDS)
    return f"## Kinds\n\n| `kind` | It means |\n|---|---|\n{table}\n\n{sections}"


def _sources(kind: str) -> str:
    names = [
        f"`{family}`: {_names(name for name, of in classes.items() if of == kind)}"
        for family, classes in CLASSES.items()
        if kind in classes.values()
    ]
    found = {
        "The provider's code": _names(c for c, of in CODES.items() if of == kind),
        "The class, or one that it derives from": "; ".join(names),
        "The text, where the code says only that the request is wrong": _names(
            text for text, of in PHRASES if of == kind
        ),
        "The status": _names(str(s) for s, of in STATUSES.items() if of == kind),
    }
    if kind == "bad_request":
        found["The status"] = "any other 4xx"
    if kind == "server_error":
        found["The status"] = "any other 5xx"
    lines = [f"- {what}: {names}" for what, names in found.items() if names]
    return f"### `{kind}`\n\n" + "\n".join(lines) + "\n"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def redaction() -> str:
    """Return a table for each kind of what is redacted."""
    names = "\n".join(f"| {name.names} |" for name in NAMES)
    return f"""\
## By its form

{_rules(TOKENS)}
## By what is around it

{_rules((*SCHEMES, OPTION))}
## By its name

| Names, in lower case |
|---|
{names}

## Personal data

{_rules(PERSONAL)}"""


def _rules(rules: Iterable[Rule]) -> str:
    rows = "".join(
        f"| `{rule.name}` | {rule.what} | {_source(rule.source)} |\n" for rule in rules
    )
    return f"| In the mark | What | Source |\n|---|---|---|\n{rows}"


def _source(address: str) -> str:
    if not address:
        return "none: known from use"
    return f"[{address.split('/')[2].removeprefix('www.')}]({address})"


def report_fields() -> str:
    """Return a table of fields for each class of a report."""
    return "\n".join(_fields(cls) for cls in REPORT)


def _fields(cls: type) -> str:
    text = inspect.getdoc(cls) or ""
    about, _, attributes = text.partition("Attributes:\n")
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in attributes.splitlines():
        if match := re.match(r"    ([a-z_0-9, ]+): (.*)", line):
            names = match[1].split(", ")
            meanings.update(dict.fromkeys(names, match[2]))
        elif line.strip():
            meanings.update(
                (name, f"{meanings[name]} {line.strip()}") for name in names
            )
    rows = "".join(
        f"| `{name}` | {_type(str(field.type))} | "
        f"{meanings.get(name, '').replace('``', '`').replace('*', '`')} |\n"
        for name, field in ((field.name, field) for field in fields(cls))
    )
    head = " ".join(about.split()).replace("``", "`")
    table = f"| Field | Type | Meaning |\n|---|---|---|\n{rows}"
    return f"## {cls.__name__}\n\n{head}\n\n{table}"


def _type(text: str) -> str:
    """Return the type of a field in words of JSON."""
    null = " or null" if " | None" in text else ""
    text = text.removesuffix(" | None")
    if match := re.fullmatch(r"tuple\[(\w+), \.\.\.\]", text):
        return f"array of {_type(match[1])}"
    if text.startswith("tuple[tuple["):
        return "array of pairs"
    if text.startswith("dict["):
        inner = text.removesuffix("]").partition(", ")[2]
        return f"object of {_type(inner)}"
    if text in {cls.__name__ for cls in REPORT}:
        return f"[{text}](#{text.lower()}){null}"
    known = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
    return known.get(text, text) + null


def metrics() -> str:
    """Return a section for each metric."""
    return "\n".join(_metric(family) for family in FAMILIES)


def _metric(family: Family) -> str:
    lines = [f"- Kind: {family.kind}"]
    if family.labels:
        lines.append(f"- Labels: {_names(family.labels)}")
    if family.kind == "histogram":
        bounds = ", ".join(f"{bound:,}" for bound in family.bounds)
        lines.append(f"- Buckets, in {family.unit}: {bounds}")
    text = "\n".join(lines)
    return f"## `{family.sample}`\n\n{_lines(family.help)}\n\n{text}\n"


def pages() -> dict[Path, str]:
    """Return the text of each page: its head, which is kept, and what is made."""
    made = {
        REFERENCE / "settings.md": settings(),
        REFERENCE / "cli.md": commands(),
        REFERENCE / "exception-facts.md": kinds(),
        REFERENCE / "redaction.md": redaction(),
        REFERENCE / "report.md": report_fields(),
        REFERENCE / "metrics.md": metrics(),
    }
    texts = {}
    for path, text in made.items():
        head, mark, _ = path.read_text(encoding="utf-8").partition(MARK)
        if not mark:
            raise SystemExit(f"{path} does not hold the line {MARK}")
        texts[path] = f"{head}{MARK}\n{text}"
    return texts


def main(arguments: list[str]) -> int:
    """Write the pages, or say which are stale; return the exit status."""
    stale = [
        path
        for path, text in pages().items()
        if path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if "--check" in arguments:
            print(f"{path} is stale: run python docs/generate.py")
        else:
            path.write_text(pages()[path], encoding="utf-8")
            print(f"{path} is written")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
