"""The metrics as Prometheus reads them, whatever is in the log."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from tests.alerts.servers import SECONDS, ask, needs_prometheus, prometheus
from tests.metrics.logs import append, line
from tests.queue.logs import eventually, held_locks
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.metrics import exposition, follow
from tokenpak.telemetry.metrics.exposition import Exposition, timestamp_of
from tokenpak.telemetry.metrics.families import FAMILIES
from tokenpak.telemetry.metrics.machine import MachineCounts, machine_counts
from tokenpak.telemetry.metrics.prometheus import Collector
from tokenpak.telemetry.metrics.server import serving
from tokenpak.telemetry.metrics.tally import BOUNDED, TROUBLES
from tokenpak.telemetry.store.notes import DROP_REASONS

PROMTOOL = shutil.which("promtool")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
HOSTILE = [
    'quote " backslash \\ newline \n end',
    "NUL \0 escape \x1b[31m bell \x07",
    "\ud800 half a pair",
    "\u2028 \U0001f600 \u202e",
    "{}=,#\\n",
    "x" * 100_000,
    "",
    " ",
]


def make(log_dir: Path) -> Exposition:
    return Exposition(MachineCounts(str(log_dir)))


def samples(text: bytes, *, strict: bool = False) -> Samples:
    read = read_openmetrics if strict else read_prometheus
    found: Samples = {}
    for family in read(text.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def fill(log_dir: Path, *, quotes: bool = False) -> None:
    context = {"model": "gpt-4", "provider": "openai", "kind": "quota"}
    for number, hostile in enumerate(HOSTILE):
        record = {
            "error_type": hostile,
            # The parser of prometheus_client takes no escaped quote in an exemplar;
            # Prometheus's own does.
            "request_id": hostile if quotes else hostile.replace('"', ""),
            "context": {
                **context,
                "model": hostile,
                "duration_ms": 10**number,
                "cost_estimate": 0.045,
                "input_tokens": 12,
            },
        }
        append(log_dir, json.dumps(record).encode() + b"\n")
    append(log_dir, b"no record\n" + line(1) * 2)
    append(log_dir, line(1, event="done"), stream="events")


@pytest.mark.parametrize("strict", [False, True], ids=["prometheus", "openmetrics"])
def test_m1_any_label_values_are_read_by_the_clients_parsers(
    log_dir: Path, strict: bool
) -> None:
    """And what is read is what was logged."""
    fill(log_dir)

    text = make(log_dir).render("openmetrics" if strict else "prometheus")

    found = samples(text, strict=strict)
    errors = {k[1]: v for k, v in found.items() if k[0] == "tokenpak_errors_total"}
    assert sum(errors.values()) == len(HOSTILE) + 2
    types = {dict(labels)["error_type"] for labels in errors}
    assert {HOSTILE[0], HOSTILE[3], HOSTILE[4], "? half a pair"} <= types
    assert (
        found["tokenpak_telemetry_malformed_lines_total", (("stream", "errors"),)] == 1
    )
    assert {name for name, _ in found} >= {
        "tokenpak_request_duration_seconds_bucket",
        "tokenpak_request_duration_seconds_sum",
        "tokenpak_cost_usd_total",
        "tokenpak_tokens_total",
        "tokenpak_telemetry_writers",
    }


@pytest.mark.parametrize("strict", [False, True], ids=["prometheus", "openmetrics"])
def test_m1_the_exposition_is_that_of_the_collector(
    log_dir: Path, strict: bool
) -> None:
    """Written here for speed, and by prometheus_client for its registries."""
    fill(log_dir)
    registry = CollectorRegistry()
    registry.register(Collector(log_dir))

    ours = Exposition(machine_counts(log_dir)).render(
        "openmetrics" if strict else "prometheus"
    )
    theirs = (openmetrics if strict else exposition_of_text).generate_latest(registry)

    assert samples(ours, strict=strict) == samples(theirs, strict=strict)


class exposition_of_text:  # noqa: N801  (stands for a module)
    generate_latest = staticmethod(generate_latest)


def test_m1_exemplars_have_the_request_and_its_time(log_dir: Path) -> None:
    """Of the last one in each bucket; at most 128 characters with their label."""
    append(log_dir, line(1, context={"duration_ms": 2350}))
    append(log_dir, line(2, request_id="x" * 500))

    text = make(log_dir).render("openmetrics").decode()

    read: Any = read_openmetrics
    found = [
        sample.exemplar
        for family in read(text)
        for sample in family.samples
        if sample.exemplar
    ]
    assert [str(e.labels["request_id"])[:5] for e in found] == [
        "req-1",
        "xxxxx",
        "req-1",
    ]
    assert found[-1].value == 2.35
    assert float(found[-1].timestamp) == 1774373722.000001
    assert all(len(e.labels["request_id"]) + len("request_id") <= 128 for e in found)


@pytest.mark.parametrize("text", [None, "", "no time", 5, "9999", "2026-03-24T25:00"])
def test_m1_a_timestamp_that_is_none_is_left_out(text: Any) -> None:
    """Of an exemplar."""
    found = timestamp_of(text)

    assert found is None or math.isfinite(found)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_m1_promtool_has_nothing_to_say(log_dir: Path) -> None:
    """Names, units, help texts, and label values of all kinds."""
    assert PROMTOOL is not None
    fill(log_dir)

    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"],
        input=make(log_dir).render(),
        capture_output=True,
        timeout=120,
        check=False,
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_m1_json_has_the_same_numbers(log_dir: Path) -> None:
    """For scripts."""
    append(log_dir, line(1, context={"duration_ms": 400}) + line(2))

    found = json.loads(make(log_dir).render("json"))

    metrics = found["metrics"]
    assert set(metrics) == {family.sample for family in FAMILIES}
    assert [s["value"] for s in metrics["tokenpak_errors_total"]] == [1, 1]
    (duration,) = metrics["tokenpak_request_duration_seconds"]
    assert (duration["count"], duration["sum"]) == (1, 0.4)
    assert duration["buckets"]["0.5"] == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_m1_what_waits_and_who_logs_is_shown(log_dir: Path, make_logger: Any) -> None:
    """Of living processes, and of dead ones, whose records are not lost."""
    logger: ErrorLogger = make_logger()
    counts = make(log_dir)
    one = (("stream", "events"),)

    with held_locks(log_dir):
        pid = os.fork()
        if pid == 0:  # pragma: no cover  (another process)
            for _ in range(3):
                logger.log_event("of a dead one")
            os._exit(0)
        os.waitpid(pid, 0)
        dead = samples(counts.render())
        logger.log_event("of a living one")
        both = samples(counts.render())
    assert logger.flush(60)
    names = ("writers", "orphans", "pending_records")

    def settled() -> bool:
        found = samples(counts.render())
        shown = [found[f"tokenpak_telemetry_{name}", one] for name in names]
        return shown == [1, 0, 0]

    assert eventually(settled)
    written = samples(counts.render())

    assert dead["tokenpak_telemetry_orphans", one] == 1
    assert dead["tokenpak_telemetry_writers", one] == 0
    assert dead["tokenpak_telemetry_pending_records", one] == 3
    assert dead["tokenpak_telemetry_pending_bytes", one] > 200
    # Who recovers a spool counts as its owner.
    assert both["tokenpak_telemetry_writers", one] >= 1
    assert both["tokenpak_telemetry_pending_records", one] == 4
    assert written["tokenpak_telemetry_last_success_timestamp_seconds", ()] > 1.7e9


def test_m1_a_spool_that_cannot_be_read_is_a_problem_of_the_scrape(
    log_dir: Path,
) -> None:
    """And no more."""
    append(log_dir, line(1))
    (log_dir / "spool").mkdir(mode=0o700)
    (log_dir / "spool" / "0123456789abcdef.spool").write_bytes(b"no spool")

    found = samples(make(log_dir).render())

    assert found[
        "tokenpak_telemetry_scrape_problems", (("problem", "unreadable_spool"),)
    ]


def test_m1_drops_are_shown_before_the_log_tells_of_them_and_after(
    log_dir: Path, make_logger: Any
) -> None:
    """Of a queue that is full, because the log cannot be written."""
    logger: ErrorLogger = make_logger(max_pending_bytes=4 * 1024 * 1024)
    counts = make(log_dir)
    labels = (("reason", "queue_full"), ("stream", "events"))
    text = "x" * 20_000

    with held_locks(log_dir):
        while "queue_full" not in logger.stats().dropped:
            logger.log_event("e", context={"text": text})
        dropped = logger.stats().dropped["queue_full"]
        before = samples(counts.render())
    assert logger.flush(60)
    assert eventually(
        lambda: samples(counts.render())["tokenpak_telemetry_untold_drops", labels] == 0
    )
    after = samples(counts.render())

    assert before["tokenpak_telemetry_untold_drops", labels] == dropped
    assert before["tokenpak_telemetry_records_dropped_total", labels] == 0
    assert after["tokenpak_telemetry_records_dropped_total", labels] == dropped


def test_m1_unchanged_counts_are_not_written_anew(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What 10,000 label sets take is taken once for each change."""
    monkeypatch.setattr(follow, "_SETTLED", -60.0)
    append(log_dir, b"".join(line(n, error_type=f"E{n}") for n in range(500)))
    counts = make(log_dir)
    first = counts.render()
    monkeypatch.setattr(exposition, "label_set", None)
    monkeypatch.setattr(follow.Follower, "_fully", None)

    again = counts.render()

    steady = re.compile(rb"^tokenpak_(?:errors|events|cost).*$", re.MULTILINE)
    assert steady.findall(first) == steady.findall(again)
    assert len(steady.findall(again)) == 500


def test_m1_the_table_of_metrics_is_sound() -> None:
    """Names, help texts and bounds as Prometheus prescribes them."""
    names = [family.name for family in FAMILIES]
    samples_of = {family.sample for family in FAMILIES}

    assert len(set(names)) == len(names)
    assert set(BOUNDED) <= samples_of
    for family in FAMILIES:
        assert re.fullmatch(r"tokenpak(?:_[a-z]+)+", family.name)
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket"))
        assert family.help.endswith(".")
        assert all(re.fullmatch("[a-z_]+", label) for label in family.labels)
    troubles = next(
        f for f in FAMILIES if f.name == "tokenpak_telemetry_count_troubles"
    )
    assert all(word in troubles.help for word in TROUBLES)


def test_m1_counters_with_known_labels_begin_at_zero(log_dir: Path) -> None:
    """Or the first increase would not be seen."""
    log_dir.mkdir()

    found = samples(make(log_dir).render())

    for stream in ("errors", "events"):
        for reason in (*DROP_REASONS, "storm"):
            labels = (("reason", reason), ("stream", stream))
            assert found["tokenpak_telemetry_records_dropped_total", labels] == 0


@pytest.mark.fault
@needs_prometheus
def test_m1_the_real_prometheus_scrapes_what_is_served(
    log_dir: Path, tmp_path: Path
) -> None:
    """With exemplars asked for; counters go on where a server is started again."""
    fill(log_dir, quotes=True)

    with (
        serving(make(log_dir), ("127.0.0.1", 0)) as url,
        prometheus(
            tmp_path / "prometheus",
            url.split("/")[2],
            "--enable-feature=exemplar-storage",
            "--log.level=error",
        ) as server,
    ):

        def becomes(number: int) -> bool:
            """Return whether it shows so many errors, of a target that is up."""
            # A scrape of a busy machine may take too long: the next one does not.
            query = "sum(tokenpak_errors_total) * scalar(up)"
            deadline = time.monotonic() + SECONDS
            shown: list[float] = []
            while shown != [number] and time.monotonic() < deadline:
                time.sleep(0.1)
                answer = ask(f"{server}/api/v1/query", query=query)
                shown = [float(r["value"][1]) for r in answer["data"]["result"]]
            return shown == [number]

        assert becomes(len(HOSTILE) + 2)
        append(log_dir, line(7) * 5)
        assert becomes(len(HOSTILE) + 7)
