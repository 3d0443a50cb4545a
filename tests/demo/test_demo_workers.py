"""A worker of the demo: it acknowledges what was accepted, when it was accepted."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tokenpak.demo import workers
from tokenpak.demo.acks import Account, AckTable
from tokenpak.demo.failures import FAILING_MODELS
from tokenpak.demo.server import serving
from tokenpak.demo.workers import REPLAYS_A_FAILURE, Job, main, request_id

if TYPE_CHECKING:
    from pathlib import Path

RUN = "0a1b2c3d"


class DiedError(BaseException):
    """Stands for a kill inside a logging call."""


@dataclass
class FakeStats:
    durable: bool
    dropped: dict[str, int] = field(default_factory=dict)


class FakeLogger:
    """Notes the calls, and dies in the one that is asked for."""

    def __init__(
        self,
        stats: FakeStats | None = None,
        *,
        closes: bool = True,
        dies_at: int | None = None,
    ) -> None:
        self._stats = stats or FakeStats(durable=True)
        self._closes = closes
        self._dies_at = dies_at
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    def log_error(self, request_id: str, error: Any, context: dict[str, Any]) -> None:
        self._note(type(error).__name__, request_id, context)

    def log_event(self, event: str, request_id: str, context: dict[str, Any]) -> None:
        self._note(event, request_id, context)

    def stats(self) -> FakeStats:
        return self._stats

    def close(self, timeout: float) -> bool:
        return self._closes

    def _note(self, what: str, name: str, context: dict[str, Any]) -> None:
        self.calls.append((what, name, context))
        if len(self.calls) == self._dies_at:
            raise DiedError


def work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: FakeLogger
) -> tuple[int | None, Account]:
    """Do one round with *logger*; return the exit status and the account of it."""
    monkeypatch.setattr(workers, "ErrorLogger", lambda log_dir: logger)
    path = str(tmp_path / "acks")
    job = Job(log_dir="", run=RUN, workers=3, index=2, seconds=1e-9, seed=1)
    status = None
    with serving() as server, AckTable(path, 3) as table:
        try:
            status = main(json.dumps(dataclasses.asdict(job)), server.url, path)
        except DiedError:
            pass
        return status, table.read(2)


def test_a_round_calls_each_model_and_replays_its_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids are numbered from 1 on without a gap, and all calls are acknowledged."""
    logger = FakeLogger()
    status, account = work(tmp_path, monkeypatch, logger)
    names = [name for _, name, _ in logger.calls]

    assert status == 0
    assert account.failures == len(FAILING_MODELS)
    assert account.successes == 1
    assert account.replays == account.timed == 6 * REPLAYS_A_FAILURE
    assert account.accepted == len(logger.calls)
    assert names == [request_id(RUN, 2, n + 1) for n in range(len(names))]
    assert sum(account.histogram) == account.replays


def test_context_tells_a_replay_from_the_failure_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay has the failure's context, but for the flag."""
    logger = FakeLogger()
    work(tmp_path, monkeypatch, logger)
    real = [c for what, _, c in logger.calls if not c.get("replayed", True)]
    replayed = [c for what, _, c in logger.calls if c.get("replayed")]

    assert {c["model"] for c in real} == set(FAILING_MODELS)
    assert all({**c, "replayed": False} in real for c in replayed)


@pytest.mark.parametrize("dies_at", [1, 2, 3, 60, 200])
def test_a_call_that_did_not_return_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    """All before it are; so the account and the ids say what was in flight."""
    logger = FakeLogger(dies_at=dies_at)
    _, account = work(tmp_path, monkeypatch, logger)

    assert len(logger.calls) == dies_at
    assert account.accepted == dies_at - 1


def test_what_the_logger_says_of_itself_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drops of all reasons, and that there was no spool."""
    stats = FakeStats(durable=False, dropped={"queue_full": 3, "closed": 2})
    _, account = work(tmp_path, monkeypatch, FakeLogger(stats))

    assert account.dropped == 5
    assert account.in_memory


def test_a_logger_that_cannot_write_all_is_an_exit_status(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The parent ends the demo then, with what is printed here."""
    status, _ = work(tmp_path, monkeypatch, FakeLogger(closes=False))

    assert status not in (0, None)
    assert "not all is written" in capsys.readouterr().out
