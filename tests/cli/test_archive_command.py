"""``tokenpak telemetry archive`` and ``prune``: options, messages and exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.queue.rig import make_line
from tests.read.log_making import write_log
from tests.store.archiving import ids, tree
from tests.store.test_unsettled import make_spool
from tokenpak.cli import main
from tokenpak.cli.interrupt import interruptible
from tokenpak.telemetry.store import manage
from tokenpak.telemetry.store.files import OsFiles


def days_ago(number: int) -> str:
    return (datetime.now(UTC).date() - timedelta(number)).isoformat()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Days of several ages, and some archives."""
    folder = tmp_path / "logs"
    for age in (1, 5, 20, 40):
        day = days_ago(age)
        write_log(folder, make_line(f"{age} days", 2000, day), day)
    for age in (100, 200):
        day = days_ago(age)
        data = make_line(f"{age} days", 2000, day)
        write_log(folder, data, day, archived=True, compressed=True)
    return folder


def run(command: str, log_dir: Path, *args: str, **env: Any) -> Result:
    words = ["telemetry", command, "--log-dir", str(log_dir), *args]
    return CliRunner().invoke(main, words, env=env, prog_name="tokenpak")


def test_days_past_the_settings_age_are_archived(logs: Path) -> None:
    """It is said which, and what it saved; a second time nothing is to do."""
    before = ids(logs)
    result = run("archive", logs)

    assert result.exit_code == 0, result.output
    archive = logs / "archive"
    lines = result.stdout.splitlines()
    assert lines[:2] == [
        f"Archived {archive}/errors-{days_ago(age)}.jsonl.gz" for age in (40, 20)
    ]
    assert lines[2].startswith("2 files, 3.9 KiB, became ")
    assert lines[2].endswith(f" in {archive}.")
    assert result.stderr == ""
    assert ids(logs) == before
    again = run("archive", logs)
    assert (again.exit_code, again.stdout) == (0, "Nothing was archived.\n")


@pytest.mark.parametrize(
    ("age", "left"),
    [("30d", [20, 5, 1]), ("0d", []), ("5w", [20, 5, 1]), ("36h", [1])],
)
def test_the_age_can_be_given(logs: Path, age: str, left: list[int]) -> None:
    """In hours, days or weeks, whatever the setting is."""
    result = run("archive", logs, "--older-than", age, TOKENPAK_ARCHIVE_AFTER_DAYS="0")

    assert result.exit_code == 0, result.output
    names = [name for name in tree(logs) if name.startswith("errors")]
    assert names == [f"errors-{days_ago(number)}.jsonl" for number in left]


@pytest.mark.parametrize("command", ["archive", "prune"])
def test_a_dry_run_changes_nothing(logs: Path, command: str) -> None:
    """It says what would be done."""
    write_log(logs, b"", days_ago(30))
    before = tree(logs)
    option = ["--older-than", "7d", "--dry-run"]
    result = run(command, logs, *option)

    assert result.exit_code == 0, result.output
    assert tree(logs) == before
    lines = result.stdout.splitlines()
    if command == "archive":
        assert lines == [
            *(f"Would archive {logs}/errors-{days_ago(age)}.jsonl" for age in (40, 20)),
            f"Would delete {logs}/errors-{days_ago(30)}.jsonl, which is empty",
            "2 files, 3.9 KiB, would be archived.",
        ]
    else:
        assert lines[:2] == [
            f"Would delete {logs}/archive/errors-{days_ago(age)}.jsonl.gz"
            for age in (200, 100)
        ]
        assert lines[2].startswith("2 archives, ")
        assert lines[2].endswith(" would be deleted; 0 would be left, 0 bytes.")


def test_what_is_put_off_is_said_and_no_failure(logs: Path) -> None:
    """Here a living process has something to settle."""
    day = days_ago(20)
    path = make_spool(logs / "spool", day=day, living=OsFiles())
    result = run("archive", logs)

    assert result.exit_code == 0
    assert result.stderr == (
        f"Not yet: {logs}/errors-{day}.jsonl: {path} has an append to settle with it. "
        f"Try again later.\n"
    )
    assert f"Archived {logs}/archive/errors-{days_ago(40)}.jsonl.gz" in result.stdout


def test_records_of_dead_processes_are_appended_first(logs: Path) -> None:
    """So their notes put nothing off."""
    make_spool(logs / "spool", day=days_ago(20), done=True)

    result = run("archive", logs)

    assert result.exit_code == 0
    assert result.stderr == ""
    assert list((logs / "spool").iterdir()) == []


def test_a_failure_is_said_and_the_others_are_archived(logs: Path) -> None:
    """Exit status 1."""
    bad = logs / f"errors-{days_ago(30)}.jsonl"
    bad.symlink_to("/etc/passwd")
    result = run("archive", logs)

    assert result.exit_code == 1
    assert result.stderr == (
        f"Failed: {bad}: is a symbolic link, which is not followed.\n"
    )
    assert result.stdout.count("Archived") == 2


@pytest.mark.parametrize("command", ["archive", "prune"])
def test_an_archive_that_is_no_directory_is_said(logs: Path, command: str) -> None:
    """With its path, and exit status 1 if something cannot be done."""
    (logs / "archive").rename(logs / "elsewhere")
    (logs / "archive").write_bytes(b"")
    result = run(command, logs, "--older-than", "7d")

    if command == "archive":
        assert result.exit_code == 1
        assert (
            f"Error: Nothing can be archived: {logs}/archive: Not a directory."
            in result.stderr
        )
    else:
        assert result.stdout == "0 archives, 0 bytes, deleted; 0 are left, 0 bytes.\n"


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--older-than", "150d"], [100]),
        (["--older-than", "99d"], []),
        (["--max-size", "0"], []),
        (["--max-size", "1MiB"], [200, 100]),
        (["--max-size", "1GB", "--older-than", "150d"], [100]),
    ],
)
def test_archives_past_a_bound_are_pruned(
    logs: Path, options: list[str], left: list[int]
) -> None:
    """By age, by size, or both; days that are not archived stay."""
    result = run("prune", logs, *options)

    assert result.exit_code == 0, result.output
    names = [name for name in tree(logs) if name.startswith("archive")]
    assert names == [f"archive/errors-{days_ago(age)}.jsonl.gz" for age in left]
    assert result.stdout.count("Deleted ") == 2 - len(left)
    assert f"; {len(left)} are left" in result.stdout
    assert len(list(logs.glob("*.jsonl"))) == 4


def test_pruning_without_a_bound_is_wrong_usage(logs: Path) -> None:
    """And says which there are."""
    before = tree(logs)
    result = run("prune", logs)

    assert result.exit_code == 2
    assert "Nothing says what to delete: give --older-than AGE (90d)" in result.stderr
    assert tree(logs) == before


def test_archiving_without_an_age_is_wrong_usage_if_the_setting_says_never(
    logs: Path,
) -> None:
    """Somebody wanted the files to stay."""
    result = run("archive", logs, TOKENPAK_ARCHIVE_AFTER_DAYS="0")

    assert result.exit_code == 2
    assert "say which days with --older-than" in result.stderr


@pytest.mark.parametrize("value", ["30", "d", "30 d", "-3d", "3m", "1.5d", "9999999d"])
def test_what_is_no_age_is_wrong_usage(logs: Path, value: str) -> None:
    """The message shows some."""
    result = run("archive", logs, f"--older-than={value}")

    assert result.exit_code == 2
    assert "is not an age like 30d (days), 12h (hours) or 2w (weeks)" in result.stderr


@pytest.mark.parametrize("value", ["", "GB", "10gb", "-1", "1..5GB", "10XB", "1e3"])
def test_what_is_no_size_is_wrong_usage(logs: Path, value: str) -> None:
    """Which unit is meant must be plain: deleted is deleted."""
    result = run("prune", logs, f"--max-size={value}")

    assert result.exit_code == 2
    assert "is not a size like 10GiB, 500MB or 1048576 (bytes)" in result.stderr


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("1048576", 2**20),
        ("7B", 7),
        ("10GiB", 10 * 2**30),
        ("1.5 MiB", 3 * 2**19),
        ("500MB", 500_000_000),
        ("2kB", 2000),
        ("1TiB", 2**40),
    ],
)
def test_a_size_is_in_bytes_or_has_a_unit(
    logs: Path, monkeypatch: pytest.MonkeyPatch, value: str, size: int
) -> None:
    """Powers of 1000 and of 1024."""
    given: list[object] = []
    real = manage.prune_archives

    def prune(log_dir: str, **options: Any) -> object:
        given.append(options["max_bytes"])
        return real(log_dir, **options)

    monkeypatch.setattr(manage, "prune_archives", prune)

    assert run("prune", logs, "--dry-run", f"--max-size={value}").exit_code == 0
    assert given == [size]


@pytest.mark.parametrize("command", ["archive", "prune"])
def test_a_log_directory_that_is_not_there_is_said(
    tmp_path: Path, command: str
) -> None:
    """As by the other commands."""
    result = run(command, tmp_path / "nowhere", "--older-than", "1d")

    assert result.exit_code == 1
    assert "does not exist" in result.stderr


STOPPED = """
import os, signal, sys
from tokenpak.cli import main
from tokenpak.telemetry.store import archive, packing
# Not as whoever runs the tests has them: ignored in the background, or by nohup.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
packing.PIECE = 4096
real = packing.pack
def pack(*args):
    for number, size in enumerate(real(*args)):
        if number == 3:
            os.kill(os.getpid(), getattr(signal, sys.argv[2]))
        yield size
archive.pack = pack
main(["telemetry", "archive", "--log-dir", sys.argv[1]])
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_ctrl_c_leaves_nothing_half_done(tmp_path: Path, name: str) -> None:
    """No temporary file; what was done is said, and the exit status is 1."""
    for age in (20, 40):
        day = days_ago(age)
        size = 100 if age == 40 else 1000
        data = b"".join(make_line(f"{age}/{n}", 100, day) for n in range(size))
        write_log(tmp_path, data, day)
    before = ids(tmp_path)

    command = [sys.executable, "-c", STOPPED, str(tmp_path), name]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1, done
    assert done.stdout.startswith(f"Archived {tmp_path}/archive/errors-{days_ago(40)}")
    assert done.stderr == (
        "Stopped. What was done stays done, and nothing is half-done.\n"
    )
    assert tree(tmp_path) == [
        f"archive/errors-{days_ago(40)}.jsonl.gz",
        f"archive/errors-{days_ago(20)}.jsonl",
    ]
    assert ids(tmp_path) == before


def test_the_second_ctrl_c_does_what_it_always_does() -> None:
    """And afterwards all handlers are as they were."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    # Whoever runs the tests may have them ignored: in the background, for example.
    own = [
        signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.signal(signal.SIGTERM, signal.SIG_DFL),
    ]
    before = [signal.getsignal(number) for number in numbers]
    try:
        with interruptible() as stop:
            assert not stop()
            os.kill(os.getpid(), signal.SIGINT)
            assert stop()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)

        assert [signal.getsignal(number) for number in numbers] == before
    finally:
        for number, handler in zip(numbers, own, strict=True):
            signal.signal(number, handler)


def test_a_terminal_is_shown_how_far_it_is(logs: Path) -> None:
    """On stderr; the rest of the output is as ever."""
    pty = pytest.importorskip("pty")
    main_end, terminal = pty.openpty()
    command = [sys.executable, "-m", "tokenpak", "telemetry", "archive"]
    done = subprocess.run(
        [*command, "--log-dir", str(logs)],
        stdout=subprocess.PIPE,
        stderr=terminal,
        timeout=60,
        check=False,
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(main_end, 4096)
        except OSError:  # the other end is closed: how Linux says so
            break
        if not part:
            break
        shown += part
    os.close(main_end)

    assert done.returncode == 0
    assert b"Archiving" in shown
    assert b"100%" in shown
    assert done.stdout.count(b"Archived ") == 2
