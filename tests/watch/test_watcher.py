"""From files to messages: over restarts, damage, and all that can be in the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.read.log_making import as_lines, make_record, summary_of
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.watch import Alert, Memory, NotToldError, Rules, Watcher
from tokenpak.telemetry.watch.rules import DAY

NOW = 20_600 * DAY + 43_200.0


class Friend:
    name = identity = "friend"
    batch = 100
    repeat = 0.0

    def __init__(self) -> None:
        self.told: list[str] = []
        self.down = False

    def tell(
        self,
        alerts: Sequence[Alert],
        now: float,
        stop: Callable[[], bool] = bool,
    ) -> None:
        del now, stop
        if self.down:
            raise NotToldError("down")
        self.told += [f"{alert.key} {alert.status}" for alert in alerts]


class Log:
    """A directory that is logged to, and a watch that is started now and then."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.friend = Friend()
        self.said: list[str] = []
        self.state = log_dir / "watch" / "state.json"
        log_dir.mkdir()
        self.state.parent.mkdir()

    def write(self, when: float, error_type: str = "TimeoutError", **more: Any) -> None:
        moment = datetime.fromtimestamp(when, UTC)
        record = make_record(
            timestamp=f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z", error_type=error_type, **more
        )
        with (self.log_dir / f"errors-{moment:%Y-%m-%d}.jsonl").open("ab") as file:
            file.write(as_lines([record]))

    def history(self, days: int = 3) -> None:
        for step in range(days * 24 * 12):
            self.write(NOW - days * DAY + step * 300.0)

    def start(self, now: float = NOW, **rules: Any) -> Watcher:
        watcher = Watcher(
            str(self.log_dir),
            Rules(**rules),
            [self.friend],
            Memory(str(self.state)),
            self.said.append,
        )
        watcher.begin(now)
        return watcher


@pytest.fixture
def log(log_dir: Path) -> Log:
    return Log(log_dir)


def test_watch_history_is_learnt_from_in_silence(log: Log) -> None:
    """The first look tells of what is, not of what was."""
    log.history()
    log.write(NOW - DAY, "AuthenticationError")
    for number in range(80):
        log.write(NOW - 2 * DAY + number)

    log.start().look(NOW, 0)
    assert log.friend.told == []

    log.write(NOW + 1, "AuthenticationError")
    log.write(NOW + 1, "NovelError")
    log.start().look(NOW + 10, 0)

    assert log.friend.told == [
        "CriticalError/AuthenticationError firing",
        "NewErrorType/NovelError firing",
    ]
    assert log.said == []


def test_watch_a_restart_repeats_nothing_and_says_what_is_over(log: Log) -> None:
    """Each look is by a new process, as with cron."""
    log.history()
    log.start().look(NOW, 0)

    for number in range(60):
        log.write(NOW + 30 + number / 60)
    begun = [len(log.start().look(NOW + 60 * minute, 0)) for minute in range(1, 30)]

    assert begun == [1, *[0] * 28]
    assert log.friend.told == [
        "ErrorSpike/TimeoutError firing",
        "ErrorSpike/TimeoutError resolved",
    ]


def test_watch_one_that_was_down_is_told_after_a_restart(log: Log) -> None:
    """What it has missed is in the state."""
    log.history()
    log.start().look(NOW, 0)
    log.write(NOW, "AuthenticationError")
    log.friend.down = True
    watcher = log.start()
    watcher.look(NOW + 1, 0)
    assert watcher.troubles == ["friend"]

    log.friend.down = False
    log.start().look(NOW + 2, 0)

    assert log.friend.told == ["CriticalError/AuthenticationError firing"]


def test_watch_a_storms_summary_counts_for_what_it_held_back(log: Log) -> None:
    """Storm control hides no spike."""
    log.history()
    watcher = log.start()
    watcher.look(NOW, 0)

    log.write(NOW + 1, **summary_of(500))
    watcher.look(NOW + 2, 0)

    assert log.friend.told == ["ErrorSpike/TimeoutError firing"]


@pytest.mark.parametrize(
    "damage",
    [b"", b"\0" * 100, b"{}\n{}", 0, 1, 2],
)
def test_watch_a_damaged_state_is_put_aside_and_begun_anew(
    log: Log, damage: bytes | int
) -> None:
    """It says so, wakes nobody for the past, and goes on."""
    log.history()
    log.start().look(NOW, 0)
    if isinstance(damage, bytes):
        log.state.write_bytes(damage)
    else:  # a checksum that is right, of a part that is wrong
        memory = Memory(str(log.state))
        state = memory.load()
        state["parts"][damage] = {"window": 7}
        memory.save(state)

    watcher = log.start()
    watcher.look(NOW + 10, 0)
    assert log.friend.told == []
    assert len(log.said) == 1
    assert "begins anew" in log.said[0]
    assert log.state.with_name("state.json.damaged").exists()

    log.write(NOW + 11, "NovelError")
    log.start().look(NOW + 20, 0)
    assert log.friend.told == ["NewErrorType/NovelError firing"]


def test_watch_what_other_programs_write_does_no_harm(log: Log) -> None:
    """Fields of the wrong type, no fields, no JSON, times that are none."""
    log.history()
    watcher = log.start()
    watcher.look(NOW, 0)
    path = log.log_dir / f"errors-{datetime.fromtimestamp(NOW, UTC):%Y-%m-%d}.jsonl"
    odd: list[Any] = [
        {},
        {"timestamp": 7, "error_type": None, "message": [], "context": "no"},
        {"timestamp": "yesterday", "error_type": {"a": 1}},
        {"timestamp": "9999-12-31T23:59:59.999999-23:59", "error_type": "Late"},
        {"timestamp": "0001-01-01T00:00:00+23:59", "error_type": "Early"},
        {
            "error_type": "x" * 100_000,
            "context": {"kind": 3, "storm": {"held_back": "x"}},
        },
        {"error_type": "S", "context": {"storm": {"held_back": 10**30}}},
    ]
    with path.open("ab") as file:
        for record in odd:
            file.write(orjson.dumps(record) if "S" not in record.values() else b"{}")
            file.write(b"\n\xff\xff\n{torn\n")

    for step in range(3):
        watcher.look(NOW + 10 + step, step)

    assert log.said == []
    names = [key.rsplit("/", 1)[-1] for key in log.friend.told]
    assert any(name.startswith("xxx") for name in names)


def test_watch_a_state_that_cannot_be_saved_is_said_and_alerts_go_out(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is when one must be told."""
    log.history()
    watcher = log.start()
    watcher.look(NOW, 0)

    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "save", full)
        log.write(NOW, "AuthenticationError")
        watcher.look(NOW + 1, 1)
        watcher.look(NOW + 2, 2)

    assert log.friend.told == ["CriticalError/AuthenticationError firing"]
    assert len(log.said) == 1
    assert "No space left" in log.said[0]
    assert watcher.troubles
    watcher.look(NOW + 3, 3)
    assert watcher.troubles == []


def test_watch_a_log_that_goes_away_is_said_and_comes_back(log: Log) -> None:
    """Unmounted, for instance."""
    log.history(1)
    watcher = log.start()
    watcher.look(NOW, 0)

    away = log.log_dir.with_name("away")
    log.log_dir.rename(away)
    watcher.look(NOW + 1, 1)
    watcher.look(NOW + 2, 2)
    assert len([text for text in log.said if "cannot be read" in text]) == 1
    away.rename(log.log_dir)
    log.write(NOW + 2, "AuthenticationError")
    watcher.look(NOW + 3, 3)

    assert log.friend.told == ["CriticalError/AuthenticationError firing"]


def test_watch_the_first_error_of_an_empty_log_is_not_history(log: Log) -> None:
    """Also if the next look is late."""
    log.start().look(NOW, 0)

    log.write(NOW + 1, "AuthenticationError")
    log.start(NOW + 3000).look(NOW + 3000, 0)

    assert log.friend.told[0] == "CriticalError/AuthenticationError firing"


def test_watch_another_window_is_learnt_anew(log: Log) -> None:
    """Counts of five minutes say nothing of an hour's."""
    log.history()
    log.start().look(NOW, 0)

    log.start(window=3600.0).look(NOW + 1, 0)

    assert log.said == ["The window is another one than before: learning anew."]
    assert log.friend.told == []


def test_watch_sees_what_the_logger_writes(log_dir: Path) -> None:
    """Records of a real logger, as they are."""
    log = Log(log_dir)
    logger = ErrorLogger(log_dir)
    watcher = log.start(datetime.now(UTC).timestamp())

    logger.log_error("r", PermissionError("no"), context={"kind": "auth"})
    assert logger.close(timeout=60)
    watcher.look(datetime.now(UTC).timestamp(), 0)

    assert log.friend.told == ["CriticalError/PermissionError firing"]
