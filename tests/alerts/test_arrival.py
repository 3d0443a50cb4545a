"""A spike and drops arrive at a webhook, through Prometheus and Alertmanager."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.watch.receiver import Receiver, receiving
from tokenpak.cli import main
from tokenpak.telemetry.error_logger import ErrorLogger

from .servers import (
    alertmanager,
    ask,
    evaluations,
    needs_alertmanager,
    needs_prometheus,
    prometheus,
)
from .traffic import calls, exposed

MOST_EVALUATIONS = 15
"""Of the rules, from the provocation to the webhook: the promise is 15 seconds at one
scrape and one evaluation a second.  Seconds would tell of what else the machine does;
those that it took are printed."""
SECONDS = 240.0
"""After which what does not arrive is lost."""
AGAIN = 30.0
"""Seconds after which it is provoked again, if scrapes or evaluations were missed."""
RULES = [
    *("--window", "10s", "--usual", "16s", "--interval", "1s", "--stuck", "5s"),
    *("--no-writer", "1m", "--new-for", "20s"),
]


def wait_for(
    receiver: Receiver, name: str, status: str = "firing", seconds: float = SECONDS
) -> float | None:
    """Wait until the alert *name* has arrived; return how long that took."""
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        with receiver.arrived:
            if any(
                alert["labels"]["alertname"] == name and alert["status"] == status
                for body in receiver.bodies
                for alert in body["alerts"]
            ):
                return time.monotonic() - begun
            receiver.arrived.wait(0.1)
    return None


def rounds(server: str) -> tuple[int, int]:
    """Return how many scrapes succeeded, and how often the rules were evaluated."""
    answer = ask(f"{server}/api/v1/query", query="sum_over_time(up[1h])")
    (scraped,) = answer["data"]["result"]
    return int(scraped["value"][1]), evaluations(server)


def arrives(
    receiver: Receiver, server: str, name: str, provoke: Callable[[], None]
) -> tuple[float, int]:
    """
    Provoke the alert *name*; return in how many seconds and evaluations it arrives.

    The rules look back for ten seconds.  On a machine so busy that scrapes fail and
    evaluations are left out, that may be over when the next one succeeds; what was
    scraped and evaluated each second arrives at the first attempt.
    """
    deadline = time.monotonic() + SECONDS
    while True:
        begun = time.monotonic()
        scraped, evaluated = rounds(server)
        provoke()
        took = wait_for(receiver, name, seconds=AGAIN)
        then = rounds(server)
        number = min(then[0] - scraped, then[1] - evaluated)
        if took is not None:
            return took, number
        missed = time.monotonic() - begun - number
        assert missed > 1.5, f"{name} did not arrive; there are {receiver.bodies}"
        assert time.monotonic() < deadline, f"{name} is missed again and again"


@needs_prometheus
@needs_alertmanager
@pytest.mark.heavy
@pytest.mark.slow
def test_watch_a_spike_and_drops_arrive_at_a_webhook(
    log_dir: Path,
    tmp_path: Path,
    make_logger: Callable[..., ErrorLogger],
    record_property: Callable[[str, object], None],
) -> None:
    """Scraped every second; each is over, too, when it is."""
    rules = CliRunner().invoke(main, ["telemetry", "rules", *RULES]).output
    logger = make_logger()
    calls(logger, 1)
    with (
        receiving() as receiver,
        exposed(log_dir) as target,
        alertmanager(tmp_path / "alertmanager", receiver.address) as manager,
        prometheus(
            tmp_path / "prometheus", target, rules=rules, alertmanager=manager
        ) as server,
    ):
        # Until there is a past to compare with.
        past = "tokenpak_telemetry_writers offset 17s"
        deadline = time.monotonic() + SECONDS
        while not ask(f"{server}/api/v1/query", query=past)["data"]["result"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert "Spike" not in str(receiver.bodies)
        assert "Dropped" not in str(receiver.bodies)

        spike = arrives(
            receiver, server, "TokenpakErrorSpike", lambda: calls(logger, 60)
        )

        small = make_logger(max_day_bytes=2**20)

        def fill() -> None:
            for _ in range(60):  # the day's file becomes full
                small.log_error("r", ValueError("x" * 30_000))
            small.flush(60)

        drops = arrives(receiver, server, "TokenpakRecordsDropped", fill)
        assert wait_for(receiver, "TokenpakErrorSpike", "resolved") is not None

    for name, (seconds, number) in (("spike", spike), ("drops", drops)):
        record_property(f"{name}_seconds", round(seconds, 2))
        record_property(f"{name}_evaluations", number)
        print(f"{name}: {seconds:.1f} s, {number} evaluations")
        assert number <= MOST_EVALUATIONS, name
