"""The checks of room, clock, settings and machine, each with its trouble."""

from __future__ import annotations

import errno
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
    room,
)
from tokenpak.telemetry.doctor import Level, machine
from tokenpak.telemetry.doctor import probe as probing
from tokenpak.telemetry.doctor.scene import Scene
from tokenpak.telemetry.store.dayfiles import MAX_OPEN


@pytest.fixture
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with which all is well, on ext4."""
    on_file_system(monkeypatch, "ext4")
    return make_healthy(tmp_path / "logs")


# -- room ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "level"),
    [(10**12, Level.OK), (40 * 2**20, Level.WARNING), (2**20, Level.PROBLEM), (0, 3)],
)
def test_q4_free_space_is_held_against_the_bound(
    healthy: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: int
) -> None:
    """Less than an outage may need is a warning, less than a segment a problem."""
    monkeypatch.setattr(os, "statvfs", lambda path: room(free))

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
    monkeypatch.setattr(os, "statvfs", lambda path: room(10**12, inodes, total))

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
