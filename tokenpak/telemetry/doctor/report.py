"""A diagnosis for people, in 80 columns, and for programs, as JSON."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from tokenpak.telemetry.doctor.finding import Diagnosis, Level

COLUMNS: Final = 80
_LEVEL: Final = 9
_CHECK: Final = 16
_WORDS: Final = {
    Level.OK: "ok",
    Level.NOTE: "note",
    Level.WARNING: "warning",
    Level.PROBLEM: "problem",
}
_COLOURS: Final = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}
_FATE_COLOURS: Final = {"kept": "green", "partly": "yellow", "lost": "red"}

Paint = Callable[[str, str], str]
"""``paint(text, colour)`` returns *text* in that colour."""


def _plain(text: str, _colour: str) -> str:
    return text


def format_text(
    diagnosis: Diagnosis, *, columns: int = COLUMNS, paint: Paint = _plain
) -> str:
    """
    Return *diagnosis* as lines of at most *columns* columns, but for long paths.

    Args:
        diagnosis: of examine().
        columns: at least 40.
        paint: puts colour on a word; for terminals.

    """
    columns = max(40, columns)
    indent = 2 + _LEVEL + _CHECK
    lines = [f"Log directory: {_plain_text(diagnosis.log_dir)}", ""]
    for finding in diagnosis.findings:
        word = _WORDS[finding.level]
        head = f"  {paint(word, _COLOURS[word])}{' ' * (_LEVEL - len(word))}"
        body = _wrap(finding.what, columns - indent)
        lines.append(f"{head}{finding.check:<{_CHECK}}{body[0]}")
        lines += [" " * indent + line for line in body[1:]]
        for text in (finding.meaning, finding.advice and f"-> {finding.advice}"):
            lines += [" " * indent + line for line in _wrap(text, columns - indent)]
    lines += ["", "What becomes here of a record whose call had returned:", ""]
    for fate in diagnosis.fates:
        head = f"  {paint(fate.outcome, _FATE_COLOURS[fate.outcome])}"
        lines.append(f"{head}{' ' * (_LEVEL - len(fate.outcome))}{fate.event}")
        inner = 2 + _LEVEL + 2
        lines += [" " * inner + line for line in _wrap(fate.detail, columns - inner)]
    lines += ["", *_wrap(_verdict(diagnosis), columns), ""]
    return "\n".join(lines)


def _plain_text(text: str) -> str:
    """Return *text* with escapes for what a terminal would obey or not print."""
    # A path may hold any byte: a newline, the start of a control sequence, no UTF-8.
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def _wrap(text: str, width: int) -> list[str]:
    # Paths and commands stay whole, so that they can be copied.
    return textwrap.wrap(
        _plain_text(text),
        max(20, width),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _verdict(diagnosis: Diagnosis) -> str:
    counts = Counter(finding.level for finding in diagnosis.findings)
    parts = [
        f"{counts[level]} {_WORDS[level]}{'s'[: counts[level] > 1]}"
        for level in (Level.PROBLEM, Level.WARNING)
        if counts[level]
    ]
    if not parts:
        return "All is well."
    return f"{' and '.join(parts)}: see the lines above that begin with ->."


def format_json(diagnosis: Diagnosis) -> str:
    """Return *diagnosis* as one JSON object, with a newline at the end."""
    shown: dict[str, Any] = {
        "log_dir": diagnosis.log_dir,
        "fine": diagnosis.fine,
        "worst": _WORDS[diagnosis.worst],
        "findings": [
            {**dataclasses.asdict(finding), "level": _WORDS[finding.level]}
            for finding in diagnosis.findings
        ],
        "fates": [dataclasses.asdict(fate) for fate in diagnosis.fates],
        "spool_place": diagnosis.spool_place,
        "spools": [dataclasses.asdict(spool) for spool in diagnosis.spools],
        "settings": diagnosis.settings._asdict(),
    }
    return json.dumps(shown, indent=2, ensure_ascii=True) + "\n"


__all__ = ["COLUMNS", "Paint", "format_json", "format_text"]
