"""What is exported is read by other tools with no option at all."""

from __future__ import annotations

import builtins
import io
import json
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.read.log_making import as_lines, make_record, write_log
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read import Format, Query, export_records, export_to_file

duckdb = pytest.importorskip("duckdb")
polars = pytest.importorskip("polars")
json_reader = pytest.importorskip("pyarrow.json")
csv_reader = pytest.importorskip("pyarrow.csv")
parquet_reader = pytest.importorskip("pyarrow.parquet")

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 400


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """Records as a logger writes them, and lines as others do, damaged ones too."""
    folder = tmp_path / "logs"
    contexts = [
        {
            "model": "gpt-4",
            "provider": "openai",
            "input_size": n,
            "cost_estimate": n / 7,
            "duration_ms": n * 1.5,
            "text": 'a "quote", a comma\r\nand \u2028 \x1b[0m',
        }
        for n in range(COUNT)
    ]
    data = as_lines([make_record(n, context=c) for n, c in enumerate(contexts)])
    odd = json.dumps(make_record(COUNT, context={**contexts[0], "cost_estimate": 1.5}))
    odd = odd.replace("1.5", "NaN").replace("said", "\\ud800")
    write_log(folder, data + odd.encode() + b"\n\xff\n{\n")
    return folder


def counted(read: Any) -> list[int]:
    """Return the rows and columns of a table of any kind."""
    if hasattr(read, "fetchall"):
        return [len(read.fetchall()), len(read.description)]
    return list(read.shape)


@pytest.mark.parametrize(
    ("form", "columns", "readers"),
    [
        (
            "jsonl",
            6,
            [
                lambda path: duckdb.sql(f"SELECT * FROM '{path}'"),
                polars.read_ndjson,
                json_reader.read_json,
            ],
        ),
        (
            "csv",
            12,
            [
                lambda path: duckdb.sql(f"SELECT * FROM '{path}'"),
                polars.read_csv,
                csv_reader.read_csv,
            ],
        ),
        (
            "parquet",
            12,
            [
                lambda path: duckdb.sql(f"SELECT * FROM '{path}'"),
                polars.read_parquet,
                parquet_reader.read_table,
            ],
        ),
    ],
)
def test_duckdb_polars_and_pyarrow_read_it(
    log_dir: Path, tmp_path: Path, form: Format, columns: int, readers: list[Any]
) -> None:
    """All rows and columns of it."""
    path = str(tmp_path / f"out.{form}")
    export_to_file(log_dir, path, form=form)

    shapes = [counted(read(path)) for read in readers]

    assert shapes == [[COUNT + 1, columns]] * 3


def test_parquet_has_types_that_do_not_depend_on_the_log(tmp_path: Path) -> None:
    """Also of no rows; and what does not fit a type is in the context."""
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    export_to_file(log_dir, tmp_path / "none.parquet", form="parquet")
    context = {"input_size": "many", "cost_estimate": 10**400, "duration_ms": 5}
    write_log(log_dir, json.dumps(make_record(context=context)).encode() + b"\n")

    export_to_file(log_dir, tmp_path / "one.parquet", form="parquet")

    none = parquet_reader.read_table(tmp_path / "none.parquet")
    one = parquet_reader.read_table(tmp_path / "one.parquet")
    assert none.schema.equals(one.schema)
    (row,) = one.to_pylist()
    assert (row["input_size"], row["cost_estimate"], row["duration_ms"]) == (
        None,
        None,
        5.0,
    )
    assert json.loads(row["context"]) == context
    assert str(row["timestamp"]) == "2026-03-24 17:35:22"


@pytest.mark.parametrize("fields", [None, ["message"]])
@pytest.mark.parametrize("name", ["message=1", "more=1"])
def test_the_name_of_the_temporary_directory_is_no_column_of_parquet(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fields: list[str] | None,
) -> None:
    """DuckDB would take it for one, and for the value of all rows."""
    (tmp_path / name).mkdir()
    write_log(tmp_path, as_lines([make_record(message="said")]))
    expected = tmp_path / "expected.parquet"
    export_to_file(tmp_path, expected, form="parquet", fields=fields)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))

    export_to_file(tmp_path, tmp_path / "out.parquet", form="parquet", fields=fields)

    found = parquet_reader.read_table(str(tmp_path / "out.parquet"), partitioning=None)
    assert found.to_pylist()[0]["message"] == "said"
    assert found.equals(parquet_reader.read_table(expected))


def test_r1_a_time_that_there_is_not_does_not_end_an_export_to_parquet(
    tmp_path: Path,
) -> None:
    """Of another writer, or of a bit that has turned over on the disk."""
    stamps = ["2026-06-31T12:00:00.000000Z", "2026-03-24T17:35:60.000000Z", "soon"]
    records = [make_record(timestamp=stamp) for stamp in stamps]
    write_log(tmp_path, "".join(json.dumps(r) + "\n" for r in records).encode())

    export_to_file(tmp_path, tmp_path / "out.parquet", form="parquet")

    table = parquet_reader.read_table(tmp_path / "out.parquet")
    assert table["timestamp"].to_pylist() == [None, None, None]


def test_parquet_has_the_fields_that_are_asked_for(
    log_dir: Path, tmp_path: Path
) -> None:
    """Keys of the context, too, with the types that they have."""
    fields = ["request_id", "context.input_size", "model"]

    export_to_file(log_dir, tmp_path / "out.parquet", form="parquet", fields=fields)

    table = parquet_reader.read_table(tmp_path / "out.parquet")
    assert table.column_names == fields
    assert table["context.input_size"].to_pylist()[:COUNT] == list(range(COUNT))


LIKE_OTHERS = {
    "date": "2026-03-24",
    "time": "12:00:00",
    "when": "2026-03-24T12:00:00Z",
    "uuid": "550e8400-e29b-41d4-a716-446655440000",
    "number": "0012",
    "nested": {"a date": ["2026-03-24"], "b": [{"date": "2026-03-24"}]},
}


def test_a_text_in_parquet_is_text_whatever_it_looks_like(tmp_path: Path) -> None:
    """At any depth: else the type of a column depends on what a log holds."""
    names = [f"context.{key}" for key in LIKE_OTHERS]
    record = make_record(message="2026-03-24", context=LIKE_OTHERS)
    record["request_id"] = LIKE_OTHERS["uuid"]
    write_log(tmp_path, as_lines([record]))
    fields = ["message", "request_id", *names]

    export_to_file(tmp_path, tmp_path / "out.parquet", form="parquet", fields=fields)

    (row,) = parquet_reader.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row[name] for name in names] == list(LIKE_OTHERS.values())
    assert (row["message"], row["request_id"]) == ("2026-03-24", LIKE_OTHERS["uuid"])


def test_the_usual_columns_of_parquet_have_their_types_also_when_chosen(
    tmp_path: Path,
) -> None:
    """As without ``fields``; what is of another type is NULL, or its JSON as text."""
    fields = ["timestamp", "request_id", "model", "input_size", "duration_ms"]
    context = {"model": 4, "input_size": "many", "duration_ms": 5}
    record = make_record(context=context) | {"request_id": 7}
    write_log(tmp_path, as_lines([record]))
    export_to_file(tmp_path, tmp_path / "all.parquet", form="parquet")

    export_to_file(tmp_path, tmp_path / "out.parquet", form="parquet", fields=fields)

    every = parquet_reader.read_table(tmp_path / "all.parquet")
    found = parquet_reader.read_table(tmp_path / "out.parquet")
    assert found.equals(every.select(fields))
    assert found["model"].to_pylist() == ["4"]


def test_a_column_of_parquet_without_a_value_is_text(tmp_path: Path) -> None:
    """As where there is no row at all."""
    write_log(tmp_path, as_lines([make_record()]))
    for query in (Query(), Query(provider="nobody")):
        path = tmp_path / "out.parquet"
        export_to_file(tmp_path, path, form="parquet", fields=["nowhere"], query=query)

        schema = parquet_reader.read_schema(path)
        assert str(schema.field("nowhere").type) == "string"


def test_fields_that_differ_by_case_alone_are_refused_for_parquet(
    log_dir: Path,
) -> None:
    """DuckDB would give them other names, or an error of its own if none is there."""
    for provider in (None, "nobody"):
        with pytest.raises(SettingError, match="differ by more than case"):
            export_records(
                log_dir,
                io.BytesIO(),
                query=Query(provider=provider),
                form="parquet",
                fields=["a", "A"],
            )


def test_without_duckdb_parquet_says_what_to_install(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else needs it."""
    real = builtins.__import__

    def refuse(name: str, *args: Any, **options: Any) -> Any:
        if name == "duckdb":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)

    with pytest.raises(SettingError, match=r"pip install 'tokenpak-telemetry\[query\]"):
        export_records(log_dir, io.BytesIO(), form="parquet")
    assert export_records(log_dir, io.BytesIO(), form="csv").records == COUNT + 1


@pytest.mark.parametrize(
    ("message", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("-2.5e3", "-2.5e3"),
        ("+7", "+7"),
        ("a=1", "a=1"),
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_is_made_harmless(
    tmp_path: Path, message: str, cell: str
) -> None:
    """Unless it is a plain number; ``raw`` leaves it as it is."""
    write_log(tmp_path, as_lines([make_record(message=message)]))
    safe, raw = io.BytesIO(), io.BytesIO()

    export_records(tmp_path, safe, form="csv", fields=["message"])
    export_records(tmp_path, raw, form="csv", fields=["message"], raw=True)

    assert safe.getvalue() == b"message\r\n" + cell.encode() + b"\r\n"
    assert raw.getvalue() == b"message\r\n" + message.encode() + b"\r\n"


def test_fields_are_all_there_in_each_row(tmp_path: Path) -> None:
    """In their order, null where there is none; nested keys by dots."""
    write_log(
        tmp_path,
        as_lines([make_record(context={"retry": {"n": 2}}), make_record(1)]),
    )
    out = io.BytesIO()

    export_records(tmp_path, out, form="jsonl", fields=["context.retry.n", "model"])

    assert out.getvalue().splitlines() == [
        b'{"context.retry.n":2,"model":null}',
        b'{"context.retry.n":null,"model":"gpt-4"}',
    ]
    for wrong in ([], ["a", "a"], [""]):
        with pytest.raises(SettingError, match="names of fields"):
            export_records(tmp_path, out, fields=wrong)
