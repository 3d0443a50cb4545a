"""
What must be reached: each target as a row that is computed from the scenarios' figures.

The table at the head of the page is made from these, so that the suite itself says what
falls short.  A target whose scenario was not run, or whose peers are not installed, is
shown as not measured, and never as met.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.adapters import OURS, PEERS
from bench.harness import Outcome
from bench.model import Row, Samples, at_least, at_most
from bench.rows import difference_row, ratio_row, rival_row, total_row, value_row
from bench.scenarios import loop_lag, read_export, redaction

Results = Mapping[str, Samples]
"""The figures of each scenario that was run, by its name."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One target: in words, from which scenario, and how it is computed."""

    text: str
    scenario: str
    row: Callable[[Samples], Row]


def _of_format(samples: Samples) -> Row:
    return ratio_row(
        samples,
        "in % of `format_exception`",
        (OURS, "median"),
        (OURS, "format_median"),
        at_most(2.5),
        percent=True,
    )


def _rival(
    label: str, figure: str, limit: float, *, highest: bool = False
) -> Callable[[Samples], Row]:
    def row(samples: Samples) -> Row:
        target = at_least(limit)
        return rival_row(samples, label, figure, target, highest=highest)

    return row


def _ratio(
    label: str,
    above: tuple[str, str],
    below: tuple[str, str],
    *,
    most: float | None = None,
    least: float | None = None,
    percent: bool = False,
) -> Callable[[Samples], Row]:
    target = at_most(most) if most is not None else None
    if least is not None:
        target = at_least(least)

    def row(samples: Samples) -> Row:
        return ratio_row(samples, label, above, below, target, percent=percent)

    return row


def _value(
    label: str, key: tuple[str, str], unit: str, limit: float, factor: float = 1.0
) -> Callable[[Samples], Row]:
    def row(samples: Samples) -> Row:
        return value_row(samples, label, key, unit, at_most(limit), factor=factor)

    return row


def _added_lag(samples: Samples) -> Row:
    return difference_row(
        samples,
        "p99, over the loop without a logger",
        (OURS, "p99"),
        (loop_lag.CONTROL, "p99"),
        "ms",
        at_most(0.5),
        factor=1e3,
    )


def _sum(label: str, *figures: str) -> Callable[[Samples], Row]:
    """Return the sum of the figures over all of our measurements of a scenario."""

    def row(samples: Samples) -> Row:
        keys = [
            (name, figure)
            for name, rounds in samples.items()
            if name.partition(", ")[0] not in {*PEERS, "os.write", "deque"}
            for figure in figures
            if rounds and figure in rounds[0]
        ]
        return total_row(samples, label, keys, at_most(0))

    return row


_SPEED = "`log_error`, ten frames, repeated: median"
_TAIL = "p99.9 of the call at 1,000 a second"
_FILE = "records a second to the file"
_SHOWN = "`tail -f` shows a record after the call"
_WRONG = "lost or doubled"
_DROPPED = "dropped at full speed, default settings"

GOALS: Sequence[Goal] = (
    Goal(
        _SPEED, "caller_burst", _rival("the fastest peer ({}), over ours", "median", 15)
    ),
    Goal(_SPEED, "caller_burst", _of_format),
    Goal(
        "the same, 200 call sites in turn",
        "caller_sites",
        _ratio("over one site", (OURS, "many"), (OURS, "same"), most=1.3),
    ),
    Goal(
        "a stack seen for the first time",
        "caller_first",
        _ratio(
            "over `format_exception`",
            (OURS, "median"),
            (OURS, "format_median"),
            most=1.1,
        ),
    ),
    Goal(
        "`log_event`: median",
        "caller_events",
        _ratio(
            "over `orjson.dumps` and a copy into a mapping",
            (OURS, "median"),
            (OURS, "copy_median"),
            most=3.0,
        ),
    ),
    Goal(
        "`log_event`, without redaction: median",
        "caller_events",
        _ratio(
            "over `orjson.dumps` and a copy into a mapping",
            (OURS, "off_median"),
            (OURS, "copy_median"),
            most=2.0,
        ),
    ),
    Goal(
        "a failure that storm control holds back: median",
        "caller_storm",
        _ratio(
            "in % of a recorded one",
            (OURS, "same"),
            (OURS, "full"),
            most=50,
            percent=True,
        ),
    ),
    Goal(
        "redaction, nothing to redact, short texts: median",
        "redaction",
        _ratio(
            "of the call without",
            (redaction.SAME, "with"),
            (redaction.SAME, "without"),
            most=120,
            percent=True,
        ),
    ),
    Goal(
        "redaction, a provider's answer, UUIDs and numbers: median",
        "redaction",
        _ratio(
            "of the call without",
            (redaction.SERVICE, "with"),
            (redaction.SERVICE, "without"),
            most=135,
            percent=True,
        ),
    ),
    Goal(
        redaction.HOSTILE,
        "redaction",
        _value("to search", (redaction.HOSTILE, "with"), "ms", 1, 1e-6),
    ),
    Goal(_TAIL, "caller_paced", _rival("the best peer ({}), over ours", "p999", 1)),
    Goal(
        f"{_TAIL}, four busy threads",
        "caller_busy",
        _rival("the best peer ({}), over ours", "p999", 1),
    ),
    Goal(
        f"{_FILE}, 1 thread",
        "throughput",
        _ratio(
            "of the `os.write` floor's",
            (OURS, "rate"),
            ("os.write", "rate"),
            least=50,
            percent=True,
        ),
    ),
    Goal(
        f"{_FILE}, 1 thread",
        "throughput",
        _rival("over the fastest peer ({})", "rate", 12, highest=True),
    ),
    Goal(
        f"{_FILE}, 8 threads",
        "threads",
        _ratio(
            "over one thread",
            (f"{OURS}, 8 threads", "rate"),
            (f"{OURS}, 1 thread", "rate"),
            least=1,
        ),
    ),
    Goal(
        f"{_FILE}, 4 processes, one file",
        "processes",
        _ratio(
            "over one process",
            (f"{OURS}, 4 processes", "rate"),
            (f"{OURS}, 1 process", "rate"),
            least=1.7,
        ),
    ),
    Goal(
        f"{_FILE}, 8 processes, one file",
        "processes",
        _ratio(
            "over four processes",
            (f"{OURS}, 8 processes", "rate"),
            (f"{OURS}, 4 processes", "rate"),
            least=1,
        ),
    ),
    Goal("event loop lag at 5,000 errors a second", "loop_lag", _added_lag),
    Goal(
        "event loop lag at 5,000 errors a second",
        "loop_lag",
        _rival("p99 of the best peer ({}), over ours", "p99", 1),
    ),
    Goal(
        "slow-down of a thread that computes",
        "cpu_bound",
        _value("over the work itself", (OURS, "slowdown"), "%", 3, 100),
    ),
    Goal(
        "memory, in use",
        "memory",
        _value("over the import", ("tokenpak, in use", "grown"), "MiB", 8, 1 / 1024),
    ),
    Goal(
        "memory, flat",
        "memory",
        _value(
            "the last nine tenths, over the first",
            ("tokenpak, in use", "flat"),
            "MiB",
            1,
            1 / 1024,
        ),
    ),
    Goal(
        _SHOWN, "follow", _value("longest", ("follow", "usual_max"), "ms", 1000, 1e-6)
    ),
    Goal(
        f"{_SHOWN}, while nobody can append",
        "follow",
        _value("longest", ("follow", "held_max"), "ms", 1000, 1e-6),
    ),
    Goal(
        "`tail -f`, idle",
        "follow",
        _value("of a core", ("follow", "idle"), "%", 0.5, 100),
    ),
    Goal("export of a gigabyte", "read_export", read_export.over_jq),
    Goal("export of a gigabyte", "read_export", read_export.over_duckdb),
    Goal("export of one provider in twenty", "read_export", read_export.over_all),
    Goal("export of one day of sixty", "read_export", read_export.over_day),
    Goal("export of a gigabyte", "read_export", read_export.first_row),
    Goal("export of a gigabyte", "read_export", read_export.memory),
    *(
        Goal(_WRONG, name, _sum(f"in `{name}`", "lost", "doubled"))
        for name in (
            *("threads", "processes", "deaths", "kill", "fork", "interrupted"),
            *("outage", "follow"),
        )
    ),
    Goal(_WRONG, "throughput", _sum("in `throughput`", "missing")),
    *(
        Goal(_DROPPED, name, _sum(f"in `{name}`", "dropped"))
        for name in ("throughput", "threads", "processes")
    ),
    Goal(
        "a report of 1,000,000 errors",
        "report_time",
        _ratio(
            "over an unfiltered `export --format jsonl`",
            ("both", "report"),
            ("both", "export"),
            most=1.5,
        ),
    ),
)


def judge(
    results: Results,
    notes: Mapping[str, Mapping[str, str]],
    only: Collection[str] | None = None,
) -> list[Row]:
    """
    Return a row for each target, labelled with the target in words.

    Args:
        results: the figures of the scenarios that were run.
        notes: why measurements of them are missing, by scenario.
        only: the scenarios whose targets are wanted; all if None.

    """
    rows = []
    for goal in GOALS:
        if only is not None and goal.scenario not in only:
            continue
        row = goal.row(results.get(goal.scenario, {}))
        label = f"{goal.text}: {row.label}"
        note = row.note
        if row.value is None:
            found = [
                notes[goal.scenario][source]
                for source in row.sources
                if source in notes.get(goal.scenario, {})
            ]
            note = f"not measured: {found[0]}" if found else "not measured"
            if goal.scenario not in results:
                note = f"not measured: `{goal.scenario}` was not run"
        rows.append(replace(row, label=label, note=note))
    return rows


def judge_outcomes(
    outcomes: Sequence[Outcome], only: Collection[str] | None = None
) -> list[Row]:
    """Return a row for each target, or for those of the scenarios *only*."""
    done = [outcome for outcome in outcomes if not outcome.failure]
    return judge(
        {outcome.scenario.name: outcome.samples for outcome in done},
        {outcome.scenario.name: outcome.notes for outcome in done},
        only,
    )


__all__ = ["GOALS", "Goal", "Results", "judge", "judge_outcomes"]
