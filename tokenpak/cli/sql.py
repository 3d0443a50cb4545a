"""
``tokenpak telemetry sql``: DuckDB over the records.

What a statement gives goes to stdout or a file; what was skipped to stderr.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from tokenpak.cli.display import shorten, visible, width
from tokenpak.cli.interrupt import tidy_end
from tokenpak.cli.options import (
    HELP,
    complete_file,
    existing_log_dir,
    log_dir_option,
    make_query,
    time_options,
)
from tokenpak.cli.output import stdout_bytes
from tokenpak.cli.reading import (
    let_go_of_stdout,
    need_stdout,
    recover_quietly,
    tell_damage,
)
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read.render import csv_row
from tokenpak.telemetry.read.replacing import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from tokenpak.cli.output import Escapes
    from tokenpak.telemetry.read.sql import SqlResult, SqlSession

_NUMBERS: Final = {"BIGINT", "INTEGER", "DOUBLE", "FLOAT", "NUMBER"}
"""As DuckDB calls them; all of them the last one before 2.0."""
_CELL: Final = 60
"""Columns of the terminal that a cell of a table takes at most, on a terminal."""
_MEASURED: Final = 1000
"""Rows of a table whose widths are looked at; wider cells in later ones stick out."""


@click.command(
    context_settings=HELP,
    epilog="""
\b
Tables, of which the days that are wanted are loaded:
  errors  timestamp (UTC), request_id, error_type, message, stack_trace
  events  timestamp (UTC), request_id, event
and in both, context as JSON, and of it: model, provider, input_size,
cost_estimate, duration_ms, kind, status_code, provider_request_id.

\b
Examples:
  tokenpak telemetry sql --since 2026-03-01 \\
      "SELECT provider, kind, count(*) AS n FROM errors GROUP BY ALL ORDER BY n DESC"
  tokenpak telemetry sql "SELECT context->>'$.user' FROM errors LIMIT 3"
  tokenpak telemetry sql --format parquet -o errors.parquet "FROM errors"
  tokenpak telemetry sql - < report.sql

SQL is that of DuckDB: pip install 'tokenpak-telemetry[query]'.  The log is never
written to, and statements cannot use other files without --allow-files.

Cells of csv that a spreadsheet would run as formulas get an apostrophe in front.

Exit status: 0 done, also if no row was found or malformed lines were skipped; 1 the
statement is wrong, DuckDB is missing, the log cannot be read or the output not written;
2 wrong usage.
""",
)
@click.argument("statement")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "jsonl", "parquet"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    shell_complete=complete_file,
    help="Write to FILE, all or nothing, instead of stdout.",
)
@click.option(
    "--raw", is_flag=True, help="Leave cells of csv that look like formulas as is."
)
@click.option(
    "--allow-files",
    is_flag=True,
    help="Let the statement read and write other files, and attach databases.",
)
@time_options
@log_dir_option
def sql(
    log_dir: str | None,
    statement: str,
    form: str,
    output: str | None,
    *,
    raw: bool,
    allow_files: bool,
    **wanted: Any,
) -> None:
    """
    Query errors and events by SQL; STATEMENT - is read from stdin.

    Active and archived files are read, and what waits in spools; malformed lines are
    kept out, and told of on stderr.
    """
    # Imported here: --help needs not load it.
    from tokenpak.telemetry.read.export import _refuse_log_file  # noqa: PLC0415
    from tokenpak.telemetry.read.sql import SqlError, SqlSession  # noqa: PLC0415

    query = make_query(**wanted)
    place = existing_log_dir(log_dir)
    text = _from_stdin() if statement == "-" else statement
    if output in {None, "-"}:
        output = None
        need_stdout()
    if form == "parquet" and _on_terminal(output):
        raise click.UsageError("Parquet is no text: give --output FILE, or a pipe.")
    recover_quietly(place)
    session: SqlSession | None = None
    try:
        if output is not None:
            _refuse_log_file(place, os.path.realpath(output))
        with (
            tidy_end(),
            SqlSession(
                place,
                since=query.since,
                until=query.until,
                allow_files=allow_files,
                on_damage=tell_damage,
            ) as session,
        ):
            _answer(session, text, form, output, raw=raw)
    except (KeyboardInterrupt, SystemExit) as e:
        if session is not None and session.stuck:
            _leave(e)
        raise
    except BrokenPipeError:
        let_go_of_stdout()
    except SqlError as e:
        raise click.ClickException(visible(str(e)).replace("\\n", "\n")) from None
    except SettingError as e:
        raise click.UsageError(f"--{e.setting}: expected {e.expected}.") from None
    except OSError as e:
        what = e.filename or output or "the output"
        raise click.ClickException(
            f"The query failed: {what}: {e.strerror or e}."
        ) from None


def _leave(reason: KeyboardInterrupt | SystemExit) -> NoReturn:
    """
    End the process, with the status that it would end with.

    DuckDB is at work in another thread, and does not listen; all that is temporary is
    taken away.  The interpreter's own end would wait for it, or end in a crash.
    """
    status = 1
    with contextlib.suppress(OSError):
        if isinstance(reason, KeyboardInterrupt):
            click.echo("\nAborted!", err=True)  # as click says it
        elif isinstance(reason.code, int):
            status = reason.code
        sys.stderr.flush()
    os._exit(status)


def _from_stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except AttributeError:
        raise click.UsageError("There is no stdin to read a statement from.") from None
    except UnicodeDecodeError:
        raise click.ClickException("The statement is not UTF-8.") from None


def _on_terminal(output: str | None) -> bool:
    """Return whether people see the result at once, not a file or a program."""
    return output is None and sys.stdout.isatty()


def _answer(
    session: SqlSession, text: str, form: str, output: str | None, *, raw: bool
) -> None:
    if form == "parquet":
        path = session.write_parquet(text)
        with _target(output, form) as out, open(path, "rb") as file:
            shutil.copyfileobj(file, out)
        return
    result = session.execute(text)
    with _target(output, form) as out:
        if form == "table":
            encoding = (sys.stdout.encoding if output is None else None) or "utf-8"
            for line in _table(result, on_terminal=_on_terminal(output)):
                out.write(line.encode(encoding, "backslashreplace"))
            return
        if form == "csv":
            pieces = _csv(result, raw=raw)
        else:
            pieces = (_json if form == "json" else _jsonl)(result)
        for piece in pieces:
            out.write(piece)


_ESCAPES: Final[dict[str, Escapes]] = {"csv": "text", "json": "json", "jsonl": "json"}
"""A table has some already, and is in the terminal's encoding."""


@contextmanager
def _target(output: str | None, form: str) -> Iterator[IO[bytes]]:
    """Yield stdout, or a file that replaces *output* at the end."""
    if output is None:
        out = stdout_bytes(_ESCAPES.get(form))
        yield out
        out.flush()
        return
    with replacing(output) as out:
        yield out


def _table(result: SqlResult, *, on_terminal: bool) -> Iterator[str]:
    most = _CELL if on_terminal else None
    rows = iter(result)
    first = [_cells(row, most) for row in itertools.islice(rows, _MEASURED)]
    head = [visible(name) for name in result.columns]
    if not head:
        return
    widths = [max(map(width, column)) for column in zip(head, *first, strict=True)]
    numeric = [_is_number(kind) for kind in result.types]
    yield _line(head, widths, numeric)
    yield _line(["-" * size for size in widths], widths, numeric)
    count = 0
    for row in itertools.chain(first, (_cells(row, most) for row in rows)):
        count += 1
        yield _line(row, widths, numeric)
    if on_terminal:
        yield f"({count:,} row{'s'[: count != 1]})\n"


def _is_number(kind: str) -> bool:
    return kind.rstrip("0123456789") in _NUMBERS or (
        kind.startswith(("DECIMAL", "HUGEINT", "UBIGINT", "SMALLINT", "TINYINT"))
    )


def _cells(row: tuple[Any, ...], most: int | None) -> list[str]:
    from tokenpak.telemetry.read.sql import as_text  # noqa: PLC0415

    texts = ["NULL" if value is None else visible(as_text(value)) for value in row]
    return texts if most is None else [shorten(text, most) for text in texts]


def _line(cells: list[str], widths: list[int], numeric: list[bool]) -> str:
    padded = []
    for cell, size, right in zip(cells, widths, numeric, strict=True):
        room = " " * max(0, size - width(cell))
        padded.append(room + cell if right else cell + room)
    return "  ".join(padded).rstrip(" ") + "\n"


def _csv(result: SqlResult, *, raw: bool = False) -> Iterator[bytes]:
    from tokenpak.telemetry.read.sql import as_text  # noqa: PLC0415

    for row in itertools.chain([result.columns], result):
        cells = ["" if value is None else as_text(value) for value in row]
        yield csv_row(cells, raw=raw)


def _json(result: SqlResult) -> Iterator[bytes]:
    before = b"[\n"
    for row in _jsonl(result):
        yield before + row.rstrip(b"\n")
        before = b",\n"
    yield b"[]\n" if before == b"[\n" else b"\n]\n"


def _jsonl(result: SqlResult) -> Iterator[bytes]:
    from tokenpak.telemetry.read.sql import as_json_row  # noqa: PLC0415
    from tokenpak.telemetry.read.strict import encode  # noqa: PLC0415

    for row in result:
        yield encode(as_json_row(result.columns, result.types, row)) + b"\n"


__all__ = ["sql"]
