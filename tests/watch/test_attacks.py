"""What is in the way of a watch on purpose, or as if it were."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tokenpak.telemetry.watch import Alert, NotToldError, Rules
from tokenpak.telemetry.watch.alerts import CRITICAL, NEW_TYPE
from tokenpak.telemetry.watch.conditions import MOST_KNOWN, Conditions, Failure
from tokenpak.telemetry.watch.forms import slack_form, slack_line
from tokenpak.telemetry.watch.outbox import Outbox
from tokenpak.telemetry.watch.rules import DAY
from tokenpak.telemetry.watch.targets import Command, webhook

from .receiver import receiving
from .test_conditions import taught
from .test_watcher import Friend, Log

NOW = 20_600 * DAY + 43_200.0


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def make_alert(name: str = "AuthenticationError", text: str = "no") -> Alert:
    return Alert(CRITICAL, name, "critical", f"{name} has been logged", text, NOW)


class Crowd(Friend):
    """Takes one alert at once."""

    batch = 1


@contextmanager
def answering(parts: Iterator[bytes]) -> Iterator[tuple[str, list[int]]]:
    """Answer one connection with *parts*, as long as it takes them; count the bytes."""
    sent = [0]
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(65536)
                try:
                    for part in parts:
                        sent[0] += client.send(part)
                except OSError:
                    pass  # it had enough

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", sent
        thread.join(60)
        assert not thread.is_alive()


def test_watch_an_answer_of_a_gigabyte_is_not_read() -> None:
    """Its status is all that matters."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
    body = (b"x" * 65536 for _ in range(15_000))
    with answering(part for parts in ([head], body) for part in parts) as (url, sent):
        webhook(url).tell([make_alert()], NOW)

    assert sent[0] < 100_000_000


def test_watch_headers_without_end_are_a_failure() -> None:
    """Not a memory that fills up."""
    head = b"HTTP/1.1 200 OK\r\n"
    more = (b"X: " + b"x" * 1000 + b"\r\n" for _ in range(100_000))
    with (
        answering(part for parts in ([head], more) for part in parts) as (url, sent),
        pytest.raises(NotToldError, match="no HTTP"),
    ):
        webhook(url).tell([make_alert()], NOW)

    assert sent[0] < 50_000_000


def test_watch_a_tls_failure_is_a_failure_that_tells_no_secret() -> None:
    """There is somebody, but nobody who could be trusted."""
    with receiving() as receiver:
        address = receiver.address.replace("http://", "https://user:hunter2@")
        with pytest.raises(NotToldError) as caught:
            webhook(address + "/T000/secret").tell([make_alert()], NOW)

    assert "SSL" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert receiver.bodies == []


HOSTILE = [
    "@channel @all @here",
    "<!channel> <@U123> <https://evil|click>",
    "*bold* _it_ ~gone~ `code` ```fence```",
    "![x](https://evil/x.png) [click](https://evil)",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_watch_in_slack_and_mattermost_an_error_is_code_and_nothing_else(
    text: str,
) -> None:
    """No mention, no link, no picture: what it says is between two backticks."""
    alert = make_alert(text, text)

    for line in slack_line(alert).splitlines():
        before, code, after = line.split("`")
        assert after == ""
        assert "<" not in code
        assert ">" not in code
        assert not set("@<[") & set(before)
    assert len(slack_form([alert] * 50, NOW)["text"].splitlines()) == 2 * 20 + 1


def test_watch_a_command_gets_any_error_and_no_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NULs, half characters, a megabyte (which no environment takes); no secret."""
    monkeypatch.setenv("TOKENPAK_WATCH_SLACK", "https://hooks.slack.com/secret")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "told.py").write_text(
        "import json, os\n"
        "with open('told.json', 'a') as f: print(json.dumps(dict(os.environ)), file=f)"
    )
    conditions = Conditions(Rules(critical=("*",)))
    for text in ("\0" * 1_000_000, "\ud800" * 1_000_000, "é=\n" * 1_000_000):
        conditions.take(Failure(NOW, text, text, text, 1), NOW)

    alerts = list(conditions.firing.values())
    Command(f"'{sys.executable}' told.py").tell(alerts, NOW)

    lines = (tmp_path / "told.json").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert len(told) == 3
    for environment in told:
        assert "TOKENPAK_WATCH_SLACK" not in environment
        assert 100 < len(environment["TOKENPAK_ALERT_EXAMPLE"]) <= 300


def test_watch_what_was_over_and_fires_again_is_told_in_that_order() -> None:
    """Alertmanager takes what comes last for what is."""
    friend = Friend()
    outbox = Outbox([friend], print)
    before, again = make_alert(), make_alert()
    again.starts_at += 100
    before.ends_at = NOW + 50
    outbox.add([before])

    outbox.deliver([again], NOW + 101, elapsed=0)

    assert friend.told == [
        "CriticalError/AuthenticationError resolved",
        "CriticalError/AuthenticationError firing",
    ]


def test_watch_remembers_each_that_was_told_and_stops_between_two() -> None:
    """A death, or who wants the watch to end, need not wait for all of them."""
    friend = Crowd()
    outbox = Outbox([friend], print)
    alerts = [make_alert(f"E{number}") for number in range(5)]
    remembered: list[int] = []

    outbox.deliver(
        alerts,
        NOW,
        elapsed=0,
        remember=lambda: remembered.append(len(friend.told)),
        stop=lambda: len(friend.told) == 3,
    )

    assert remembered == [1, 2, 3]
    assert outbox.untold(alerts) == {"friend": 2}
    outbox.deliver(alerts, NOW, elapsed=1)
    assert friend.told == [f"CriticalError/E{number} firing" for number in range(5)]
    assert outbox.untold(alerts) == {}


def test_watch_a_look_that_is_broken_off_is_done_again(log_dir: Path) -> None:
    """Nothing of it is remembered, so nothing of it is lost."""
    log = Log(log_dir)
    log.history()
    log.start().look(NOW, 0)
    for number in range(5):
        log.write(NOW + number, "AuthenticationError" if number == 4 else "ValueError")
    watcher = log.start()
    taken = iter([False, False, *[True] * 10])
    watcher._stop = lambda: next(taken)

    assert watcher.look(NOW + 10, 0) == []
    assert log.friend.told == []
    log.start().look(NOW + 20, 0)

    assert "CriticalError/AuthenticationError firing" in log.friend.told
    assert "NewErrorType/ValueError firing" in log.friend.told


def test_watch_a_log_that_is_deleted_and_begun_anew_is_watched_on(
    log_dir: Path,
) -> None:
    """With the state beside it, which is saved again."""
    log = Log(log_dir)
    log.history()
    watcher = log.start()
    watcher.look(NOW, 0)

    shutil.rmtree(log_dir)
    watcher.look(NOW + 1, 1)
    assert len(watcher.troubles) == 1
    assert not log_dir.exists(), "a file system may not be mounted"
    log_dir.mkdir()
    log.write(NOW + 2, "AuthenticationError")
    watcher.look(NOW + 3, 3)

    assert watcher.troubles == []
    assert log.friend.told == ["CriticalError/AuthenticationError firing"]
    log.start().look(NOW + 4, 0)
    assert len(log.friend.told) == 1


def test_watch_a_flood_of_new_types_makes_no_old_one_new() -> None:
    """Those that come now and then stay known, however many others do."""
    conditions = taught()

    for number in range(3 * MOST_KNOWN):
        conditions.take(Failure(NOW + 1, f"Error{number}", "", "", 1), NOW + 1)
        if number % 1000 == 0:
            conditions.take(Failure(NOW + 1, "TimeoutError", "", "", 1), NOW + 1)
    conditions.tick(NOW + 10_000, NOW + 10_000)
    conditions.tick(NOW + 20_000, NOW + 20_000)
    conditions.take(Failure(NOW + 20_000, "TimeoutError", "", "", 1), NOW + 20_000)

    assert f"{NEW_TYPE}/TimeoutError" not in conditions.firing


def test_watch_several_targets_that_fail_keep_nobody_from_being_told() -> None:
    """Each fails in its own way; the last one is told."""

    class Failing(Friend):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = self.identity = name

        def tell(
            self,
            alerts: Sequence[Alert],
            now: float,
            stop: Callable[[], bool] = bool,
        ) -> None:
            raise NotToldError(self.name)

    friend = Friend()
    outbox = Outbox([Failing("a"), Failing("b"), friend], lambda _text: None)

    outbox.deliver([make_alert()], NOW, elapsed=0)

    assert friend.told == ["CriticalError/AuthenticationError firing"]
    assert outbox.failing == ["a", "b"]
