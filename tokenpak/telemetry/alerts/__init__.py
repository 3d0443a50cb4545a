"""
What Prometheus and Grafana are told of our metrics: alert rules, and a dashboard.

``rules`` are made by ``thresholds`` of the pieces in ``promql``, and have unit tests of
their own (``rule_tests``); ``dashboard`` shows the ``panels``.  Texts only: nothing
here reads a log or asks a server.
"""

from __future__ import annotations

from tokenpak.telemetry.alerts.dashboard import dashboard_json
from tokenpak.telemetry.alerts.rule_tests import tests_yaml
from tokenpak.telemetry.alerts.rules import rules_yaml
from tokenpak.telemetry.alerts.thresholds import Thresholds

__all__ = ["Thresholds", "dashboard_json", "rules_yaml", "tests_yaml"]
