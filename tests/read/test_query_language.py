"""The query language: it never crashes, and gives what a naive filter gives."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.read.log_making import as_lines, make_record, read_all, write_log
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.read import (
    Query,
    export_records,
    parse_when,
    parse_where,
    search,
)
from tokenpak.telemetry.read.lines import Stretch
from tokenpak.telemetry.read.needles import Screen
from tokenpak.telemetry.read.when import is_canonical
from tokenpak.telemetry.read.where import Condition, value_at

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 24, 17, 0, tzinfo=UTC)
TEXTS = st.sampled_from(
    ["openai", "a/b", 'q"uote', "b\\ack", "naïve", "\x1b[0m", "line\nend", "", "7", "e"]
)
NUMBERS = st.sampled_from([0, 7, -1, 2.5, 1e300, 10**30, True, False, None])
VALUES = TEXTS | NUMBERS | st.lists(TEXTS, max_size=2)
CONTEXTS = st.dictionaries(
    st.sampled_from(["provider", "model", "n", "a.b", "a", "ключ"]),
    VALUES | st.dictionaries(st.sampled_from(["b", "n"]), VALUES, max_size=2),
    max_size=4,
)
KEYS = st.sampled_from(["provider", "n", "a.b", "a", "a.n", "ключ", "error_type"])
CONDITIONS = st.builds(
    lambda key, operator, value: f"{key}{operator}{value}",
    KEYS,
    st.sampled_from(["=", "!=", ">", ">=", "<", "<="]),
    TEXTS | st.sampled_from(["7", "2.5", "true", "null", "1e300", "-1", "0"]),
)


def spelled(text: str, how: int) -> str:
    """Return the JSON *text*, of json.dumps, as another writer might have put it."""
    if how & 1:  # each letter of some words as an escape
        for word in ("openai", "provider", "quote", "7"):
            code = "".join(f"\\u{ord(c):04x}" for c in word)
            text = text.replace(f'"{word}"', f'"{code}"')
    if how & 4:  # one letter of each, the last, in upper case
        for word in ("openai", "a/b", "e", "naïve"):
            code = f"{word[:-1]}\\u{ord(word[-1]):04X}"
            text = text.replace(f'"{word}"', f'"{code}"')
    return text.replace("/", "\\/") if how & 2 else text


LINES = st.builds(
    lambda n, context, message, how, spaces, ascii_only: spelled(
        json.dumps(
            make_record(n, context=context, message=message),
            separators=(", ", ": ") if spaces else (",", ":"),
            ensure_ascii=ascii_only,
        ),
        how,
    ),
    st.integers(0, 999),
    CONTEXTS,
    TEXTS,
    st.integers(0, 7),
    st.booleans(),
    st.booleans(),
)


def naive(record: dict[str, Any], query: Query) -> bool:
    """Say what the documentation says, without any haste."""

    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [t for k, v in value.items() for t in (k, *texts(v))]
        if isinstance(value, list):
            return [t for v in value for t in texts(v)]
        return [value] if isinstance(value, str) else []

    context = record["context"]
    wanted = [
        query.provider is None or context.get("provider") == query.provider,
        query.model is None or context.get("model") == query.model,
        query.request_id is None or record["request_id"] == query.request_id,
        not query.grep or any(query.grep in text for text in texts(record)),
    ]
    if query.since is not None:
        assert isinstance(query.since, datetime)
        stamp = datetime.fromisoformat(record["timestamp"])
        wanted.append(stamp >= query.since)
    wanted += [condition.test()(record) for condition in query.conditions]
    return all(wanted)


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(LINES, max_size=8),
    provider=st.none() | TEXTS,
    grep=st.none() | TEXTS,
    where=st.lists(CONDITIONS, max_size=2),
    late=st.none() | st.integers(0, 999),
    worth=st.sampled_from([0, search.WORTH_BYTES]),
)
@example(  # no character, and so no escape that could be one of it
    lines=[json.dumps(make_record(n, context={"provider": ""})) for n in range(4)],
    provider="",
    grep=None,
    where=[],
    late=None,
    worth=0,
)
def test_a_query_gives_what_a_naive_filter_over_all_records_gives(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[str],
    provider: str | None,
    grep: str | None,
    where: list[str],
    late: int | None,
    worth: int,
) -> None:
    """However the lines are written and searched: spaces, escapes, ASCII alone."""
    since = None if late is None else datetime(2026, 3, 24, 17, 35, 22, late, UTC)
    try:
        query = Query(provider=provider, grep=grep, where=where, since=since)
    except SettingError:
        return
    tmp_path = tmp_path_factory.mktemp("logs")
    write_log(tmp_path, "\n".join([*lines, ""]).encode())
    everything, _ = read_all(tmp_path)
    out = io.BytesIO()

    with mock.patch.object(search, "WORTH_BYTES", worth):
        found, damage = read_all(tmp_path, query)
        export_records(tmp_path, out, query=query, form="jsonl")

    wanted = [record for record in everything if naive(record, query)]
    assert found == wanted
    assert damage == []
    exported = [json.loads(line) for line in out.getvalue().splitlines()]
    wanted.sort(key=lambda record: str(record["timestamp"]))
    assert [r["request_id"] for r in exported] == [r["request_id"] for r in wanted]


@given(text=st.text(max_size=40))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    """With an example, and nothing else is raised."""
    try:
        condition = parse_where(text)
    except SettingError:
        return
    condition.test()(make_record())
    Query(where=[text])


@given(text=st.text(max_size=40))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    """Also years that no calendar has."""
    try:
        when = parse_when(text, now=NOW)
    except SettingError:
        return
    assert isinstance(when, date)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("2h", NOW - timedelta(hours=2)),
        ("30m", NOW - timedelta(minutes=30)),
        ("7d", NOW - timedelta(days=7)),
        ("today", NOW.date()),
        ("Yesterday", date(2026, 3, 23)),
    ],
)
def test_relative_times_are_relative_to_a_now_that_can_be_given(
    text: str, expected: date
) -> None:
    """Words for days are days, spans are instants."""
    when = parse_when(text, now=NOW)

    assert when == expected
    assert type(when) is type(expected)


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ("n=7", 7, True),
        ("n=7", "7", True),
        ("n=7", 7.0, True),
        ("n=true", True, True),
        ("n=1", True, False),
        ("n=null", None, True),
        ("n!=7", 8, True),
        ("missing!=7", 8, True),
        ("missing=null", 8, False),
        ("n>7", 7.5, True),
        ("n>=7", "8", False),
        ("n<-1e3", -1001, True),
        ("n=a=b", "a=b", True),
        ("context.n=7", 7, True),
        ("error_type=ValueError", 7, True),
    ],
)
def test_conditions_compare_what_one_expects(
    condition: str, value: object, holds: bool
) -> None:
    """Numbers as numbers, text as text, and a key that is not there is not equal."""
    record = make_record(context={"n": value})

    assert parse_where(condition).test()(record) is holds


def test_a_dotted_key_is_itself_before_it_is_nested() -> None:
    """As OpenTelemetry writes them."""
    context = {"a.b": 1, "a": {"b": 2, "c": 3}, "x": {"y.z": {"w": 4}}}
    record = make_record(context=context)

    assert [value_at(record, key) for key in ("a.b", "a.c", "x.y.z.w")] == [1, 3, 4]


@pytest.mark.parametrize("text", ["", "n", "=7", "n>many", "n>nan", "n>1e999", "n<"])
def test_a_condition_that_is_none_is_refused(text: str) -> None:
    """With examples, or what the operator needs."""
    with pytest.raises(SettingError, match=r"a condition like|a number behind"):
        parse_where(text)


def test_limit_and_last_exclude_each_other() -> None:
    """And are no negative numbers."""
    for wrong in ({"limit": 1, "last": 1}, {"limit": -1}, {"last": -1}):
        with pytest.raises(SettingError):
            Query(**wrong)  # type: ignore[arg-type]


def test_lines_that_cannot_match_are_not_parsed() -> None:
    """What is left of many lines is the one; a malformed one that cannot match, not."""
    lines = [json.dumps(make_record(n)).encode() for n in range(100)]
    lines[7] = lines[7].replace(b"openai", b"groq")
    lines[8] = b'{"torn'
    data = b"\n".join(lines)
    stretch = Stretch(0, data, 0, len(data), "newline")

    blocks = list(Screen(Query(provider="groq")).blocks(stretch))

    assert [block.lines for block in blocks] == [[lines[7]]]
    assert blocks[0].offset == sum(len(line) + 1 for line in lines[:7])


def test_an_escape_that_is_nowhere_is_looked_for_once() -> None:
    """Not in each line that has another one, as ``\\/`` of other programs."""
    line = json.dumps(make_record(message="a/b")).replace("/", "\\/").encode() + b"\n"
    data = line * 100
    looked: list[bytes] = []

    def finder(data: bytes) -> Any:
        def find(what: bytes, position: int) -> int:
            looked.append(what)
            return data.find(what, position)

        return find

    with mock.patch("tokenpak.telemetry.read.needles.finder", finder):
        blocks = Screen(Query(provider="a/b")).blocks(
            Stretch(0, data, 0, len(data) - 1, "newline")
        )

    assert len(blocks) == looked.count(b"\\/") == 100
    assert len(looked) < 110


@pytest.mark.parametrize("value", ["groq", "Ab/1", "a-b", "naïve", 'q"', "\x1b[0m"])
@pytest.mark.parametrize("upper", [False, True])
def test_a_value_is_found_whichever_of_its_characters_is_escaped(
    value: str, upper: bool
) -> None:
    """Among many lines with escapes that stand for something else."""
    others = [make_record(n, message="\x1b[31mred é") for n in range(40)]
    lines = [
        json.dumps(record, ensure_ascii=n % 2 == 0).encode()
        for n, record in enumerate(others)
    ]
    spellings = [json.dumps(value), json.dumps(value, ensure_ascii=False)]
    for place, char in enumerate(value):
        code = f"\\u{ord(char):04{'X' if upper else 'x'}}"
        parts = [json.dumps(part)[1:-1] for part in (value[:place], value[place + 1 :])]
        spellings.append(f'"{parts[0]}{code}{parts[1]}"')
    wanted = []
    for n, spelling in enumerate(spellings):
        line = lines[3 * n + 1].replace(b'"openai"', spelling.encode())
        assert json.loads(line)["context"]["provider"] == value
        lines[3 * n + 1] = line
        wanted.append(line)
    data = b"\n".join(lines)
    stretch = Stretch(0, data, 0, len(data), "newline")

    with mock.patch.object(search, "WORTH_BYTES", 0):
        blocks = list(Screen(Query(provider=value)).blocks(stretch))

    left = [line for block in blocks for line in block.lines]
    assert [line for line in left if line in wanted] == wanted
    if value == "groq":
        assert left == wanted
    for block in blocks:
        (line,) = block.lines
        assert data[block.offset :].startswith(line)


@pytest.mark.parametrize("what", ["provider", "since"])
def test_lines_in_the_middle_of_a_chunk_are_where_they_are(what: str) -> None:
    """What is before and behind them in it is not theirs, and is not looked at."""
    lines = as_lines([make_record(n) for n in range(9)]).splitlines()
    data = b"\n".join(lines)
    start = data.index(lines[3])
    stop = data.index(lines[6]) - 1
    stretch = Stretch(1000, data, start, stop, "newline")
    query = (
        Query(provider="openai")
        if what == "provider"
        else Query(since=datetime(2026, 3, 24, 17, 35, 22, 4, UTC))
    )

    blocks = list(Screen(query).blocks(stretch))

    first = 3 if what == "provider" else 4
    assert [block.lines for block in blocks] == [[line] for line in lines[first:6]]
    assert [block.offset - 1000 + start for block in blocks] == [
        data.index(line) for line in lines[first:6]
    ]


def test_a_condition_can_be_made_without_text() -> None:
    """From its parts, which are checked, too."""
    with pytest.raises(SettingError):
        Condition("n", "~", "7")  # type: ignore[arg-type]
    assert Query(where=[Condition("n", ">", "7")]).conditions[0].number == 7


def test_the_first_and_the_last_records_are_those_in_time(tmp_path: Path) -> None:
    """Not in the file; also over days, and from Python."""
    for day in ("2026-03-23", "2026-03-24"):
        records = [make_record(n, day) for n in (3, 1, 2)]
        text = "".join(json.dumps(record) + "\n" for record in records)
        write_log(tmp_path, text.encode(), day)

    first, _ = read_all(tmp_path, Query(limit=4))
    last, _ = read_all(tmp_path, Query(last=4))

    assert [r["request_id"] for r in first] == ["req-1", "req-2", "req-3", "req-1"]
    assert [r["request_id"] for r in last] == ["req-3", "req-1", "req-2", "req-3"]
    assert read_all(tmp_path, Query(limit=0))[0] == []
    assert read_all(tmp_path, Query(last=0))[0] == []


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-06-30T23:59:60.000000Z",
        "2026-06-31T12:00:00.000000Z",
        "2026-07-01T24:30:00.000000Z",
        "2026-13-01T12:00:00.000000Z",
        "0000-06-30T12:00:00.000000Z",
        "2025-02-29T12:00:00.000000Z",
    ],
)
def test_a_time_that_there_is_not_counts_as_of_its_files_day(
    tmp_path: Path, stamp: str
) -> None:
    """Also where it has the form of the logger's: a leap second, the 31st of June."""
    day = date(2026, 6, 30)
    write_log(tmp_path, as_lines([make_record(timestamp=stamp)]), str(day))

    assert len(read_all(tmp_path, Query(since=day, until=day))[0]) == 1
    assert len(read_all(tmp_path, Query(since=day, last=1))[0]) == 1


def test_each_time_that_there_is_is_canonical_but_leap_days() -> None:
    """And none that there is not: the order of the texts is that of the times."""
    for year in (1, 4, 1900, 2000, 2026, 9999, 0):
        for month in range(14):
            for day in range(33):
                stamp = f"{year:04}-{month:02}-{day:02}T23:59:59.999999Z"
                try:
                    datetime.fromisoformat(stamp)
                except ValueError:
                    there = False
                else:
                    there = (month, day) != (2, 29)
                assert bool(is_canonical(stamp)) is there, stamp
