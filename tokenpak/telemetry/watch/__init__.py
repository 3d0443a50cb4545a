"""
Beside the way of a record: the log is watched, and somebody is told.

``follow`` reads what was appended, ``windows`` counts it and judges the counts by
``baseline`` and ``chance``, ``conditions`` makes alerts of that, ``outbox`` tells them
to ``targets`` in their ``forms``, ``memory`` keeps the state, and ``watcher`` is the
loop's body.  Only read: no logger is started, and the log is not changed.
"""

from __future__ import annotations

from tokenpak.telemetry.watch.alerts import Alert
from tokenpak.telemetry.watch.memory import Memory
from tokenpak.telemetry.watch.rules import CRITICAL_KINDS, CRITICAL_TYPES, Rules
from tokenpak.telemetry.watch.targets import (
    Command,
    NotToldError,
    Target,
    alertmanager,
    slack,
    webhook,
)
from tokenpak.telemetry.watch.watcher import LEARN_DAYS, Watcher

__all__ = [
    "CRITICAL_KINDS",
    "CRITICAL_TYPES",
    "LEARN_DAYS",
    "Alert",
    "Command",
    "Memory",
    "NotToldError",
    "Rules",
    "Target",
    "Watcher",
    "alertmanager",
    "slack",
    "webhook",
]
