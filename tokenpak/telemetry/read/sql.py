"""
SQL over the records of a log, by DuckDB.

    from tokenpak.telemetry.read.sql import SqlSession

    with SqlSession("/var/log/app") as session:
        result = session.execute("SELECT provider, count(*) FROM errors GROUP BY ALL")
        print(result.columns, list(result))

The tables ``errors`` and ``events`` hold what our own reader calls a record, of active
and archived files and of what waits in spools, each once, also while others archive
(S4); malformed lines are kept out and told of (R1).  DuckDB would read the files by
itself, but a line that is being appended is an error to it, and an archive and the
plain file that it was made of are two files.

Each is filled when a statement first names it, into a database in a temporary directory
of which nothing is left; the log is only read.  Statements cannot reach any file,
unless *allow_files* says so: SQL may come from somebody else, like the log.

R2  Memory is bounded: by MEMORY for DuckDB, and some thousand rows.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from tokenpak.telemetry.errors import TelemetryError
from tokenpak.telemetry.read.filter import Query
from tokenpak.telemetry.read.reader import read_entries
from tokenpak.telemetry.read.strict import encode
from tokenpak.telemetry.store.names import ERRORS, EVENTS, STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from types import TracebackType

    from tokenpak.telemetry.read.records import Damage

MEMORY: Final = "512MB"
"""What DuckDB may take; more goes to the temporary directory."""
_BATCH_ROWS: Final = 2000
_BATCH_BYTES: Final = 4 * 1024 * 1024
_FETCH: Final = 1000

FIELD_COLUMNS: Final = {
    ERRORS: ("request_id", "error_type", "message", "stack_trace"),
    EVENTS: ("request_id", "event"),
}
CONTEXT_COLUMNS: Final = (
    ("model", "VARCHAR"),
    ("provider", "VARCHAR"),
    ("input_size", "BIGINT"),
    ("cost_estimate", "DOUBLE"),
    ("duration_ms", "DOUBLE"),
    ("kind", "VARCHAR"),
    ("status_code", "BIGINT"),
    ("provider_request_id", "VARCHAR"),
)
"""Keys of the context that have a column of their own; NULL where the value is none of
the type."""


class SqlError(TelemetryError):
    """A statement cannot be executed, or DuckDB is not installed; the text says why."""


class SqlResult:
    """
    The rows that a statement gives; iterate over it once.

    Attributes:
        columns: their names; a second one of a name gets a number.
        types: as DuckDB calls them.

    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        description = connection.description or ()
        self.columns = tuple(_unique(str(column[0]) for column in description))
        self.types = tuple(str(column[1]) for column in description)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows; SqlError if one cannot be computed."""
        while self.columns:
            rows = _guarded(self._connection.fetchmany, _FETCH)
            if not rows:
                return
            yield from rows


class SqlSession:
    """
    A database with the records of one log directory.

    A context manager: at its end, the database is deleted.

    Args:
        log_dir: the directory of the daily files.
        since, until: as of Query: other days are not loaded.
        allow_files: whether statements may read and write files of their own.
        on_damage: is told of what was skipped.

    Raises:
        SqlError: DuckDB is not installed, or the database cannot be made.
        OSError: there is no place for it.

    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        *,
        since: date | None = None,
        until: date | None = None,
        allow_files: bool = False,
        on_damage: Callable[[Damage], None] | None = None,
    ) -> None:
        try:
            import duckdb  # noqa: PLC0415  (an extra)
        except ImportError:
            raise SqlError(
                "SQL needs DuckDB: pip install 'tokenpak-telemetry[query]'"
            ) from None
        self._log_dir = os.fspath(log_dir)
        self._bounds = since, until
        self._on_damage = on_damage
        self._filled: set[str] = set()
        # Mode 0700, as the log has (S5).
        self._folder = tempfile.TemporaryDirectory(prefix="tokenpak-sql-")
        try:
            database = self._place("records.duckdb")
            self._connection: Any = _guarded(duckdb.connect, database)
            self._set("memory_limit", MEMORY)
            self._set("temp_directory", self._place("spill"))
            self._set("TimeZone", "UTC")
            # Nothing is fetched from the network, whatever a statement names.
            self._set("autoinstall_known_extensions", "false")
            # Nor is a name looked up among Python's variables.
            self._set("python_enable_replacements", "false")
            for stream in STREAMS:
                self._create(stream)
            if not allow_files:
                place = _quoted(self._place("result.parquet"))
                self._run(f"SET allowed_paths = ['{place}']")
                self._set("enable_external_access", "false")
                self._set("lock_configuration", "true")
        except BaseException:
            self._folder.cleanup()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete the database.  Idempotent."""
        try:
            self._connection.close()
        finally:
            self._folder.cleanup()

    def execute(self, text: str) -> SqlResult:
        """
        Execute the statements of *text*, and return the rows of the last one.

        Raises:
            SqlError: one is wrong, or there is none.
            OSError: the log directory cannot be listed.

        """
        for statement in self._prepare(text):
            self._run(statement)
        return SqlResult(self._connection)

    def write_parquet(self, text: str) -> str:
        """
        Write the rows of the last statement of *text* to a Parquet file.

        Returns:
            Its path; it is deleted with the session.

        Raises:
            SqlError: a statement is wrong, or there is none.
            OSError: the log directory cannot be listed.

        """
        *before, last = self._prepare(text)
        for statement in before:
            self._run(statement)
        path = self._place("result.parquet")
        query = _without_end(last.query)
        self._run(f"COPY (\n{query}\n) TO '{_quoted(path)}' (FORMAT parquet)")
        return path

    def _prepare(self, text: str) -> list[Any]:
        try:
            text.encode()
        except UnicodeEncodeError:  # how Python has bytes that are none
            raise SqlError("the statement is not UTF-8") from None
        statements: list[Any] = _guarded(self._connection.extract_statements, text)
        if not statements:
            raise SqlError("there is no statement")
        for stream in STREAMS:
            # Also if it is only a word in a text: then loading is in vain.  EXPORT
            # DATABASE means both, and names none.
            named = re.search(rf"\b({stream}|database)\b", text, re.IGNORECASE)
            if named and stream not in self._filled:
                self._fill(stream)
                self._filled.add(stream)
        return statements

    def _create(self, stream: str) -> None:
        fields = [f"{name} VARCHAR" for name in FIELD_COLUMNS[stream]]
        keys = [f"{name} {kind}" for name, kind in CONTEXT_COLUMNS]
        columns = ", ".join(["timestamp TIMESTAMP", *fields, "context JSON", *keys])
        self._run(f"CREATE TABLE {stream} ({columns})")

    def _fill(self, stream: str) -> None:
        _guarded(self._connection.begin)
        try:
            self._insert_all(stream)
            _guarded(self._connection.commit)
        except BaseException:  # not half of it, should somebody ask again
            with contextlib.suppress(SqlError):
                _guarded(self._connection.rollback)
            raise

    def _insert_all(self, stream: str) -> None:
        since, until = self._bounds
        query = Query(stream=stream, since=since, until=until)
        rows: list[str] = []
        size = 0
        odd = False
        for item in read_entries(self._log_dir, query, pending=True):
            if not isinstance(item, tuple):
                if self._on_damage is not None:
                    self._on_damage(item)
                continue
            line = encode(item[0]) if item[1] is None else item[1]
            rows.append(line.decode())
            size += len(line)
            odd = odd or isinstance(item[0].get("context"), str)
            if len(rows) >= _BATCH_ROWS or size >= _BATCH_BYTES:
                self._run(_insert(stream, odd), [rows])
                rows, size, odd = [], 0, False
        if rows:
            self._run(_insert(stream, odd), [rows])

    def _place(self, name: str) -> str:
        return os.path.join(self._folder.name, name)

    def _set(self, name: str, value: str) -> None:
        self._run(f"SET {name} = '{_quoted(value)}'")

    def _run(self, statement: Any, *args: Any) -> None:
        _guarded(self._connection.execute, statement, *args)


def _insert(stream: str, odd: bool) -> str:
    """
    Return the statement that makes rows of a list of lines.

    Args:
        stream: ``errors`` or ``events``.
        odd: whether a context is text, which must not be taken for JSON; this is
            slower, since each line is parsed twice.

    """
    fields = FIELD_COLUMNS[stream]
    keys = [f"context.{name}" for name, _ in CONTEXT_COLUMNS]
    paths = [f"$.{name}" for name in ("timestamp", *fields, "context", *keys)]
    # A list of paths, so that each line is parsed once.
    cells = ["TRY_CAST(v[1] AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"]
    cells += [f"v[{2 + index}]" for index in range(len(fields))]
    context = 2 + len(fields)
    cells.append("json_extract(line, '$.context')" if odd else f"v[{context}]::JSON")
    for index, (_, kind) in enumerate(CONTEXT_COLUMNS, context + 1):
        cells.append(f"TRY_CAST(v[{index}] AS {kind})")
    return (
        f"INSERT INTO {stream} SELECT {', '.join(cells)} FROM "  # noqa: S608
        f"(SELECT line, json_extract_string(line, {paths}) v FROM "
        "(SELECT unnest(?::VARCHAR[]) line))"
    )


def _without_end(statement: str) -> str:
    """Return *statement* without the semicolon that ends it, and comments there."""
    import duckdb  # noqa: PLC0415

    data = statement.encode()
    end = len(data)
    for start, kind in reversed(duckdb.tokenize(statement)):
        if kind != duckdb.token_type.comment and data[start:end].strip() != b";":
            break
        end = start
    return data[:end].decode()


def _guarded(call: Callable[..., Any], *args: Any) -> Any:
    import duckdb  # noqa: PLC0415

    try:
        return call(*args)
    except duckdb.InterruptException:
        raise KeyboardInterrupt from None
    except duckdb.Error as e:
        raise SqlError(_in_words(e)) from None
    except RuntimeError as e:  # how it tells that Python was interrupted
        if "interrupted" in str(e):
            raise KeyboardInterrupt from None
        raise


def _in_words(error: Exception) -> str:
    text = str(error).strip()
    if "file system operations are disabled" in text:
        return (
            "statements may not use files, nor install extensions; "
            "allow it if the SQL is your own: --allow-files"
        )
    return text


def _unique(names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        free = name
        number = 0
        while free in seen:
            number += 1
            free = f"{name}_{number}"
        seen.add(free)
        yield free


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def as_json_row(
    columns: Sequence[str], types: Sequence[str], row: Sequence[Any]
) -> Any:
    """Return *row* as an object for encode(); context stays JSON."""
    return {
        name: _from_json(value)
        if kind == "JSON" and isinstance(value, str)
        else as_json_value(value)
        for name, kind, value in zip(columns, types, row, strict=True)
    }


def _from_json(text: str) -> Any:
    try:
        # Integers over 64 bits, which are kept; 1e400, which becomes null as in an
        # export.
        return json.loads(text)
    except (ValueError, RecursionError):  # beyond Python's limits: as text
        return text


def as_json_value(value: Any) -> Any:
    """Return what JSON has for *value*, of any type that DuckDB gives."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): as_json_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_json_value(part) for part in value]
    return as_text(value)


def as_text(value: Any) -> str:
    """Return *value* as text: times as in the log, bytes as hexadecimal digits."""
    if hasattr(value, "isoformat"):
        text: str = value.isoformat()
        if hasattr(value, "hour") and hasattr(value, "year") and value.tzinfo is None:
            return value.isoformat(timespec="microseconds") + "Z"  # type: ignore[no-any-return]
        return text
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, dict | list | tuple):
        return encode(as_json_value(value)).decode()
    return str(value)


__all__ = [
    "CONTEXT_COLUMNS",
    "FIELD_COLUMNS",
    "SqlError",
    "SqlResult",
    "SqlSession",
    "as_json_row",
    "as_json_value",
    "as_text",
]
