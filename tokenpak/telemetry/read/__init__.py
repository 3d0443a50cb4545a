"""
4: lines become records again, whatever happened to the file.

    from tokenpak.telemetry.read import MalformedLine, Query, iter_records, parse_when

    query = Query(since=parse_when("2026-03-01"), provider="anthropic")
    for item in iter_records("/var/log/app", query):
        if isinstance(item, dict):
            print(item["timestamp"], item["error_type"])

The way of a byte: ``source`` opens the files of a day, ``chunks`` reads and
decompresses, ``lines`` splits, ``records`` decodes, ``salvage`` finds what is intact in
a line that does not decode, ``filter`` chooses; ``reader`` is the loop around them, and
``export`` writes out what comes, in the shapes of ``render``, made ``strict``.
"""

from tokenpak.telemetry.read.export import Exported, export_records, export_to_file
from tokenpak.telemetry.read.filter import Query, parse_when
from tokenpak.telemetry.read.reader import iter_records
from tokenpak.telemetry.read.records import (
    Damage,
    MalformedLine,
    Record,
    UnreadableFile,
)
from tokenpak.telemetry.read.render import FORMATS, Format

__all__ = [
    "FORMATS",
    "Damage",
    "Exported",
    "Format",
    "MalformedLine",
    "Query",
    "Record",
    "UnreadableFile",
    "export_records",
    "export_to_file",
    "iter_records",
    "parse_when",
]
