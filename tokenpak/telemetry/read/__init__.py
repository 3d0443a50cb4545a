"""
4: lines become records again, whatever happened to the file.

    from tokenpak.telemetry.read import MalformedLine, Query, iter_records, parse_when

    query = Query(since=parse_when("2026-03-01"), provider="anthropic")
    for item in iter_records("/var/log/app", query):
        if isinstance(item, dict):
            print(item["timestamp"], item["error_type"])

The way of a byte: ``source`` opens the files of a day, ``chunks`` reads and
decompresses, ``lines`` splits, ``needles`` leaves out what cannot match, ``records``
decodes, ``salvage`` finds what is intact in a line that does not decode, ``filter``
chooses; ``scan`` is the loop around them, ``reader`` the one around the days.
``pending`` adds what waits in spools.

``export`` writes out what comes, in the shapes of ``render``, made ``strict``: ``rows``
makes them, ``order`` puts those of a day in time order, ``select`` those of a query,
and ``parallel`` lets several processes do so.  ``verify`` says what is wrong, and
``repair`` copies what is not.  ``follow`` shows what comes, and ``sql`` lets DuckDB
ask.  What people see is made ``visible`` first.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tokenpak.telemetry.read.export import Exported, export_records, export_to_file
    from tokenpak.telemetry.read.filter import MOST_LAST, QUERY_STREAMS, Query
    from tokenpak.telemetry.read.finding import DAMAGE, KINDS, Finding, Kind
    from tokenpak.telemetry.read.follow import Follower
    from tokenpak.telemetry.read.reader import iter_records
    from tokenpak.telemetry.read.records import (
        Damage,
        MalformedLine,
        Record,
        UnreadableFile,
    )
    from tokenpak.telemetry.read.render import FORMATS, Format
    from tokenpak.telemetry.read.repair import Repaired, repair_log
    from tokenpak.telemetry.read.sql import SqlError, SqlResult, SqlSession
    from tokenpak.telemetry.read.verify import Verification
    from tokenpak.telemetry.read.when import parse_when
    from tokenpak.telemetry.read.where import MISSING, Condition, parse_where, value_at

_PLACES: Final = {
    "DAMAGE": "finding",
    "FORMATS": "render",
    "KINDS": "finding",
    "MISSING": "where",
    "MOST_LAST": "filter",
    "QUERY_STREAMS": "filter",
    "Condition": "where",
    "Damage": "records",
    "Exported": "export",
    "Finding": "finding",
    "Follower": "follow",
    "Format": "render",
    "Kind": "finding",
    "MalformedLine": "records",
    "Query": "filter",
    "Record": "records",
    "Repaired": "repair",
    "SqlError": "sql",
    "SqlResult": "sql",
    "SqlSession": "sql",
    "UnreadableFile": "records",
    "Verification": "verify",
    "export_records": "export",
    "export_to_file": "export",
    "iter_records": "reader",
    "parse_when": "when",
    "parse_where": "where",
    "repair_log": "repair",
    "value_at": "where",
}
"""
In which module each name is.

They are loaded when they are asked for: who wants one thing waits for no other, and
some need the settings, and with them logging, which somebody who only reads can do
without (X1).
"""


if not TYPE_CHECKING:  # who checks types would take any name at all for one

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(f"{__name__}.{_PLACES[name]}")
        value = globals()[name] = getattr(module, name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})


__all__ = [
    "DAMAGE",
    "FORMATS",
    "KINDS",
    "MISSING",
    "MOST_LAST",
    "QUERY_STREAMS",
    "Condition",
    "Damage",
    "Exported",
    "Finding",
    "Follower",
    "Format",
    "Kind",
    "MalformedLine",
    "Query",
    "Record",
    "Repaired",
    "SqlError",
    "SqlResult",
    "SqlSession",
    "UnreadableFile",
    "Verification",
    "export_records",
    "export_to_file",
    "iter_records",
    "parse_when",
    "parse_where",
    "repair_log",
    "value_at",
]
