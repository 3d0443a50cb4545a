"""
What went wrong, since when, at which provider, at what cost: a log, summed up.

    from tokenpak.telemetry.read import Query, parse_when
    from tokenpak.telemetry.report import make_report

    report = make_report("/var/log/app", Query(since=parse_when("2026-03-24")))
    for kind in report.new:
        print(kind.first, kind.error_type, kind.message, kind.now)

``window`` says which times are compared, ``gather`` reads (in several processes:
``parallel``), ``tally`` counts, by what ``kinds`` calls the same failure; ``summary``
adds up and judges, by ``chance`` and ``quantiles``.  What comes out is the ``model``.
``text``, ``tables`` and ``page`` show it; what a log says is made visible first.
"""

from __future__ import annotations

from tokenpak.telemetry.report.make import HISTORY, as_json, make_report
from tokenpak.telemetry.report.model import (
    Cell,
    Count,
    Health,
    Kind,
    Place,
    Report,
    Rise,
    Spread,
)

__all__ = [
    "HISTORY",
    "Cell",
    "Count",
    "Health",
    "Kind",
    "Place",
    "Report",
    "Rise",
    "Spread",
    "as_json",
    "make_report",
]
