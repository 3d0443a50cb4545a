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

Each is filled when a statement first names it (see ``fill``), into a database in a
temporary directory of which nothing is left; the log is only read.  Statements cannot
reach any file, unless *allow_files* says so: SQL may come from somebody else, like the
log.  A signal is answered whatever DuckDB is at (see ``aside``).

R2  Memory is bounded: by MEMORY for DuckDB, and some thousand rows.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from tokenpak.telemetry.errors import TelemetryError
from tokenpak.telemetry.read.aside import Aside
from tokenpak.telemetry.read.fill import (
    CONTEXT_COLUMNS,
    FIELD_COLUMNS,
    CountError,
    Pieces,
    batches_of,
    insert_values,
    is_pattern,
    lines_of,
    table,
)
from tokenpak.telemetry.read.filter import ALL, Query
from tokenpak.telemetry.read.logs import sizes_of
from tokenpak.telemetry.read.reader import read_entries
from tokenpak.telemetry.read.scratch import Scratch
from tokenpak.telemetry.read.strict import encode
from tokenpak.telemetry.store.names import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from types import TracebackType

    from tokenpak.telemetry.read.aside import Call
    from tokenpak.telemetry.read.records import Damage

MEMORY: Final = "512MB"
"""What DuckDB may take; more goes to the temporary directory."""
_FETCH: Final = 1000
_UNPACKED: Final = 2 * 1024**3
"""Bytes of log up to which the database is not compressed, which takes longer than all
else; a larger one would need too much of the disk."""
_PIECES: Final = ("piece-0.jsonl", "piece-1.jsonl")
_FULL: Final = frozenset({"IOException", "OutOfMemoryException"})
"""What is no better if it is tried in another way."""


class SqlError(TelemetryError):
    """
    A statement cannot be executed, or DuckDB is not installed; the text says why.

    Attributes:
        kind: the name of DuckDB's own error; empty if it is none of DuckDB's.

    """

    def __init__(self, text: str, kind: str = "") -> None:
        super().__init__(text)
        self.kind = kind


class SqlResult:
    """
    The rows that a statement gives; iterate over it once.

    Attributes:
        columns: their names; a second one of a name gets a number.
        types: as DuckDB calls them.

    """

    def __init__(self, connection: Any, guarded: Callable[..., Any]) -> None:
        self._connection = connection
        self._guarded = guarded
        description = connection.description or ()
        self.columns = tuple(_unique(str(column[0]) for column in description))
        self.types = tuple(str(column[1]) for column in description)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows; SqlError if one cannot be computed."""
        while self.columns:
            rows = self._guarded(self._connection.fetchmany, _FETCH)
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
        self._aside = Aside(self._interrupt)
        self._folder = Scratch("tokenpak-sql-")
        self._connection: Any = None
        try:
            self._connection = self._guarded(
                duckdb.connect, self._place("records.duckdb")
            )
            self._set_up(allow_files=allow_files)
        except BaseException:
            self.close()
            raise

    def _set_up(self, *, allow_files: bool) -> None:
        self._set("memory_limit", MEMORY)
        self._set("temp_directory", self._place("spill"))
        self._set("TimeZone", "UTC")
        # Nothing is fetched from the network, whatever a statement names.
        self._set("autoinstall_known_extensions", "false")
        # Nor is a name looked up among Python's variables.
        self._set("python_enable_replacements", "false")
        if self._held_bytes() < _UNPACKED:
            self._set("force_compression", "uncompressed")
        for stream in STREAMS:
            self._run(table(stream))
        if not allow_files:
            places = [self._place(name) for name in ("result.parquet", *_PIECES)]
            quoted = ", ".join(f"'{_quoted(place)}'" for place in places)
            self._run(f"SET allowed_paths = [{quoted}]")
            self._set("enable_external_access", "false")
            self._set("lock_configuration", "true")

    def _held_bytes(self) -> int:
        since, until = self._bounds
        try:
            return sizes_of(self._log_dir, Query(stream=ALL, since=since, until=until))[
                1
            ]
        except OSError:  # told when it is read
            return 0

    @property
    def stuck(self) -> bool:
        """
        Whether a statement was interrupted and goes on all the same.

        Then the process is to be ended by os._exit(), after close().
        """
        return self._aside.stuck

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
            # Whoever was interrupted before he had the call has left it to this.
            self._aside.abandon_all()
            if self._connection is not None and not self.stuck:
                self._connection.close()
        finally:
            self._aside.close()
            self._folder.delete()

    def execute(self, text: str) -> SqlResult:
        """
        Execute the statements of *text*, and return the rows of the last one.

        Raises:
            SqlError: one is wrong, or there is none.
            OSError: the log directory cannot be listed.

        """
        for statement in self._prepare(text):
            self._run(statement)
        return SqlResult(self._connection, self._guarded)

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
        statements: list[Any] = self._guarded(self._connection.extract_statements, text)
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

    def _fill(self, stream: str) -> None:
        told = 0

        def tell(damage: Damage) -> None:
            nonlocal told
            told += 1
            if self._on_damage is not None:
                self._on_damage(damage)

        if not is_pattern(self._folder.name):
            try:
                self._in_one(lambda: self._insert_pieces(stream, tell))
                return
            except CountError:
                pass
            except SqlError as e:
                if e.kind in _FULL:
                    raise
        left = iter(range(told))  # which was told of

        def tell_rest(damage: Damage) -> None:
            if next(left, None) is None:
                tell(damage)

        self._in_one(
            lambda: self._insert_values(stream, self._lines(stream, tell_rest))
        )

    def _in_one(self, insert: Callable[[], None]) -> None:
        """Do all that *insert* does, or nothing, should somebody ask again."""
        self._guarded(self._connection.begin)
        try:
            insert()
            self._guarded(self._connection.commit)
        except BaseException:
            self._aside.abandon_all()
            if not self.stuck:
                with contextlib.suppress(SqlError):
                    self._guarded(self._connection.rollback)
            raise

    def _lines(self, stream: str, tell: Callable[[Damage], None]) -> Iterator[bytes]:
        since, until = self._bounds
        query = Query(stream=stream, since=since, until=until)
        return lines_of(read_entries(self._log_dir, query, pending=True), tell)

    def _insert_pieces(self, stream: str, tell: Callable[[Damage], None]) -> None:
        first, second = map(self._place, _PIECES)
        under_way: list[Call] = []

        def begin(statement: str) -> None:
            under_way.append(self._aside.begin(self._rows_of, statement))

        def end() -> int:
            call = under_way.pop()
            ((count,),) = _in_our_words(lambda: self._aside.result(call))
            return int(count)

        pieces = Pieces(stream, (first, second), begin, end)
        for line in pieces.add_all(self._lines(stream, tell)):
            self._insert_values(stream, iter([line]))

    def _rows_of(self, statement: str) -> Any:
        return self._connection.execute(statement).fetchall()

    def _insert_values(self, stream: str, lines: Iterator[bytes]) -> None:
        for rows in batches_of(lines):
            self._run(insert_values(stream), [rows])

    def _place(self, name: str) -> str:
        return os.path.join(self._folder.name, name)

    def _set(self, name: str, value: str) -> None:
        self._run(f"SET {name} = '{_quoted(value)}'")

    def _run(self, statement: Any, *args: Any) -> None:
        self._guarded(self._connection.execute, statement, *args)

    def _guarded(self, call: Callable[..., Any], *args: Any) -> Any:
        return _in_our_words(lambda: self._aside.call(call, *args))

    def _interrupt(self) -> None:
        if self._connection is not None:
            self._connection.interrupt()


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


def _in_our_words(call: Callable[[], Any]) -> Any:
    import duckdb  # noqa: PLC0415

    try:
        return call()
    except duckdb.InterruptException:
        raise KeyboardInterrupt from None
    except duckdb.Error as e:
        raise SqlError(_in_words(e), type(e).__name__) from None


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
