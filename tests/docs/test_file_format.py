"""What docs/reference/file-format.md says of the bytes is what they are."""

from __future__ import annotations

import json
import os
import struct
from datetime import date, datetime
from pathlib import Path

import orjson
import pytest

from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.queue.notice import notice_line
from tokenpak.telemetry.read import Query, iter_records
from tokenpak.telemetry.read.records import FIELDS
from tokenpak.telemetry.settings import SEGMENT_BYTES
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.names import EVENTS, STREAMS, parse_log_name
from tokenpak.telemetry.store.notes import DROP_REASONS, VERSION, Drops
from tokenpak.telemetry.store.spool import HEAD_BYTES, SpoolFile

from .pages import DOCS, Block, blocks_of, rows_of, sections_of

PAGE = DOCS / "reference" / "file-format.md"
SECTIONS = sections_of(PAGE)
NOTE_WORDS = ("device", "inode", "offset", "first", "start", "last", "end")
DROP_WORDS = ("count", "told", "since", "until")
FURTHER = tuple(
    name
    for row in rows_of(SECTIONS["Further fields"])
    for name in row[-3].split("`")[1::2]
)
EXAMPLES = [block for block in blocks_of(PAGE) if "example" in block.marks]


def _words(section: str) -> dict[str, int]:
    """Return the numbers that the table of *section* gives to names."""
    return {name: int(number) for number, name, _ in rows_of(SECTIONS[section])}


def test_the_fields_are_those_of_the_code() -> None:
    """The tables list the fields of both streams in their order."""
    names = [row[0].strip("`") for row in rows_of(SECTIONS["Fields"])]

    assert tuple(names) == FIELDS["errors"] + FIELDS["events"]


def test_the_names_of_log_files_are_understood() -> None:
    """Each name in the table of files is what the reader takes it for."""
    paths = [row[0].strip("`") for row in rows_of(SECTIONS["Files"])]
    files = [parse_log_name(path) for path in paths]

    assert [file and (file.stream, file.part, file.compressed) for file in files] == [
        ("errors", 0, False),
        ("events", 0, False),
        ("errors", 0, True),
        ("errors", 1, True),
        None,
    ]


@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_an_example_is_read_as_what_it_shows(block: Block, tmp_path: Path) -> None:
    """The reader finds a record in each line, with the fields in their order."""
    stream = block.marks["example"]
    lines = block.text.splitlines()
    (tmp_path / f"{stream}-2026-03-24.jsonl").write_text(block.text)

    records = list(iter_records(tmp_path, Query(stream=stream)))
    fields = FIELDS[stream] + (FURTHER if block.heading == "Further fields" else ())

    assert records == [json.loads(line) for line in lines]
    assert [tuple(record) for record in records if isinstance(record, dict)] == [
        fields
    ] * len(lines)


@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_an_example_has_the_form_of_what_the_logger_writes(block: Block) -> None:
    """No space, no key twice: encoding the record again gives the same bytes."""
    for line in block.text.splitlines():
        assert orjson.dumps(orjson.loads(line)).decode() == line


def test_the_events_are_what_the_logger_writes_for_them() -> None:
    """Logging what the examples of events hold makes these lines, byte for byte."""
    (block,) = (block for block in EXAMPLES if block.marks["example"] == EVENTS)
    for line in block.text.splitlines():
        record = json.loads(line)
        encoder = _encoder_at(record["timestamp"])

        made = encoder.event(record["event"], record["request_id"], record["context"])
        assert made.decode() == line + "\n"


def test_the_notice_of_drops_is_what_the_logger_writes() -> None:
    """The example of a RecordsDropped record is made from its own numbers."""
    (block,) = (block for block in EXAMPLES if block.heading == "Drops")
    record = json.loads(block.text)
    context = record["context"]
    drops = Drops(
        context["reason"],
        context["dropped"],
        0,
        _nanoseconds(context["since"]),
        _nanoseconds(context["until"]),
    )
    encoder = _encoder_at(record["timestamp"])

    assert notice_line(encoder, "errors", drops, context["pid"]).decode() == block.text


def _encoder_at(stamp: str) -> Encoder:
    return Encoder(32_000, lambda: _nanoseconds(stamp))


def _nanoseconds(stamp: str) -> int:
    moment = datetime.fromisoformat(stamp)
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1_000


def test_the_head_of_a_spool_is_where_the_page_says(tmp_path: Path) -> None:
    """Each word of the head is found in the file under the number that is given."""
    word, note, drops = _words("Head"), _words("Notes"), _words("Drop counts")
    files = OsFiles()
    spool = SpoolFile.create(files, str(tmp_path), EVENTS, 32)
    notes = spool.notes
    notes.begin("2026-03-24", (41, 42), 43, (44, 45), (46, 47))
    notes.done()
    notes.begin("2026-03-25", (51, 52), 53, (54, 55), (56, 57))
    notes.set_slot(0, 61)
    notes.set_slot(31, 62)
    for number, reason in enumerate(DROP_REASONS):
        notes.set_drops(reason, 71 + number, 81 + number, 91 + number)
        notes.set_told(reason, 1 + number)

    (path,) = tmp_path.iterdir()
    head = struct.unpack(f"={HEAD_BYTES // 8}Q", path.read_bytes()[:HEAD_BYTES])
    spool.remove()

    assert struct.pack("=Q", head[word["magic"]]) == b"TPSPOOL\0"
    assert head[word["version"]] == VERSION
    assert head[word["segment bytes"]] == SEGMENT_BYTES
    assert head[word["slot count"]] == 32
    assert STREAMS[head[word["stream"]]] == EVENTS
    assert head[word["process"]] == os.getpid()
    assert head[word["start"]] > 0
    assert head[word["switch"]] == 2 * 2  # the second note, which is not done
    for place, day, base in (("odd note", 24, 41), ("even note", 25, 51)):
        at = word[place]
        assert head[at + note["day"]] == date(2026, 3, day).toordinal()
        assert [head[at + note[name]] for name in NOTE_WORDS] == [
            *range(base, base + len(NOTE_WORDS))
        ]
    for number in range(len(DROP_REASONS)):
        at = word["drops"] + len(drops) * number
        assert [head[at + drops[name]] for name in DROP_WORDS] == [
            71 + number,
            1 + number,
            81 + number,
            91 + number,
        ]
    assert (head[word["slots"]], head[word["slots"] + 31]) == (61, 62)


def test_the_reasons_of_drops_are_listed_in_their_order() -> None:
    """Their order is that of the words."""
    sentence = SECTIONS["Drop counts"].strip().splitlines()[0]

    assert sentence.split("`")[1::2] == list(DROP_REASONS)


def test_a_segment_is_where_the_page_says(tmp_path: Path) -> None:
    """Lines that are put into a slot are at the offset that the table gives."""
    (_, head_bytes, _), (offset, slot_bytes, _) = rows_of(SECTIONS["The spool"])
    size = int(slot_bytes.replace(",", ""))
    start = int(offset.split()[0].replace(",", ""))
    spool = SpoolFile.create(OsFiles(), str(tmp_path), EVENTS, 3)
    spool.reserve(0, 3)
    segment = spool.map(2, 1)
    segment.write(b'{"a":1}\n')

    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    spool.remove()

    assert start == int(head_bytes.replace(",", ""))
    assert content[start + 2 * size :].rstrip(b"\0") == b'{"a":1}\n'
    assert len(content) == start + 3 * size
