"""Each check, with the trouble that it is there for."""

from __future__ import annotations

import errno
import mmap
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.doctor.places import (
    DAY,
    NOW,
    diagnose,
    found,
    make_healthy,
    on_file_system,
    only,
    outcomes,
)
from tokenpak.telemetry.doctor import Level, machine
from tokenpak.telemetry.doctor import probe as probing
from tokenpak.telemetry.doctor.probe import Probe, probe
from tokenpak.telemetry.doctor.scene import Scene
from tokenpak.telemetry.store import places
from tokenpak.telemetry.store.dayfiles import MAX_OPEN


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


# -- room ---------------------------------------------------------------------------


def _room(free: int, inodes: int = 10**6, total: int = 10**7) -> SimpleNamespace:
    return SimpleNamespace(
        f_bavail=free // 4096, f_frsize=4096, f_files=total, f_favail=inodes, f_flag=0
    )


@pytest.mark.parametrize(
    ("free", "level"),
    [(10**12, Level.OK), (40 * 2**20, Level.WARNING), (2**20, Level.PROBLEM), (0, 3)],
)
def test_q4_free_space_is_held_against_the_bound(
    healthy: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: int
) -> None:
    """Less than an outage may need is a warning, less than a segment a problem."""
    monkeypatch.setattr(os, "statvfs", lambda path: _room(free))

    assert only(diagnose(healthy), "free space").level == level


@pytest.mark.parametrize(
    ("inodes", "total", "levels"),
    [(50, 10**7, [Level.WARNING]), (0, 10**7, [Level.PROBLEM]), (0, 0, [])],
)
def test_inodes_that_run_out_are_told_of(
    healthy: Path,
    monkeypatch: pytest.MonkeyPatch,
    inodes: int,
    total: int,
    levels: list[Level],
) -> None:
    """A file system that has no number of them makes them as needed."""
    monkeypatch.setattr(os, "statvfs", lambda path: _room(10**12, inodes, total))

    assert [f.level for f in found(diagnose(healthy), "inodes")] == levels


def test_space_that_cannot_be_told_is_a_note(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a server that does not answer."""

    def stale(path: str) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "statvfs", stale)

    levels = {f.level for f in found(diagnose(healthy), "free space")}

    assert levels == {Level.NOTE}


@pytest.mark.parametrize(("limit", "level"), [(64, Level.WARNING), (1024, Level.OK)])
def test_a_low_limit_of_descriptors_is_warned_of(
    healthy: Path, monkeypatch: pytest.MonkeyPatch, limit: int, level: Level
) -> None:
    """A lower bound of what may be pending needs fewer."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))

    assert only(diagnose(healthy), "descriptors").level == level
    if limit == 64:
        fewer = diagnose(healthy, TOKENPAK_MAX_PENDING_BYTES=str(4 * 2**20))
        need = only(fewer, "descriptors").what.split("up to ")[1]
        assert need.startswith(f"{2 * (2 + 3) + MAX_OPEN} ")


# -- clock --------------------------------------------------------------------------


def test_s3_a_file_of_a_day_to_come_is_warned_of(healthy: Path) -> None:
    """The clock was ahead, or is behind."""
    path = healthy / "errors-2026-03-26.jsonl"
    path.write_text("")
    path.chmod(0o600)
    os.utime(path, (NOW, NOW))
    finding = only(diagnose(healthy), "clock")

    assert finding.level == Level.WARNING
    assert "errors-2026-03-26.jsonl" in finding.what


def test_s3_a_file_changed_in_the_future_is_warned_of(healthy: Path) -> None:
    """Two hours behind, without another day."""
    path = healthy / f"errors-{DAY}.jsonl"
    os.utime(path, (NOW + 7_200, NOW + 7_200))
    finding = only(diagnose(healthy), "clock")

    assert finding.level == Level.WARNING
    assert "2026-03-24 15:35 UTC" in finding.what


@pytest.mark.parametrize("now", [0.0, -5e9, 9e11, 1e18])
def test_s3_a_clock_that_is_impossible_is_a_problem(healthy: Path, now: float) -> None:
    """As of a machine without a battery, before it has asked anybody."""
    assert only(diagnose(healthy, now), "clock").level == Level.PROBLEM


# -- settings -----------------------------------------------------------------------


def test_wrong_and_unknown_variables_are_named(healthy: Path) -> None:
    """With what was expected, what is used instead, and what was meant."""
    diagnosis = diagnose(
        healthy,
        TOKENPAK_LINGER="soon",
        TOKENPAK_FSYN="batch",
        TOKENPAK_NOTHING_LIKE_IT="1",
        TOKENPAK_FULL_WAIT="",
    )
    by_name = {f.what.split("=")[0].split()[0]: f for f in found(diagnosis, "settings")}

    assert set(by_name) == {
        "TOKENPAK_LINGER",
        "TOKENPAK_FSYN",
        "TOKENPAK_NOTHING_LIKE_IT",
    }
    assert "a number from 0 to 10" in by_name["TOKENPAK_LINGER"].what
    assert "0.02" in by_name["TOKENPAK_LINGER"].meaning
    assert "TOKENPAK_FSYNC" in by_name["TOKENPAK_FSYN"].advice
    assert diagnosis.settings.linger == 0.02


def test_wrong_variables_are_told_and_not_logged(
    healthy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The doctor's own words are enough."""
    diagnose(healthy, TOKENPAK_LINGER="soon")

    assert caplog.records == []


def test_settings_that_differ_from_the_defaults_are_shown(healthy: Path) -> None:
    """And no others."""
    diagnosis = diagnose(healthy, TOKENPAK_FSYNC="interval", TOKENPAK_LINGER="0.02")

    assert only(diagnosis, "settings").what == "fsync='interval'"


@pytest.mark.parametrize(
    ("fsync", "cost"),
    [
        ("never", "the last 30 s"),
        ("interval", "the last 5 s"),
        ("batch", "tens of milliseconds"),
    ],
)
def test_what_a_power_failure_costs_follows_from_fsync(
    healthy: Path, fsync: str, cost: str
) -> None:
    """In the words of the settings in force."""
    diagnosis = diagnose(healthy, TOKENPAK_FSYNC=fsync, TOKENPAK_FSYNC_INTERVAL="5")
    (fate,) = [f for f in diagnosis.fates if f.event.startswith("power")]

    assert fate.outcome == "partly"
    assert cost in fate.detail


# -- the machine --------------------------------------------------------------------


def test_a_python_without_the_gil_is_a_note(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call takes a lock there."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)

    assert "without the GIL" in only(diagnose(healthy), "Python").what


def test_another_python_than_cpython_is_warned_of(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the copy and the position are one step is known of CPython."""
    other: Any = SimpleNamespace(name="pypy")
    monkeypatch.setattr(sys, "implementation", other)

    assert only(diagnose(healthy), "Python").level == Level.WARNING


@pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
def test_an_old_kernel_is_a_note(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 5.14 pages cannot be populated ahead."""
    monkeypatch.setattr(machine, "_POPULATE_WRITE", 9_999)

    assert "MADV_POPULATE_WRITE" in only(diagnose(healthy), "system").what


def test_asking_for_the_start_method_does_not_fix_it(healthy: Path) -> None:
    """The application may still choose."""
    import multiprocessing

    before = multiprocessing.get_start_method(allow_none=True)
    diagnose(healthy)

    assert multiprocessing.get_start_method(allow_none=True) == before


def test_facts_are_found_out_once(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One child process for the whole examination."""
    asked: list[str] = []

    def ask(path: str) -> str:
        asked.append(path)
        return ""

    monkeypatch.setattr(probing, "_ask_child", ask)
    diagnose(healthy)

    assert len(asked) == 1
    assert Scene.probe is not None
