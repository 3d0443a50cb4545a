"""
``tokenpak telemetry verify``: read everything, and say what is damaged.

Findings go to stdout, so that they can be kept; a progress bar to stderr, if that is a
terminal.  What is printed is bounded: of many findings of a kind, the first ones and a
count.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from tokenpak.cli.options import HELP, existing_log_dir, log_dir_option
from tokenpak.cli.output import plural, progress_bar, say
from tokenpak.telemetry.read import KINDS, Verification

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenpak.telemetry.read import Finding

_IN_A_FILE: Final = 10
_IN_ALL: Final = 100
"""How many findings of a kind are shown, of one file and of all; there may be millions
of lines in a file that is damaged throughout."""


@click.command(
    context_settings=HELP,
    epilog="""
\b
Examples:
  tokenpak telemetry verify
  tokenpak telemetry verify --log-dir /var/log/app --format json | jq .counts
  tokenpak telemetry verify > /dev/null || tokenpak telemetry repair --output clean

An offset is that of a byte in the file, from 0; in an archive, in what
``gunzip -c`` prints of it.

Exit status: 0 no damage; 1 damage, or the log directory cannot be read; 2 wrong
usage.  Spools that wait, files that do not belong, and files that other users can
read are reported, and are no damage.
""",
)
@log_dir_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="A line for each finding, or one JSON object with all.",
)
@click.option(
    "--all",
    "show_all",
    is_flag=True,
    help=f"Show all findings, not the first {_IN_A_FILE} of a kind in a file and "
    f"{_IN_ALL} in all.",
)
def verify(log_dir: str | None, form: str, show_all: bool) -> None:
    """
    Check that the log is intact, without changing or locking anything.

    Both streams are read, active and archived files, and what waits in spools.  Found
    are malformed lines, files that cannot be read, archives that are cut off, records
    in the file of another day, spools of dead processes, and files that do not belong.
    """
    place = existing_log_dir(log_dir)
    report = _report_json if form == "json" else _report_text
    try:
        with ExitStack() as stack:
            check = Verification(place)
            bar = progress_bar(stack, check.size, "Reading")
            if bar is not None:
                check.on_progress = bar.update
            report(_Bounded(check, show_all=show_all))
    except OSError as e:
        if e.filename is None:  # it is the output that fails
            raise
        raise click.ClickException(
            f"The log cannot be read: {e.filename}: {e.strerror or e}."
        ) from None
    if check.damaged:
        raise click.exceptions.Exit(1)


class _Bounded:
    """The findings that are shown, and how many are not."""

    def __init__(self, check: Verification, *, show_all: bool) -> None:
        self.check = check
        self.left_out: Counter[str] = Counter()
        """By kind."""
        self._all = show_all

    def __iter__(self) -> Iterator[Finding]:
        shown: Counter[str] = Counter()
        in_file: Counter[str] = Counter()
        file = None
        for finding in self.check:
            if finding.file != file:
                file = finding.file
                in_file.clear()
            kind = finding.kind
            if self._all or (in_file[kind] < _IN_A_FILE and shown[kind] < _IN_ALL):
                shown[kind] += 1
                in_file[kind] += 1
                yield finding
            else:
                self.left_out[kind] += 1


def _report_text(findings: _Bounded) -> None:
    for finding in findings:
        place = finding.file
        if finding.offset is not None:
            place += f", byte {finding.offset:,}"
        if finding.length is not None:
            place += f", length {finding.length:,}"
        say(f"{finding.kind}: {place}: {finding.reason}")
    for kind in KINDS:
        if findings.left_out[kind]:
            say(
                f"{kind}: {findings.left_out[kind]:,} more are not shown; "
                "--all shows them"
            )
    check = findings.check
    counts = [
        f"{check.counts[kind]:,} {several if check.counts[kind] > 1 else one}"
        for kind, (one, several) in KINDS.items()
        if check.counts[kind]
    ]
    found = ", ".join(counts) or "nothing else"
    say(
        f"{check.files:,} file{plural(check.files)} read: {check.records:,} intact "
        f"record{plural(check.records)}, {found}."
    )


def _report_json(findings: _Bounded) -> None:
    # By hand, one after the other: there may be millions of them.
    say('{"findings": [')
    before = ""
    for finding in findings:
        say(f"{before}{_json(asdict(finding) | {'damage': finding.damage})}")
        before = ","
    check = findings.check
    rest = {
        "damaged": check.damaged,
        "files": check.files,
        "records": check.records,
        "pending": check.pending,
        "counts": {kind: check.counts[kind] for kind in KINDS},
        "not_shown": sum(findings.left_out.values()),
    }
    say(f"], {_json(rest)[1:]}")


def _json(value: dict[str, Any]) -> str:
    # All in it that is not ASCII is escaped, but for this one.
    return json.dumps(value).replace("\x7f", "\\u007f")


__all__ = ["verify"]
