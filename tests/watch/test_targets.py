"""Who is told gets it right, and cannot be made to do anything else by an error."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tokenpak.telemetry
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.watch import targets
from tokenpak.telemetry.watch.alerts import CRITICAL, Alert, one_line
from tokenpak.telemetry.watch.forms import slack_form, text_line
from tokenpak.telemetry.watch.targets import (
    Command,
    NotToldError,
    Target,
    alertmanager,
    slack,
    webhook,
)

from .receiver import Receiver, receiving

NOW = 1_800_000_000.0
HOSTILE = '"}], <!channel> & $(touch owned) `touch owned`; touch owned\n\0\ud800'


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def make_alert(*, over: bool = False, text: str = HOSTILE) -> Alert:
    return Alert(
        name=CRITICAL,
        error_type=one_line(text),
        severity="critical",
        summary=one_line(f"{text} has been logged"),
        example=one_line(text),
        starts_at=NOW - 60,
        ends_at=NOW if over else None,
    )


def test_watch_alertmanager_gets_its_own_form(receiver: Receiver) -> None:
    """Of its API v2, at its path; what is over says when."""
    alertmanager(receiver.address).tell([make_alert(), make_alert(over=True)], NOW)

    ((firing, over),) = receiver.bodies
    assert receiver.paths == ["/api/v2/alerts"]
    assert firing["labels"]["alertname"] == CRITICAL
    assert firing["labels"]["error_type"] == one_line(HOSTILE)
    assert firing["startsAt"] == "2027-01-15T07:59:00.000000Z"
    assert firing["endsAt"] == "2027-01-15T08:15:00.000000Z"
    assert over["endsAt"] == "2027-01-15T08:00:00.000000Z"


def test_watch_an_alert_never_ends_before_it_starts(receiver: Receiver) -> None:
    """Alertmanager refuses that, and all that came with it.  A clock was set back."""
    alert = make_alert()
    alert.starts_at = NOW + 7200

    alertmanager(receiver.address).tell([alert], NOW)

    ((told,),) = receiver.bodies
    assert told["startsAt"] < told["endsAt"]


def test_watch_a_webhook_gets_what_alertmanager_would_send(receiver: Receiver) -> None:
    """Version 4, with the status of each alert and of all."""
    webhook(receiver.address + "/hook?x=1").tell([make_alert(over=True)], NOW)

    (body,) = receiver.bodies
    assert receiver.paths == ["/hook?x=1"]
    assert (body["version"], body["status"]) == ("4", "resolved")
    assert body["alerts"][0]["annotations"]["example"] == one_line(HOSTILE)


def test_watch_slack_is_not_made_to_mention_anybody(receiver: Receiver) -> None:
    """Its three special characters are escaped; what is over says so."""
    slack(receiver.address).tell([make_alert(), make_alert(over=True)], NOW)

    (body,) = receiver.bodies
    assert set(body) == {"text"}
    assert "&lt;!channel&gt; &amp;" in body["text"]
    assert "<" not in body["text"]
    assert "(over)" in body["text"].splitlines()[-1]
    many = slack_form([make_alert()] * 50, NOW)["text"]
    assert many.endswith("and 30 more")


def test_watch_user_and_password_are_sent_as_such(receiver: Receiver) -> None:
    """Basic authentication, out of the address."""
    address = receiver.address.replace("http://", "http://me:p%40ss@")

    webhook(address).tell([make_alert()], NOW)

    assert receiver.headers[0]["Authorization"] == "Basic bWU6cEBzcw=="


@pytest.mark.parametrize("status", [301, 302, 400, 404, 429, 500, 503])
def test_watch_any_other_answer_is_a_failure(receiver: Receiver, status: int) -> None:
    """Also being sent elsewhere, which would lose the alert."""
    receiver.status = status

    with pytest.raises(NotToldError, match=str(status)):
        webhook(receiver.address).tell([make_alert()], NOW)

    assert receiver.paths == ["/"]


def test_watch_nobody_there_is_a_failure_that_tells_no_secret() -> None:
    """Neither the message nor the name holds more of the address than its host."""
    target = slack("http://127.0.0.1:9/services/SECRET")

    with pytest.raises(NotToldError) as caught:
        target.tell([make_alert()], NOW)

    assert "refused" in str(caught.value)
    assert "SECRET" not in f"{caught.value} {target.name} {target.identity}"


def test_watch_an_answer_that_never_ends_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of its bytes comes in time; the others are to be told, too."""
    monkeypatch.setattr(targets, "LONGEST", 0.3)
    over = threading.Event()

    def drip(server: socket.socket) -> None:
        client, _ = server.accept()
        with client:
            client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            for _ in range(6_000):
                if over.wait(0.01):
                    break
                client.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        target = webhook(f"http://127.0.0.1:{server.getsockname()[1]}/")
        try:
            for _ in range(2):  # the second one does not wait beside the first
                with pytest.raises(NotToldError, match="no end"):
                    target.tell([make_alert()], NOW)
        finally:
            over.set()
            thread.join()
        assert target.ended(60)


def test_watch_who_wants_the_end_does_not_wait_for_one_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only some seconds; it is known then that nobody was told."""
    monkeypatch.setattr(targets, "ENDING", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        hook = webhook(f"http://127.0.0.1:{server.getsockname()[1]}/")
        command = Command(f"'{sys.executable}' -c 'import time; time.sleep(600)'")
        for target in (hook, command):
            with pytest.raises(NotToldError, match="was to end"):
                target.tell([make_alert()], NOW, lambda: True)
        client, _ = server.accept()
        client.close()
        assert hook.ended(60)


def test_watch_who_answers_at_once_is_told_also_at_the_end(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal breaks off nothing that is under way."""
    # On a busy machine, some seconds are not enough for an interpreter to start.
    monkeypatch.setattr(targets, "ENDING", 100.0)
    webhook(receiver.address).tell([make_alert()], NOW, lambda: True)
    # Not before it was seen that the watch is to end.
    command = script(
        tmp_path,
        f"import time; time.sleep(0.3); open({str(tmp_path / 'told')!r}, 'w')",
    )
    command.tell([make_alert()], NOW, lambda: True)

    assert len(receiver.bodies) == 1
    assert (tmp_path / "told").exists()


@pytest.mark.skipif(os.name == "nt", reason="its environment has one encoding")
def test_watch_a_command_is_told_in_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    """What the locale cannot say would never be told: it is tried again, and again."""
    (tmp_path / "tell.py").write_text(
        "from tokenpak.telemetry.watch import Alert, Command\n"
        "alert = Alert('CriticalError', 'é…', 'critical', 'é…', '', 0.0)\n"
        "Command('sh tell.sh').tell([alert], 0.0)\n"
    )
    (tmp_path / "tell.sh").write_text('printf %s "$TOKENPAK_ALERT_SUMMARY" > told')
    subprocess.run(
        [sys.executable, "tell.py"],
        cwd=tmp_path,
        env={
            **os.environ,
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
            "PYTHONPATH": str(Path(tokenpak.telemetry.__file__).parents[2]),
        },
        check=True,
        timeout=120,
    )

    assert (tmp_path / "told").read_bytes() == "é…".encode()


def test_watch_a_proxy_that_is_none_is_a_failure_not_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its address is not looked at when the watch starts."""
    monkeypatch.setenv("http_proxy", "http://a..b:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    with pytest.raises(NotToldError, match="address"):
        webhook("http://hook.example/").tell([make_alert()], NOW)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "hooks.slack.com/x",
        "file:///etc/passwd",
        "http://",
        "http://h:x/",
        "http://a b/",
        "http://h/\r\nX: y",
        "ftp://h/",
        "http://hé/",
        "http://[::1/",
        "http://a..b/",
        f"http://{'a' * 64}.example/",
    ],
)
def test_watch_what_is_no_address_is_refused(address: str) -> None:
    """When the watch starts, not when something burns."""
    for kind in (alertmanager, slack, webhook):
        with pytest.raises(SettingError, match="https://host/path") as caught:
            kind(address)
        assert address == "" or address not in str(caught.value)


def script(tmp_path: Path, text: str) -> Command:
    path = tmp_path / "told.py"
    path.write_text(text)
    return Command(f"'{sys.executable}' '{path}' '$HOME'", timeout=120)


def test_watch_a_command_is_told_without_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its environment and stdin; nothing in an error is run, or an argument."""
    monkeypatch.chdir(tmp_path)
    command = script(
        tmp_path,
        "import json, os, sys\n"
        "told = {k: v for k, v in os.environ.items() if k.startswith('TOKENPAK_A')}\n"
        "data = [sys.argv[1:], told, json.load(sys.stdin)]\n"
        "json.dump(data, open('told.json', 'w'))\n",
    )

    command.tell([make_alert()], NOW)

    arguments, environment, body = json.loads((tmp_path / "told.json").read_text())
    assert arguments == ["$HOME"]
    assert environment["TOKENPAK_ALERT_STATUS"] == "firing"
    assert environment["TOKENPAK_ALERT_EXAMPLE"] == one_line(HOSTILE)
    assert body["alerts"][0]["labels"]["severity"] == "critical"
    assert not (tmp_path / "owned").exists()


def test_watch_a_command_that_fails_has_not_been_told(tmp_path: Path) -> None:
    """By its status; by not being there; by not reading what it is told."""
    with pytest.raises(NotToldError, match="exit status 3"):
        script(tmp_path, "raise SystemExit(3)").tell([make_alert()], NOW)
    with pytest.raises(NotToldError, match="No such file"):
        Command("/no/such/program").tell([make_alert()], NOW)
    script(tmp_path, "import os; os.close(0)").tell([make_alert()], NOW)
    for wrong in ("", "'unfinished"):
        with pytest.raises(SettingError):
            Command(wrong)


def test_watch_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    """Or each alert would leave one behind."""
    path = tmp_path / "hang.py"
    path.write_text(
        "import os, sys, time\n"
        "pid = os.fork()\n"
        "if pid:\n"
        "    open('new', 'w').write(str(pid))\n"
        "    os.rename('new', 'pid')\n"
        "time.sleep(600)\n"
    )
    line = f"sh -c 'cd {tmp_path} && {sys.executable} hang.py'"

    # On a busy machine it may be ended before it has a child: then it gets longer.
    for seconds in (2, 8, 32):
        with pytest.raises(NotToldError, match=f"no end after {seconds} seconds"):
            Command(line, timeout=seconds).tell([make_alert()], NOW)
        if (tmp_path / "pid").exists():
            break

    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 60
    while _runs(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    done = subprocess.run(
        ["ps", "-o", "state=", "-p", str(pid)], capture_output=True, check=False
    )
    return done.stdout.strip() not in {b"", b"Z"}


def test_watch_names_of_targets_are_short() -> None:
    """A kind and a host or a program."""
    targets: list[Target] = [slack("https://hooks.slack.com/x/y"), Command("/a/b c d")]

    assert [target.name for target in targets] == [
        "slack (hooks.slack.com)",
        "command (b)",
    ]


def test_watch_a_line_says_what_when_and_why() -> None:
    """For a terminal, or cron's mail."""
    assert text_line(make_alert(text="AuthenticationError")) == (
        "2027-01-15T07:59:00.000000Z FIRING CriticalError [critical] "
        "AuthenticationError has been logged: AuthenticationError"
    )
    assert " RESOLVED " in text_line(make_alert(over=True))
