"""The checks of the directory and its files, each with its trouble."""

from __future__ import annotations

import errno
import mmap
import os
import sys
from pathlib import Path

import pytest

from tests.doctor.places import (
    DAY,
    NOW,
    diagnose,
    make_healthy,
    on_file_system,
    only,
    outcomes,
)
from tokenpak.telemetry.doctor import Level
from tokenpak.telemetry.doctor import probe as probing
from tokenpak.telemetry.doctor.probe import Probe, probe
from tokenpak.telemetry.store import places


@pytest.fixture
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with which all is well, on ext4."""
    on_file_system(monkeypatch, "ext4")
    return make_healthy(tmp_path / "logs")


# -- file systems -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_network_file_system_is_warned_of(
    healthy: Path, monkeypatch: pytest.MonkeyPatch, kind: str, tmp_path: Path
) -> None:
    """The spool is elsewhere, and nothing is promised for several machines."""
    on_file_system(monkeypatch, kind)
    local = tmp_path / "local" / "tag"
    monkeypatch.setattr(places, "_local_directory", lambda log_dir: str(local))
    diagnosis = diagnose(healthy)

    assert only(diagnosis, "file system").level == Level.WARNING
    assert str(local) in only(diagnosis, "file system").meaning
    assert diagnosis.spool_place == str(local)
    assert outcomes(diagnosis)["several machines log"] == "lost"
    assert outcomes(diagnosis)["the process is"] == "kept"
    assert not local.exists()


@pytest.mark.parametrize("kind", ["btrfs", "zfs", "unknown"])
def test_a_file_system_that_may_not_keep_its_word_is_a_note(
    healthy: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The spool is in memory that survives processes, and not a reboot."""
    on_file_system(monkeypatch, kind)
    diagnosis = diagnose(healthy)

    assert only(diagnosis, "file system").level == Level.NOTE
    if os.path.isdir("/dev/shm"):
        assert "not a reboot" in only(diagnosis, "spool place").meaning
        assert outcomes(diagnosis)["the machine is"] == "partly"
        assert diagnosis.fine, diagnosis.findings


def test_a_log_in_memory_is_warned_of(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power failure and a reboot take all of it."""
    on_file_system(monkeypatch, "tmpfs")
    diagnosis = diagnose(healthy)

    assert only(diagnosis, "file system").level == Level.WARNING
    assert outcomes(diagnosis)["power failure"] == "lost"
    assert outcomes(diagnosis)["the machine is"] == "lost"


def test_a_layer_of_a_container_is_a_note(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log goes with the container."""
    on_file_system(monkeypatch, "overlay")

    assert "container" in only(diagnose(healthy), "file system").meaning
    assert only(diagnose(healthy), "file system").level == Level.NOTE


def test_a_spool_that_is_set_to_a_network_file_system_is_warned_of(
    healthy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """There a store into a page can end the process."""
    monkeypatch.setattr(
        places, "file_system_of", lambda path: "nfs4" if "far" in path else "ext4"
    )
    (tmp_path / "far").mkdir(mode=0o700)
    diagnosis = diagnose(healthy, TOKENPAK_SPOOL_DIR=str(tmp_path / "far"))

    assert only(diagnosis, "spool place").level == Level.WARNING
    assert "SIGBUS" in only(diagnosis, "spool place").meaning
    assert list((tmp_path / "far").iterdir()) == []


# -- the probe ----------------------------------------------------------------------


def test_a_probe_of_a_directory_that_works_finds_nothing(tmp_path: Path) -> None:
    """Locks, also against a child; space; pages."""
    assert probe(str(tmp_path)) == Probe(child_asked=True)
    assert list(tmp_path.iterdir()) == []


def test_s1_a_lock_that_everybody_gets_is_a_problem(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system whose locks are switched off (nolock)."""
    monkeypatch.setattr(probing, "try_lock", lambda fd: True)
    diagnosis = diagnose(healthy)

    assert only(diagnosis, "locks").level == Level.PROBLEM
    assert "a second descriptor gets" in only(diagnosis, "locks").what
    assert outcomes(diagnosis)["the process is"] == "partly"


def test_s1_a_lock_that_another_process_gets_is_a_problem(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks that are local to a process keep nobody out."""
    monkeypatch.setattr(probing, "_CHILD", f"raise SystemExit({probing._HAD})")
    diagnosis = diagnose(healthy)

    assert only(diagnosis, "locks").level == Level.PROBLEM
    assert "another process gets" in only(diagnosis, "locks").what


def test_s1_the_child_does_try_the_lock(tmp_path: Path) -> None:
    """It gets one that nobody has, so that its refusal means something."""
    path = tmp_path / "file"
    path.write_text("")

    assert (
        probing._ask_child(str(path)) == "another process gets a lock that this one has"
    )


@pytest.mark.parametrize("refuse", ["never held", "after unlock"])
def test_s1_a_lock_that_is_refused_for_ever_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: str
) -> None:
    """Nobody could append."""
    monkeypatch.setattr(probing, "try_lock", _Refusing(refuse == "after unlock"))

    assert "refused" in probe(str(tmp_path)).locks


class _Refusing:
    def __init__(self, first: bool) -> None:
        self.next = first

    def __call__(self, fd: int) -> bool:
        got, self.next = self.next, False
        return got


def test_s1_locks_that_the_file_system_does_not_have_are_a_problem(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's own words are told."""

    def no_locks(fd: int) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(probing, "try_lock", no_locks)

    assert os.strerror(errno.ENOLCK) in only(diagnose(healthy), "locks").what


def test_a_child_that_cannot_be_started_is_no_fault_of_the_locks(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An embedded Python has no executable."""
    monkeypatch.setattr(sys, "executable", "")
    finding = only(diagnose(healthy), "locks")

    assert (finding.level, finding.what) == (
        Level.OK,
        "keep a second descriptor out",
    )


def test_q1_space_that_cannot_be_reserved_moves_the_spool(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is judged as the logger would: the next place, else memory."""

    def refuse(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    diagnosis = diagnose(healthy)

    assert "posix_fallocate fails" in only(diagnosis, "spool space").what
    assert diagnosis.spool_place is None
    assert only(diagnosis, "spool place").level == Level.WARNING
    assert outcomes(diagnosis)["the process is"] == "lost"


def test_q1_a_system_that_cannot_reserve_space_has_its_queue_in_memory(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As macOS and Windows."""
    monkeypatch.delattr(os, "posix_fallocate")
    monkeypatch.setattr(sys, "platform", "darwin")
    diagnosis = diagnose(healthy)

    assert diagnosis.spool_place is None
    assert only(diagnosis, "system").level == Level.WARNING
    assert "cannot reserve space" in only(diagnosis, "spool place").meaning


def test_q1_pages_that_are_not_the_file_s_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or that cannot be mapped at all, as on some FUSE file systems."""
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: bytes(size))
    elsewhere = probe(str(tmp_path)).mapping
    monkeypatch.undo()

    def no_mapping(*_: object) -> None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    monkeypatch.setattr(mmap, "mmap", no_mapping)
    refused = probe(str(tmp_path))

    assert "not in the file" in elsewhere
    assert refused.mapping.startswith("mmap fails")
    assert not refused.durable


def test_s5_a_spool_directory_that_others_may_change_is_not_used(healthy: Path) -> None:
    """As the logger refuses it; with group access the group may."""
    (healthy / "spool").chmod(0o770)
    closed = diagnose(healthy)
    group = diagnose(healthy, TOKENPAK_GROUP_ACCESS="1")

    assert only(closed, "spool place").level == Level.WARNING
    assert "other users" in only(closed, "spool place").what
    assert group.spool_place == str(healthy / "spool")


# -- permissions --------------------------------------------------------------------


def test_s5_files_that_others_may_read_are_named(healthy: Path) -> None:
    """The first few, with their modes, and how many more."""
    for day in range(10, 16):
        path = healthy / f"events-2026-03-{day}.jsonl"
        path.write_text("")
        path.chmod(0o644)
        os.utime(path, (NOW - 9, NOW - 9))
    finding = only(diagnose(healthy), "permissions")

    assert finding.level == Level.WARNING
    assert "events-2026-03-10.jsonl (0644)" in finding.what
    assert "and 3 more" in finding.what


def test_s5_a_directory_that_others_may_change_is_a_warning(healthy: Path) -> None:
    """One that they may only enter is a note: the files have modes of their own."""
    healthy.chmod(0o755)
    entered = only(diagnose(healthy), "permissions")
    healthy.chmod(0o777)
    changed = only(diagnose(healthy), "permissions")

    assert entered.level == Level.NOTE
    assert changed.level == Level.WARNING
    assert "the directory (0777)" in changed.what


def test_s5_with_group_access_the_group_is_no_stranger(healthy: Path) -> None:
    """Others still are."""
    healthy.chmod(0o2770)
    (healthy / f"errors-{DAY}.jsonl").chmod(0o660)
    alone = diagnose(healthy)
    group = diagnose(healthy, TOKENPAK_GROUP_ACCESS="yes")
    (healthy / f"errors-{DAY}.jsonl").chmod(0o664)
    others = diagnose(healthy, TOKENPAK_GROUP_ACCESS="yes")

    assert not alone.fine
    assert group.fine, group.findings
    assert "outside of the group" in only(others, "permissions").what


@pytest.mark.parametrize("kind", ["a symbolic link", "a pipe", "a directory"])
def test_s5_what_is_no_regular_file_is_a_problem(healthy: Path, kind: str) -> None:
    """It is named with what it is, and not followed."""
    path = healthy / "errors-2026-03-23.jsonl"
    if kind == "a symbolic link":
        path.symlink_to("/etc/hostname")
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    finding = only(diagnose(healthy), "file kinds")

    assert finding.level == Level.PROBLEM
    assert f"errors-2026-03-23.jsonl ({kind})" in finding.what


def test_s5_a_link_in_the_place_of_the_archive_is_a_problem(healthy: Path) -> None:
    """Nothing is listed or written through it."""
    (healthy / "archive").rename(healthy.parent / "elsewhere")
    (healthy / "archive").symlink_to(healthy.parent / "elsewhere")

    assert "archive (a symbolic link)" in only(diagnose(healthy), "file kinds").what


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="giving away needs root"
)
def test_s5_files_of_another_user_are_told_of(healthy: Path) -> None:
    """This user could not append to them, nor that one to this user's."""
    os.chown(healthy / f"errors-{DAY}.jsonl", 65534, 65534)
    finding = only(diagnose(healthy), "owners")

    assert finding.level == Level.WARNING
    assert f"errors-{DAY}.jsonl" in finding.what


def test_today_s_file_that_cannot_be_written_is_a_problem(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason: the system is asked."""
    access = os.access

    def refuse(path: str, mode: int) -> bool:
        return not str(path).endswith(f"{DAY}.jsonl") and access(path, mode)

    monkeypatch.setattr(os, "access", refuse)

    assert only(diagnose(healthy), "today's file").level == Level.PROBLEM
