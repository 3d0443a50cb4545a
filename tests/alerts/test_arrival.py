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
SECONDS = 60.0
"""After which what does not arrive is lost."""
RULES = [
    *("--window", "5s", "--usual", "8s", "--interval", "1s", "--stuck", "5s"),
    *("--no-writer", "1m", "--new-for", "20s"),
]


def wait_for(receiver: Receiver, name: str, status: str = "firing") -> float:
    """Wait until the alert *name* has arrived; return how long that took."""
    begun = time.monotonic()
    while time.monotonic() < begun + SECONDS:
        with receiver.arrived:
            if any(
                alert["labels"]["alertname"] == name and alert["status"] == status
                for body in receiver.bodies
                for alert in body["alerts"]
            ):
                return time.monotonic() - begun
            receiver.arrived.wait(0.1)
    raise AssertionError(f"{name} did not arrive; there are {receiver.bodies}")


@needs_prometheus
@needs_alertmanager
@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.timeout(400)
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
        past = "tokenpak_telemetry_writers offset 9s"
        deadline = time.monotonic() + SECONDS
        while not ask(f"{server}/api/v1/query", query=past)["data"]["result"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert "Spike" not in str(receiver.bodies)
        assert "Dropped" not in str(receiver.bodies)

        begun = evaluations(server)
        calls(logger, 60)
        spike = wait_for(receiver, "TokenpakErrorSpike")
        spike_evaluations = evaluations(server) - begun

        small = make_logger(max_day_bytes=2**20)
        begun = evaluations(server)
        for _ in range(60):  # the day's file becomes full
            small.log_error("r", ValueError("x" * 30_000))
        small.flush(60)
        drops = wait_for(receiver, "TokenpakRecordsDropped")
        drops_evaluations = evaluations(server) - begun
        wait_for(receiver, "TokenpakErrorSpike", "resolved")

    for name, seconds, number in (
        ("spike", spike, spike_evaluations),
        ("drops", drops, drops_evaluations),
    ):
        record_property(f"{name}_seconds", round(seconds, 2))
        record_property(f"{name}_evaluations", number)
        print(f"{name}: {seconds:.1f} s, {number} evaluations")
        assert number <= MOST_EVALUATIONS, name
