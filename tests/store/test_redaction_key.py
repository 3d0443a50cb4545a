"""The key of the marks: one for a directory, whole, and private (S5)."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tokenpak.telemetry.read.strays import find_strays
from tokenpak.telemetry.store.lock import try_lock
from tokenpak.telemetry.store.names import KEY_NAME
from tokenpak.telemetry.store.redaction_key import KEY_BYTES, redaction_key


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_key_of_a_directory_is_the_same_each_time(log_dir: Path) -> None:
    """And another directory has another."""
    first, second = redaction_key(str(log_dir)), redaction_key(str(log_dir))
    other = redaction_key(str(log_dir / "other"))

    assert first == second == (log_dir / KEY_NAME).read_bytes()
    assert len(first) == KEY_BYTES
    assert other != first
    assert [path.name for path in (log_dir / "other").iterdir()] == [KEY_NAME]


@pytest.mark.parametrize("umask", [0o000, 0o777])
@pytest.mark.parametrize("group", [False, True])
def test_s5_the_key_is_as_private_as_the_log(
    log_dir: Path, umask: int, group: bool
) -> None:
    """Whatever the umask; with group access the group may read it, and not write."""
    before = os.umask(umask)
    try:
        redaction_key(str(log_dir), group_access=group)
    finally:
        os.umask(before)

    assert mode(log_dir / KEY_NAME) == (0o640 if group else 0o600)
    assert mode(log_dir) & 0o7777 == (0o2770 if group else 0o700)


def test_many_processes_that_begin_at_once_have_one_key(log_dir: Path) -> None:
    """Whoever is first; the others take that one."""
    script = (
        "import sys\n"
        "from tokenpak.telemetry.store.redaction_key import redaction_key\n"
        "sys.stdin.read(1)\n"
        "print(redaction_key(sys.argv[1]).hex())\n"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(log_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    keys = {child.communicate("x", timeout=240)[0] for child in children}

    assert len(keys) == 1
    assert keys == {(log_dir / KEY_NAME).read_bytes().hex() + "\n"}
    assert [path.name for path in log_dir.iterdir()] == [KEY_NAME]


@pytest.mark.parametrize("obstacle", ["link", "directory", "fifo", "file above"])
def test_where_no_key_can_be_kept_it_is_a_random_one(
    log_dir: Path, obstacle: str
) -> None:
    """Nothing raises, no link is followed, and nobody's file is replaced."""
    elsewhere = log_dir.parent / "elsewhere"
    elsewhere.write_bytes(b"e" * KEY_BYTES)
    if obstacle == "file above":
        log_dir.write_bytes(b"")
    else:
        log_dir.mkdir()
        key = log_dir / KEY_NAME
        if obstacle == "link":
            key.symlink_to(elsewhere)
        elif obstacle == "directory":
            key.mkdir()
        else:
            os.mkfifo(key)

    first, second = redaction_key(str(log_dir)), redaction_key(str(log_dir))

    assert len(first) == KEY_BYTES
    assert first not in (second, b"e" * KEY_BYTES)
    assert elsewhere.read_bytes() == b"e" * KEY_BYTES
    if obstacle == "fifo":
        assert stat.S_ISFIFO(key.stat().st_mode)


@pytest.mark.parametrize("left", [b"", b"short", b"k" * (KEY_BYTES - 1)])
@pytest.mark.parametrize("group", [False, True])
def test_a_key_that_is_too_short_is_replaced(
    log_dir: Path, left: bytes, group: bool
) -> None:
    """As a power failure may leave it: for ever would marks not be comparable."""
    log_dir.mkdir()
    key = log_dir / KEY_NAME
    key.write_bytes(left)

    first = redaction_key(str(log_dir), group_access=group)

    assert first == redaction_key(str(log_dir)) == key.read_bytes()
    assert len(first) == KEY_BYTES
    assert mode(key) == (0o640 if group else 0o600)
    assert list(log_dir.iterdir()) == [key]


def test_many_processes_that_find_it_too_short_have_one_key(log_dir: Path) -> None:
    """One replaces it, and nobody what that one has put there."""
    log_dir.mkdir()
    # Who has the lock may not run for long: the others give up after a moment then, as
    # the next test shows.  Here they wait.
    script = (
        "import sys\n"
        "from tokenpak.telemetry.store import redaction_key\n"
        "redaction_key._TRIES = 100_000\n"
        "sys.stdin.read(1)\n"
        "print(redaction_key.redaction_key(sys.argv[1]).hex())\n"
    )
    for _ in range(5):
        (log_dir / KEY_NAME).write_bytes(b"short")
        children = [
            subprocess.Popen(
                [sys.executable, "-c", script, str(log_dir)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(6)
        ]
        for child in children:
            assert child.stdin is not None
            child.stdin.write("x")
            child.stdin.flush()
        keys = {child.communicate(timeout=240)[0] for child in children}

        assert keys == {(log_dir / KEY_NAME).read_bytes().hex() + "\n"}
        assert [path.name for path in log_dir.iterdir()] == [KEY_NAME]


def test_a_short_key_whose_lock_is_held_is_left_alone(log_dir: Path) -> None:
    """C1: nobody is waited for; the key is a random one then."""
    log_dir.mkdir()
    key = log_dir / KEY_NAME
    key.write_bytes(b"short")
    with key.open("rb") as held:
        assert try_lock(held.fileno())

        assert len(redaction_key(str(log_dir))) == KEY_BYTES

    assert key.read_bytes() == b"short"


def test_a_key_that_cannot_be_written_leaves_nothing_behind(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: no key of half the length, and no temporary file."""

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)

    assert len(redaction_key(str(log_dir))) == KEY_BYTES
    assert list(log_dir.iterdir()) == []


def test_s5_a_key_that_others_may_read_is_found(log_dir: Path) -> None:
    """It belongs where it is, and a mode that is too wide is told."""
    redaction_key(str(log_dir))
    assert list(find_strays(str(log_dir), [], group_access=False)) == []
    (log_dir / KEY_NAME).chmod(0o644)

    (finding,) = find_strays(str(log_dir), [], group_access=False)
    assert (finding.kind, finding.file) == ("exposed", str(log_dir / KEY_NAME))
