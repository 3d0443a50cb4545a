"""The rules are what Prometheus takes, and each fires when it should, and only then."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tokenpak.cli import main
from tokenpak.telemetry.alerts.promql import pattern, span, string
from tokenpak.telemetry.alerts.rule_tests import cases
from tokenpak.telemetry.alerts.rules import alert_rules, rules_yaml
from tokenpak.telemetry.alerts.thresholds import Thresholds
from tokenpak.telemetry.alerts.yaml import dump, quoted
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.metrics.families import FAMILIES

ERRORS, WRITERS = "tokenpak_errors_total", "tokenpak_telemetry_writers"
SPIKE = "TokenpakErrorSpike"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool (Debian: prometheus) is not installed"
)
SHORT = ["--window", "5s", "--usual", "10s", "--interval", "1s", "--no-writer", "5s"]


def promtool(*arguments: str) -> str:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="default"),
        # What promtool is given is the same text whatever the Python.
        pytest.param([*SHORT, "--job", 'a"b\\c'], id="short", marks=pytest.mark.heavy),
        pytest.param(
            [
                *("--critical", "X*.?[a]", "--hold", "2m"),
                *("--auth-count", "1", "--budget", "0"),
            ],
            id="odd",
            marks=pytest.mark.heavy,
        ),
    ],
)
def test_watch_rules_fire_and_are_silent_as_their_tests_say(
    tmp_path: Path, options: list[str]
) -> None:
    """Promtool checks the rules, and runs the tests that come with them."""
    rules, tests = tmp_path / "rules.yml", tmp_path / "tests.yml"
    for extra in (["-o", str(rules)], ["--tests", "rules.yml", "-o", str(tests)]):
        result = CliRunner().invoke(main, ["telemetry", "rules", *options, *extra])
        assert (result.exit_code, result.output) == (0, "")

    assert f"{len(alert_rules(Thresholds()))} rules found" in promtool(
        "check", "rules", str(rules)
    )
    assert "SUCCESS" in promtool("test", "rules", str(tests))


@needs_promtool
def test_watch_rules_tests_can_fail(tmp_path: Path) -> None:
    """A threshold that differs between rules and tests is seen."""
    short: dict[str, Any] = {"window": 5, "usual": 10, "interval": 60}
    (tmp_path / "rules.yml").write_text(
        rules_yaml(Thresholds(**short, auth_count=10_000))
    )
    result = CliRunner().invoke(
        main, ["telemetry", "rules", *SHORT, "--tests", "rules.yml"]
    )
    head, *groups = result.output.split("\n  - name: ")
    some = [group for group in groups if "Auth" in group]
    tests = tmp_path / "tests.yml"
    tests.write_text("\n  - name: ".join([head, *some]) + "\n")

    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, "test", "rules", str(tests)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 < len(some) < len(groups)
    assert done.returncode != 0
    assert "FAILED" in done.stdout + done.stderr


def test_watch_rules_each_have_tests_of_both_kinds() -> None:
    """Firing and silent, and texts for whoever is woken."""
    limits = Thresholds()
    for rule in alert_rules(limits):
        of_rule = [case.firing for case in cases(limits) if case.rule == rule.name]
        assert set(of_rule) == {0, 1}, rule.name
        assert rule.severity in {"critical", "warning"}
        assert len(rule.runbook) > 40
        assert rule.summary
        assert rule.description


def test_watch_rules_ask_for_metrics_that_there_are() -> None:
    """By the names and labels of the exposition."""
    known = {family.sample: set(family.labels) for family in FAMILIES}
    for case in cases(Thresholds()):
        for series in case.series:
            name, _, labels = series.partition("{")
            if name == "up":
                continue
            assert name in known, name
            used = {part.split("=")[0] for part in labels.rstrip("}").split(", ")}
            assert used - {"job", "instance"} <= known[name], series


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--window", "five"], "span of time"),
        (["--window", "1h", "--usual", "5m"], "--usual"),
        (["--spike-factor", "0"], "--spike-factor"),
        (["--spike-factor", "nan"], "--spike-factor"),
        (["--budget", "-1"], "--budget"),
    ],
)
def test_watch_rules_with_thresholds_that_make_no_sense_are_refused(
    options: list[str], says: str
) -> None:
    """Exit status 2, with what is expected."""
    result = CliRunner().invoke(main, ["telemetry", "rules", *options])

    assert result.exit_code == 2
    assert says in result.output


def test_watch_rules_that_cannot_be_written_say_so(tmp_path: Path) -> None:
    """Exit status 1, and no half of a file."""
    output = tmp_path / "no" / "rules.yml"

    result = CliRunner().invoke(main, ["telemetry", "rules", "-o", str(output)])

    assert result.exit_code == 1
    assert "cannot be written" in result.output


@pytest.mark.parametrize("command", ["rules", "dashboard"])
def test_watch_what_is_written_replaces_nothing_but_its_file(
    command: str, tmp_path: Path
) -> None:
    """A link leads to it still, and what is called like a temporary file stays."""
    (tmp_path / "real").write_text("before")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "link.tmp").write_text("of somebody")

    CliRunner().invoke(main, ["telemetry", command, "-o", str(tmp_path / "link")])

    assert (tmp_path / "link").readlink() == Path("real")
    assert "tokenpak_errors_total" in (tmp_path / "real").read_text()
    assert (tmp_path / "link.tmp").read_text() == "of somebody"
    assert len(list(tmp_path.iterdir())) == 3


def test_watch_thresholds_refuse_an_empty_list() -> None:
    """A rule without a type would match everything."""
    with pytest.raises(SettingError, match="critical"):
        Thresholds(critical=())


@given(text=st.text())
def test_watch_any_text_is_one_quoted_line_of_yaml(text: str) -> None:
    """Nothing in it ends the string, the line or the document."""
    line = quoted(text)

    assert line.isprintable()
    line.encode()
    assert line[0] == line[-1] == '"'
    inside = line[1:-1].replace("\\\\", "").replace('\\"', "")
    assert '"' not in inside


def test_watch_yaml_is_laid_out_as_one_reads_it() -> None:
    """Nested mappings and lists, comments above."""
    data = {"a": [{"b": "x: #\n", "c": []}, {"d": 1}], "e": {"f": {}}}

    assert dump(data, "why\n\nnot") == (
        '# why\n#\n# not\na:\n  - b: "x: #\\n"\n    c: []\n  - d: 1\ne:\n  f: {}\n'
    )


def test_watch_pieces_of_promql() -> None:
    """Times, strings and patterns as Prometheus reads them."""
    assert [span(n) for n in (0, 1, 90, 300, 7200, 86_400)] == [
        *("0s", "1s", "90s", "5m", "2h", "1d"),
    ]
    assert string('a"\\\n\x1b\ud800') == '"a\\"\\\\\\n\\U0000001b?"'
    assert pattern(("A*", "b.c?")) == r"A.*|b\.c."
    # A byte of the command line that is no text; as "?" it would be no expression.
    assert pattern(("\udcff",)) == "."


@needs_promtool
def test_watch_a_spike_is_told_of_where_every_second_scrape_fails(
    tmp_path: Path,
) -> None:
    """What the last one that succeeded has seen is known, for some minutes."""
    limits = Thresholds(usual=3_600)
    steps = 150
    counts = [n if n < 130 else n + 200 * (n - 129) for n in range(steps)]
    series = {
        ERRORS + '{job="app", instance="a", error_type="E"}': counts,
        WRITERS + '{job="app", instance="a", stream="errors"}': [1] * steps,
    }
    (tmp_path / "rules.yml").write_text(rules_yaml(limits))
    (tmp_path / "tests.yml").write_text(
        dump(
            {
                "rule_files": ["rules.yml"],
                "evaluation_interval": "1m",
                "tests": [
                    {
                        "interval": "1m",
                        "input_series": [
                            {
                                "series": name,
                                "values": " ".join(
                                    "stale" if at % 2 else str(value)
                                    for at, value in enumerate(values)
                                ),
                            }
                            for name, values in series.items()
                        ],
                        "promql_expr_test": [
                            {
                                "expr": f'count(ALERTS{{alertname="{SPIKE}"}}) or '
                                "vector(0)",
                                "eval_time": f"{minute}m",
                                "exp_samples": [{"labels": "{}", "value": firing}],
                            }
                            for minute, firing in ((128, 0), (134, 1), (140, 1))
                        ],
                    }
                ],
            }
        )
    )

    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "tests.yml"))
