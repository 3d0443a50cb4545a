"""
The process in which one measurement runs: ``python -m bench.measure``, by the harness.

It writes one JSON object to the file it is told: ``{"figures": …}``, or
``{"missing": …}`` where a peer is not installed.  Anything else is a traceback on
stderr and a non-zero exit code.
"""

from __future__ import annotations

import argparse
import json

from bench.adapters import PEERS
from bench.model import EFFORTS, Job, PeerMissingError
from bench.pages import touch_pages
from bench.scenarios import find_scenario


def main(argv: list[str] | None = None) -> None:
    """Run one measurement and write what it found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario")
    parser.add_argument("measurement")
    parser.add_argument("directory")
    parser.add_argument("shared")
    parser.add_argument("answer", help="the file to write")
    parser.add_argument("--effort", choices=EFFORTS, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args(argv)

    scenario = find_scenario(options.scenario)
    measurement = scenario.measurements[options.measurement]
    effort = EFFORTS[options.effort]
    job = Job(options.directory, effort, options.seed, options.shared)
    if scenario.megabytes:
        megabytes = scenario.megabytes
        if options.measurement.partition(", ")[0] in PEERS:
            megabytes //= 4  # of what they can do in a second, several times as much
        touch_pages(job.directory, job.effort.count(megabytes))
    answer: dict[str, object]
    try:
        answer = {"figures": measurement(job)}
    except PeerMissingError as error:
        answer = {"missing": str(error)}
    # Not in a finally clause: a measurement forks children that leave through here
    # with SystemExit, and they must not answer in its place.
    with open(options.answer, "w", encoding="utf-8") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    main()

__all__ = ["main"]
