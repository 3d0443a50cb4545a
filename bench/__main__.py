"""
The one command: run scenarios, print the table, keep the results.

Exit code 1 means that a measurement failed, not that a target was missed: the table is
a baseline to argue from, not a gate.  2 is a wrong option.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from datetime import UTC, datetime

from bench import page, report, targets
from bench.adapters import ADAPTERS, FLOORS, PEERS
from bench.environment import describe
from bench.harness import ROOT, Outcome, run_scenario
from bench.model import FULL, QUICK, SMOKE, Effort
from bench.scenarios import MODULES, find_scenario

DOCS_DIR = os.path.join(ROOT, "docs", "reference")
RESULTS_DIR = os.path.join(ROOT, "bench", "results")


def main(argv: list[str] | None = None) -> int:
    """Run what *argv* asks for; return the exit code."""
    options = _parse(argv)
    effort = SMOKE if options.smoke else QUICK if options.quick else FULL
    seed = (
        random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
    )
    loggers = None if options.loggers is None else frozenset(options.loggers)
    before: list[Outcome] = []
    if options.results_from:
        if not options.only:
            return _show_again(options)
        before = _read(options.results_from, effort)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.dir) as directory:
        environment = describe(directory)
        print(f"{environment.line(options.machine)}; {effort.name} run, seed {seed}")
        _show_caveat(effort)
        outcomes: list[Outcome] = []
        for name in options.only or MODULES:
            scenario = find_scenario(name)
            outcome = run_scenario(
                scenario,
                effort,
                directory,
                seed,
                _show_progress,
                loggers,
                options.rounds,
            )
            _show_progress("")
            print(report.table(outcome), flush=True)
            outcome.again = bool(before)
            outcomes.append(outcome)
    _show_targets(outcomes)
    print(f"It took {sum(outcome.seconds for outcome in outcomes):.0f} s.")
    failed = any(outcome.failure for outcome in outcomes)
    measured = {outcome.scenario.name: outcome for outcome in outcomes}
    if before:
        outcomes = [measured.pop(each.scenario.name, each) for each in before]
        outcomes += measured.values()
    os.makedirs(options.results, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    _write(
        os.path.join(options.results, f"{stamp}-{effort.name}.json"),
        report.results(outcomes, environment, effort),
    )
    if options.markdown:
        _write(
            options.markdown,
            page.markdown(outcomes, environment, effort, options.machine),
        )
    if options.write_docs:
        page.write(DOCS_DIR, outcomes, environment, effort, options.machine)
    return 1 if failed else 0


def _read(path: str, effort: Effort) -> list[Outcome]:
    """Return the outcomes of an earlier run, which must be of the same *effort*."""
    with open(path, encoding="utf-8") as file:
        outcomes, _, was = report.read_results(file.read())
    if was != effort:
        sys.exit(f"{path} is of a {was.name} run, and this is a {effort.name} one")
    return outcomes


def _show_again(options: argparse.Namespace) -> int:
    """Show saved results, judged anew; measure nothing."""
    with open(options.results_from, encoding="utf-8") as file:
        outcomes, environment, effort = report.read_results(file.read())
    _show_caveat(effort)
    for outcome in outcomes:
        print(report.table(outcome))
    _show_targets(outcomes)
    if options.markdown:
        text = page.markdown(outcomes, environment, effort, options.machine)
        _write(options.markdown, text)
    if options.write_docs:
        page.write(DOCS_DIR, outcomes, environment, effort, options.machine)
    return 0


def _show_caveat(effort: Effort) -> None:
    if effort.caveat:
        print(f"A {effort.name} run: {effort.caveat}.")


def _show_targets(outcomes: list[Outcome]) -> None:
    done = {outcome.scenario.name for outcome in outcomes}
    rows = targets.judge_outcomes(outcomes, only=done)
    if rows:
        print(report.table_of_targets(rows))
    print(f"\n{report.summary(outcomes)}")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure what is promised in figures."
    )
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--quick", action="store_true", help=QUICK.caveat)
    amount.add_argument(
        "--smoke",
        action="store_true",
        help=f"does it run at all? {SMOKE.caveat}",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=MODULES,
        metavar="NAME",
        help=f"one scenario; may be repeated: {', '.join(MODULES)}",
    )
    parser.add_argument(
        "--loggers",
        type=_loggers,
        metavar="NAME,...",
        help=f"of the others only these: {', '.join((*PEERS, *FLOORS))}",
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="at most so many of each scenario"
    )
    parser.add_argument("--markdown", metavar="FILE", help="write the page for docs/")
    parser.add_argument(
        "--write-docs",
        action="store_true",
        help="write docs/reference/figures.md and its pictures",
    )
    parser.add_argument(
        "--from",
        dest="results_from",
        metavar="FILE",
        help="show the results in a JSON file of an earlier run and measure nothing; "
        "with --only, measure these again, and take all others from the file",
    )
    parser.add_argument(
        "--machine", metavar="TEXT", help="the machine in words, instead of its cores"
    )
    parser.add_argument(
        "--dir", help="where to log to (default: the directory for temporary files)"
    )
    parser.add_argument("--results", default=RESULTS_DIR, help="where the JSON goes")
    parser.add_argument("--seed", type=int, help="repeat the random moments of a run")
    return parser.parse_args(argv)


def _loggers(text: str) -> list[str]:
    names = text.split(",")
    unknown = sorted({*names} - {*ADAPTERS})
    if unknown:
        raise argparse.ArgumentTypeError(f"no such logger: {', '.join(unknown)}")
    return names


def _show_progress(text: str) -> None:
    # Only for a person: it would be noise in a file.
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())

__all__ = ["main"]
