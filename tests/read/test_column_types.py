"""The types of columns in Parquet are found by their values, never by looks."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.read.log_making import as_lines, make_record, write_log
from tokenpak.telemetry.read import export_to_file
from tokenpak.telemetry.read.column_types import (
    MOST_DEEP,
    MOST_IN_ALL,
    MOST_KEYS,
    Column,
    types_of,
)


def type_of(*values: Any) -> str:
    column = Column()
    for value in values:
        column.add(value)
    return column.type


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([], "VARCHAR"),
        ([None, None], "VARCHAR"),
        (["2026-03-24", None, "12:00:00"], "VARCHAR"),
        ([1, None, -(2**63)], "BIGINT"),
        ([1, 2**63], "DOUBLE"),
        ([1, 1.5], "DOUBLE"),
        ([1, 10**308], "DOUBLE"),
        ([10**400, -(10**400), None], "JSON"),
        ([1.5, {"a": 10**400}], "JSON"),
        ([True, False], "BOOLEAN"),
        ([True, 1], "JSON"),
        (["x", 1], "JSON"),
        ([[1], [2.5], []], "DOUBLE[]"),
        ([[]], "VARCHAR[]"),
        ([[1, "x"]], "JSON[]"),
        ([[1], 1], "JSON"),
        ([{"a": 1}, {"b": [None]}, None], 'STRUCT("a" BIGINT, "b" VARCHAR[])'),
        ([{'"': {"b": True}}], 'STRUCT("""" STRUCT("b" BOOLEAN))'),
        ([{}], "JSON"),
        ([{"a": 1}, {"A": 1}], "JSON"),
        ([{"": 1}], "JSON"),
        ([{"\0": 1}], "JSON"),
        ([{"a": 1}, "a"], "JSON"),
    ],
)
def test_a_column_is_of_the_type_of_its_values(values: list[Any], kind: str) -> None:
    """What has no one type is JSON."""
    assert type_of(*values) == kind


def test_r2_what_is_kept_of_objects_is_bounded() -> None:
    """Of too many keys, or too deep: they are JSON."""
    column = Column()
    for number in range(3 * MOST_KEYS):
        column.add({f"k{number}": 1})
    deep: Any = 1
    for _ in range(3 * MOST_DEEP):
        deep = [deep]

    assert len(column._keys) == 0
    assert column.type == "JSON"
    assert type_of({f"k{n}": 1 for n in range(MOST_KEYS)}).startswith("STRUCT")
    assert type_of(deep) == "JSON" + "[]" * MOST_DEEP


def test_r2_keys_in_keys_are_bounded_together() -> None:
    """And what is JSON leaves its room to others."""
    inner = MOST_IN_ALL // 10
    deep = [{f"k{k}": {f"j{j}": 1 for j in range(inner)}} for k in range(20)]
    lines = [
        orjson.dumps({"a": value, "b": {"c": {"d": number}}, "e": {f"k{number}": 1}})
        for number, value in enumerate(deep)
    ]
    (whole,) = types_of(lines[:9], ["a"]).values()
    found = types_of(lines, ["a", "b", "e"])

    assert whole.count("BIGINT") == 9 * inner
    assert found["a"] == "JSON"
    assert found["b"] == 'STRUCT("c" STRUCT("d" BIGINT))'
    assert found["e"].count("BIGINT") == 20


def test_a_context_of_thousands_of_keys_can_be_exported_to_parquet(
    tmp_path: Path,
) -> None:
    """DuckDB has no memory for as many columns."""
    reader = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("duckdb")
    users = [{f"u{n}": {f"t{n}-{k}": 1 for k in range(120)}} for n in range(120)]
    records = [make_record(n, context={"users": u}) for n, u in enumerate(users)]
    write_log(tmp_path, as_lines(records))

    export_to_file(tmp_path, tmp_path / "out.parquet", form="parquet", fields=["users"])

    found = reader.read_table(tmp_path / "out.parquet")["users"].to_pylist()
    assert [orjson.loads(text) for text in found] == users


def test_an_integer_of_any_size_can_be_exported_to_parquet(tmp_path: Path) -> None:
    """One that no float can hold is kept; others write such logs."""
    reader = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("duckdb")
    huge = 10**400
    records = [
        make_record(n, context={"v": v, "w": {"u": v}}) for n, v in ((0, 1), (1, huge))
    ]
    lines = [json.dumps(record, separators=(",", ":")) + "\n" for record in records]
    write_log(tmp_path, "".join(lines).encode())

    export_to_file(
        tmp_path, tmp_path / "out.parquet", form="parquet", fields=["v", "w"]
    )

    found = reader.read_table(tmp_path / "out.parquet")
    assert found["v"].to_pylist() == ["1", str(huge)]
    assert found["w"].to_pylist() == [{"u": "1"}, {"u": str(huge)}]


def test_only_the_columns_that_are_wanted_have_a_type() -> None:
    """In their order."""
    lines = [b'{"a": 1, "b": "x", "c": null}\n', b'{"a": 2, "b": null, "c": 1.5}\n']

    found = types_of(lines, ["c", "a"])

    assert list(found.items()) == [("c", "DOUBLE"), ("a", "BIGINT")]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)  # orjson, which makes the log, has no others
    | st.floats()
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=40)
@given(st.lists(VALUES, min_size=1, max_size=4))
@example([{"A": 1, "a": "2026-01-01"}])
@example([{"a": {"": "\0"}}])
@example(["2026-01-01", "2026-01-02"])
def test_whatever_a_context_holds_can_be_exported_to_parquet(values: list[Any]) -> None:
    """And a column of texts has just these."""
    reader = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("duckdb")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = [make_record(n, context={"v": v}) for n, v in enumerate(values)]
        write_log(folder, as_lines(records))
        target = folder / "out.parquet"

        exported = export_to_file(folder, target, form="parquet", fields=["v"])

        found = reader.read_table(target)["v"].to_pylist()
    assert exported.records == len(found) == len(values)
    if all(isinstance(value, str) for value in values):
        assert found == values
