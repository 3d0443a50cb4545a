"""
Unit tests of the rules, for ``promtool test rules``: each one firing, and silent.

    https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/

They follow the thresholds: whoever changes one sees by them that the rule still works.
An alert is looked for in the series ``ALERTS``, not by its texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tokenpak.telemetry.alerts.promql import span, string
from tokenpak.telemetry.alerts.rules import (
    COST,
    DROPPED,
    ERRORS,
    LAST,
    PENDING,
    PENDING_BYTES,
    PROBLEMS,
    UNTOLD,
    WRITERS,
    alert_rules,
)
from tokenpak.telemetry.alerts.thresholds import HOUR, Thresholds
from tokenpak.telemetry.alerts.yaml import dump

_EVALUATIONS: Final = 40


class Case(NamedTuple):
    """Series, and how many alerts of a rule fire at the end of them."""

    rule: str
    title: str
    series: dict[str, str]
    firing: int


class _Time:
    """
    Steps of the series: history, and then what happens, just before an evaluation.

    A day of evaluations every half a minute would take minutes, so there are few.
    """

    def __init__(self, limits: Thresholds) -> None:
        self.step = max(1, limits.window // 5)
        longest = max(limits.usual + limits.window, HOUR, limits.no_writer)
        longest = max(longest, limits.new_for)
        steps = math.ceil(max(limits.interval, longest / _EVALUATIONS) / self.step)
        self.interval = steps * self.step
        event = (math.ceil(longest / self.interval) + 1) * steps
        self.before = event - 1
        """The index of the last step before it."""
        self.at_once = event * self.step
        """When a rule that holds for no time fires, in seconds."""
        hold = max(rule.hold for rule in alert_rules(limits))
        self.held = self.at_once + math.ceil(hold / self.interval) * self.interval
        """When one fires that must hold."""
        self.after = self.held // self.step - self.before + 1

    def always(self, value: float, slope: float = 0.0) -> str:
        """Return a series without an event."""
        return f"{value:.12g}+{slope:.12g}x{self.before + self.after}"

    def jump(self, slope: float, height: float, then: float) -> str:
        """Return a series that rises by *height* at once, and by *then* from there."""
        at = slope * self.before + height
        return f"0+{slope:.12g}x{self.before} {at:.12g}+{then:.12g}x{self.after - 1}"

    def failed(self, ago: int, value: float, slope: float) -> str:
        """Return a series that a scrape has missed *ago* seconds before the event."""
        at = (self.at_once - ago) // self.step
        rest = self.before + self.after - at - 1
        then = value + slope * (at + 1)
        before = f"{value:.12g}+{slope:.12g}x{at - 1} " if at else ""
        return f"{before}stale {then:.12g}+{slope:.12g}x{rest}"

    def late(self, value: float, slope: float = 0.0) -> str:
        """Return a series that begins with the event."""
        return f"_x{self.before} {value:.12g}+{slope:.12g}x{self.after}"


def cases(limits: Thresholds) -> Iterator[Case]:
    """Yield the cases of all rules."""
    time = _Time(limits)
    instance = {"job": limits.job or "app", "instance": "host:9464"}

    def named(metric: str, **labels: str) -> str:
        texts = [f"{n}={string(v)}" for n, v in {**instance, **labels}.items()]
        return f"{metric}{{{', '.join(texts)}}}"

    def error(error_type: str, provider: str = "openai", kind: str = "timeout") -> str:
        return named(
            ERRORS, error_type=error_type, provider=provider, model="m", kind=kind
        )

    writers, timeouts = named(WRITERS, stream="errors"), error("TimeoutError")
    here = {writers: time.always(1)}
    steady = {timeouts: time.always(0, 1)}
    # One a step is usual, five a window.
    much = math.ceil(limits.spike_factor * 6 + limits.spike_count)
    spike = time.jump(1, much, much)

    rule = "TokenpakErrorSpike"
    yield Case(rule, "many", {**here, error("TimeoutError"): spike}, 1)
    yield Case(
        rule,
        "many, of a type that there was not",
        {**here, **steady, error("NovelError"): time.late(much, much)},
        1,
    )
    yield Case(rule, "as many as always", {**here, **steady}, 0)
    yield Case(
        rule,
        "an instance that is new, with a long history in its counters",
        {writers: time.late(1), timeouts: time.late(1_000_000, much)},
        0,
    )
    missed = {
        writers: time.failed(limits.window, 1, 0),
        timeouts: time.failed(limits.window, 1_000_000, 1),
    }
    yield Case(rule, "as many as always, and a scrape that has failed", missed, 0)

    rule = "TokenpakNewErrorType"
    novel = {error("NovelError"): time.late(1)}
    yield Case(rule, "a new one", {**here, **steady, **novel}, 1)
    yield Case(rule, "more of a known one", {**here, **steady}, 0)
    missed_then = {
        writers: time.failed(limits.new_for, 1, 0),
        timeouts: time.failed(limits.new_for, 1_000_000, 1),
    }
    yield Case(rule, "a known one, and a scrape that has failed", missed_then, 0)

    rule = "TokenpakProviderFailing"
    other = {error("TimeoutError", "anthropic"): time.always(0, 1)}
    yield Case(rule, "one", {**here, **other, error("TimeoutError"): spike}, 1)
    yield Case(
        rule,
        "one that was never called before",
        {**here, **other, error("TimeoutError"): time.late(much, much)},
        1,
    )
    yield Case(rule, "none", {**here, **other, **steady}, 0)
    yield Case(rule, "none, and a scrape that has failed", missed, 0)
    yield Case(rule, "no provider", {**here, **other, error("KeyError", ""): spike}, 0)

    rule = "TokenpakCriticalErrors"
    name = limits.critical[0].replace("*", "X").replace("?", "X")
    yield Case(rule, "the first one", {**here, error(name): time.late(1, 1)}, 1)
    yield Case(rule, "long ago", {**here, error(name): time.always(7)}, 0)

    rule = "TokenpakAuthFailures"
    refused = error("AuthenticationError", kind="auth")
    few = limits.auth_count - 1
    yield Case(
        rule,
        "enough",
        {**here, refused: time.late(limits.auth_count, limits.auth_count)},
        1,
    )
    yield Case(rule, "too few", {**here, refused: time.jump(0, few, 0)}, 0)

    rule = "TokenpakFailedCallBudget"
    allowed = limits.budget / 24 * limits.burn / HOUR * time.step
    failed = named(COST, provider="openai", model="m", stream="errors")
    ended = named(COST, provider="openai", model="m", stream="events")
    yield Case(
        rule, "too fast", {**here, failed: time.always(0, 2 * allowed + 0.01)}, 1
    )
    yield Case(
        rule,
        "slowly enough, whatever other calls cost",
        {**here, failed: time.always(0, allowed / 2), ended: time.always(0, 1_000)},
        0,
    )

    rule = "TokenpakRecordsDropped"
    full = named(DROPPED, reason="queue_full", stream="errors")
    storm = named(DROPPED, reason="storm", stream="errors")
    untold = named(UNTOLD, reason="queue_full", stream="errors")
    yield Case(rule, "told of in the log", {**here, full: time.late(5, 5)}, 1)
    yield Case(rule, "not told of yet", {**here, untold: time.jump(0, 5, 0)}, 1)
    yield Case(
        rule,
        "held back on purpose, or long ago",
        {**here, full: time.always(5), storm: time.always(0, 100)},
        0,
    )

    rule = "TokenpakDiskTrouble"
    size = named(PENDING_BYTES, stream="errors")
    waiting = named(PENDING, stream="errors")
    last = named(LAST)
    now = time.always(0, time.step)
    yield Case(
        rule,
        "much waits",
        {**here, size: time.always(limits.pending_bytes + 1), last: now},
        1,
    )
    stale = time.before * time.step - limits.stuck
    yield Case(
        rule,
        "a record waits, and nothing is written",
        {**here, waiting: time.always(1), last: time.always(max(0, stale) - 1)},
        1,
    )
    yield Case(
        rule,
        "the directory cannot be read",
        {**here, named(PROBLEMS, problem="unreadable_directory"): time.always(1)},
        1,
    )
    yield Case(
        rule,
        "some wait for a moment",
        {**here, waiting: time.always(3), size: time.always(1_000), last: now},
        0,
    )

    rule = "TokenpakNoWriter"
    nobody = {named(WRITERS, stream="errors"): time.always(0)}
    yield Case(rule, "nobody for long", nobody, 1)
    yield Case(rule, "somebody", here, 0)

    rule = "TokenpakMetricsAbsent"
    yield Case(rule, "nothing", {named("up"): time.always(1)}, 1)
    yield Case(rule, "something", here, 0)


def tests_yaml(limits: Thresholds, rules_file: str) -> str:
    """
    Return the tests.

    Args:
        limits: those of the rules.
        rules_file: the name of the file that has the rules, as seen from the tests.

    """
    time = _Time(limits)
    holds = {rule.name for rule in alert_rules(limits) if rule.hold}
    tests: list[dict[str, Any]] = []
    for case in cases(limits):
        alerts = f'ALERTS{{alertname={string(case.rule)}, alertstate="firing"}}'
        expected = [{"labels": "{}", "value": case.firing}] if case.firing else []
        tests.append(
            {
                "name": f"{case.rule}: {case.title}",
                "interval": span(time.step),
                "input_series": [
                    {"series": series, "values": values}
                    for series, values in case.series.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": f"count({alerts})",
                        "eval_time": span(
                            time.held if case.rule in holds else time.at_once
                        ),
                        "exp_samples": expected,
                    }
                ],
            }
        )
    untested = {r.name for r in alert_rules(limits)} - {c.rule for c in cases(limits)}
    assert not untested, untested
    return dump(
        {
            "rule_files": [rules_file],
            "evaluation_interval": span(time.interval),
            "tests": tests,
        },
        "Made by `tokenpak telemetry rules --tests`, for `promtool test rules`.",
    )


__all__ = ["Case", "cases", "tests_yaml"]
