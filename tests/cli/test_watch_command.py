"""``tokenpak telemetry watch`` as cron, systemd and a person run it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.read.log_making import as_lines, make_record
from tests.watch.receiver import receiving
from tokenpak.cli import main


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def write(log_dir: Path, error_type: str, ago: timedelta = timedelta()) -> None:
    log_dir.mkdir(exist_ok=True)
    moment = datetime.now(UTC) - ago
    record = make_record(
        timestamp=f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z", error_type=error_type
    )
    with (log_dir / f"errors-{moment:%Y-%m-%d}.jsonl").open("ab") as file:
        file.write(as_lines([record]))


def history(log_dir: Path) -> None:
    for minutes in range(2 * 24 * 60, 10, -10):
        write(log_dir, "TimeoutError", timedelta(minutes=minutes))


def run(log_dir: Path, *options: str) -> Result:
    return CliRunner().invoke(
        main, ["telemetry", "watch", "--log-dir", str(log_dir), *options]
    )


def test_watch_once_tells_cron_what_is_new_by_output_and_status(log_dir: Path) -> None:
    """Silent and 0 as long as there is nothing; then once; or while it fires."""
    history(log_dir)
    assert (run(log_dir, "--once").output, run(log_dir, "--once").exit_code) == ("", 0)

    write(log_dir, "AuthenticationError")
    first, second = run(log_dir, "--once"), run(log_dir, "--once")

    assert first.exit_code == 1
    assert " FIRING CriticalError [critical] AuthenticationError" in first.stdout
    assert (second.exit_code, second.output) == (0, "")
    assert run(log_dir, "--once", "--while-firing").exit_code == 1


def test_watch_once_with_nobody_there_fails_and_remembers(log_dir: Path) -> None:
    """The next run tells it."""
    history(log_dir)
    run(log_dir, "--once")
    write(log_dir, "AuthenticationError")
    with receiving() as receiver:
        receiver.status = 503
        failed = run(log_dir, "--once", "--slack", receiver.address)
        receiver.status = 200
        told = run(log_dir, "--once", "--slack", receiver.address)
        again = run(log_dir, "--once", "--slack", receiver.address)

        assert "it answered 503" in failed.stderr
        assert [failed.exit_code, told.exit_code, again.exit_code] == [1, 0, 0]
        assert len(receiver.bodies) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--window", "5"], "span of time"),
        (["--window", "5s"], "--window"),
        (["--interval", "0s"], "--interval"),
        (["--spike-factor", "nan"], "--spike-factor"),
        (["--slack", "hooks.slack.com/x"], "--slack"),
        (["--command", "'"], "--command"),
    ],
)
def test_watch_wrong_options_are_usage_errors(
    log_dir: Path, options: list[str], says: str
) -> None:
    """With what is expected, and exit status 2."""
    log_dir.mkdir()

    result = run(log_dir, "--once", *options)

    assert result.exit_code == 2
    assert says in result.output
    assert "Traceback" not in result.output


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no full device")
@pytest.mark.parametrize("full", ["stdout", "stderr"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_watch_with_no_room_for_its_output_tells_the_others(
    log_dir: Path, full: str, unbuffered: str
) -> None:
    """A full disk, where the output goes too, is when one must be told."""
    write(log_dir, "AuthenticationError")
    (log_dir / "watch").mkdir()
    (log_dir / "watch" / "state.json").write_bytes(b"damaged")  # to be complained of
    with receiving() as receiver, open("/dev/full", "wb") as device:
        command = [sys.executable, "-m", "tokenpak", "telemetry", "watch", "--once"]
        run = subprocess.run(
            [*command, "--log-dir", str(log_dir), "--webhook", receiver.address],
            stdout=device if full == "stdout" else subprocess.PIPE,
            stderr=device if full == "stderr" else subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            timeout=60,
            check=False,
        )

        assert len(receiver.bodies) == 1
        assert run.returncode == 1
        if full == "stdout":
            assert b"output could not be told: No space left" in run.stderr


def test_watch_without_a_directory_or_a_place_for_its_state_says_so(
    log_dir: Path, tmp_path: Path
) -> None:
    """And what to do about it."""
    assert "--log-dir" in run(log_dir, "--once").output
    log_dir.mkdir()
    file = tmp_path / "file"
    file.touch()

    result = run(log_dir, "--once", "--state", str(file / "state.json"))

    assert result.exit_code == 1
    assert "--state FILE" in result.output


def test_watch_its_files_are_no_strays(log_dir: Path) -> None:
    """Verify knows them."""
    history(log_dir)
    run(log_dir, "--once")

    result = CliRunner().invoke(
        main, ["telemetry", "verify", "--log-dir", str(log_dir)]
    )

    assert (log_dir / "watch" / "state.json").exists()
    assert "stray" not in result.output


def test_watch_its_variables_are_no_wrong_settings(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Doctor knows that they are not the logger's; and they are used."""
    history(log_dir)
    with receiving() as receiver:
        monkeypatch.setenv("TOKENPAK_WATCH_SLACK", receiver.address)
        write(log_dir, "AuthenticationError")
        run(log_dir, "--once")
        assert len(receiver.bodies) == 1

    result = CliRunner().invoke(
        main, ["telemetry", "doctor", "--log-dir", str(log_dir)]
    )

    assert "TOKENPAK_WATCH" not in result.output


def patient(seconds: float) -> list[str]:
    """Return a command that waits so long for who is being told when it is to end."""
    start = (
        "from tokenpak.cli import main\n"
        "from tokenpak.telemetry.watch import targets\n"
        f"targets.ENDING = {seconds}\n"
        "main()\n"
    )
    return [sys.executable, "-c", start]


def test_watch_runs_until_it_is_told_to_end(log_dir: Path) -> None:
    """It tells a webhook within its interval, keeps out a second one, ends quietly."""
    history(log_dir)
    with receiving() as receiver:
        # However slow the machine is, the answer to what is being told is waited for.
        command = [*patient(60.0), "telemetry", "watch"]
        command += ["--log-dir", str(log_dir), "--interval", "1s"]
        watch = subprocess.Popen(
            [*command, "--alertmanager", receiver.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            state = log_dir / "watch" / "state.json"
            deadline = time.monotonic() + 60
            while not state.exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            second = run(log_dir, "--once")
            write(log_dir, "AuthenticationError")
            assert receiver.wait_for(1, 60)
            # Told is followed by the saving of the state, which a signal does not cut.
            watch.send_signal(signal.SIGTERM)
            output, errors = watch.communicate(timeout=60)
        finally:
            watch.kill()
            watch.wait()

    assert (second.exit_code, "Another watch" in second.output) == (1, True)
    assert receiver.bodies[0][0]["labels"]["alertname"] == "CriticalError"
    assert "FIRING CriticalError" in output
    assert errors == ""
    assert watch.returncode == 0


def test_watch_a_signal_does_not_wait_for_one_that_hangs(log_dir: Path) -> None:
    """It takes the connection and says nothing; who was not told is said."""
    history(log_dir)
    run(log_dir, "--once")
    write(log_dir, "AuthenticationError")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        options = ["--log-dir", str(log_dir), "--webhook", address]
        watch = subprocess.Popen(
            [*patient(0.1), "telemetry", "watch", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "no_proxy": "127.0.0.1"},
        )
        try:
            client, _ = server.accept()
            with client:
                watch.send_signal(signal.SIGTERM)
                _, errors = watch.communicate(timeout=60)
        finally:
            watch.kill()
            watch.wait()

    assert watch.returncode == 0
    assert errors.splitlines() == [
        (
            "webhook (127.0.0.1) could not be told: the watch was to end meanwhile. "
            "It is tried again."
        ),
        "webhook (127.0.0.1) was not told of an alert; the next start does it.",
    ]


def test_watch_a_signal_ends_it_between_two_commands_and_each_is_told_once(
    log_dir: Path, tmp_path: Path
) -> None:
    """Who was not told is said, and told by the next start."""
    history(log_dir)
    run(log_dir, "--once")
    for number in range(4):
        write(log_dir, f"Novel{number}Error")
    told = tmp_path / "told.txt"
    gate = tmp_path / "gate"
    script = tmp_path / "tell.sh"
    script.write_text(
        f'echo "$TOKENPAK_ALERT_ERROR_TYPE" >> {told}\n'
        f"while [ ! -e {gate} ]; do sleep 0.05; done\n"
    )
    options = ["--log-dir", str(log_dir), "--command", f"sh {script}"]
    # However slow the machine is, the command that runs is waited for.
    watch = subprocess.Popen(
        [*patient(60.0), "telemetry", "watch", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not told.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        watch.send_signal(signal.SIGTERM)  # while the first command runs
        gate.touch()
        _, errors = watch.communicate(timeout=60)
    finally:
        watch.kill()
        watch.wait()

    assert watch.returncode == 0
    assert len(told.read_text().split()) == 1
    assert errors == (
        "command (sh) was not told of 3 alerts; the next start does it.\n"
    )
    run(log_dir, "--once", "--command", f"sh {script}")
    assert sorted(told.read_text().split()) == [f"Novel{n}Error" for n in range(4)]
