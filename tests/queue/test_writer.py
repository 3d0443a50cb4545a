"""How producers and the writer reach each other, step by step and without a thread."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from tests.queue.rig import Rig, make_line
from tests.store.fakes import Disk, FakeFiles, fake_day_files, lines_of
from tokenpak.telemetry.queue import writer as writer_module
from tokenpak.telemetry.queue.writer import PRESSED_AT, SHORT_AT, YIELD, Writer
from tokenpak.telemetry.store.dayfiles import Contended
from tokenpak.telemetry.store.names import ERRORS

LINGER = 0.25
LONG = 3_600.0
PLENTY = 20
"""Segments that are still to be filled."""


class NoChores:
    """Nothing else is to be done; what the writer tells is remembered."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def before_drain(self) -> None:
        """Do nothing."""

    def after_drain(self, *, worked: bool, held: bool) -> float:
        """Do nothing, for long."""
        return LONG

    def failed(self, error: OSError) -> None:
        """Remember."""
        self.told.append(f"failed: {error.strerror}")

    def before_end(self) -> None:
        """Do nothing."""

    def after_end(self) -> None:
        """Do nothing."""

    def contended(self) -> None:
        """Remember."""
        self.told.append("contended")

    def broken(self, error: Exception) -> None:
        """Remember."""
        self.told.append(f"broken: {type(error).__name__}")


class Desk:
    """A writer whose thread is the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rig = Rig(Disk())
        self.chores = NoChores()
        self.writer = Writer(LINGER)
        self.writer.attach([self.rig.drain], self.chores)
        self.writer._permit.clear()  # the thread is there: it is us
        self.waits: list[float] = []
        take = self.writer._take_tokens

        def take_at_once(wait: float) -> None:
            self.waits.append(wait)
            take(0.0)

        monkeypatch.setattr(self.writer, "_take_tokens", take_at_once)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Return a writer without a thread."""
    return Desk(monkeypatch)


def test_a_writer_without_work_sleeps_until_something_is_due(desk: Desk) -> None:
    """
    Without waking.
    """
    wait = desk.writer._pass()
    assert wait is not None
    desk.writer._sleep(wait)

    assert desk.waits == [LONG]


def test_a_record_that_comes_before_the_writer_sleeps_is_not_slept_over(
    desk: Desk,
) -> None:
    """
    It was put after the last look and did not ring, since nobody slept yet.
    """
    wait = desk.writer._pass()
    assert wait is not None
    desk.rig.put(make_line("late"))
    desk.writer._sleep(wait)

    assert desk.waits == [LINGER]


def test_a_writer_that_sleeps_is_woken_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    By the first record; the others find nobody to wake.
    """
    rings = []
    writer = desk.writer

    def be_woken(wait: float) -> None:
        rings.append(writer.rings)
        for _ in range(5):
            if writer.rings:
                writer.answer()
        rings.append(writer.rings)

    monkeypatch.setattr(writer, "_take_tokens", be_woken)
    writer._sleep(LONG)

    assert rings == [True, False]
    assert writer._tokens.qsize() == 1


def test_a_batch_is_collected_after_work(desk: Desk) -> None:
    """
    And a producer that fills a segment meanwhile ends the lingering, once.
    """
    desk.rig.put(make_line("one"))
    wait = desk.writer._pass()
    assert wait is not None
    desk.writer._lingering = True
    for _ in range(100):
        desk.writer.hurry(1, PLENTY)

    assert wait == LINGER
    assert desk.writer._tokens.qsize() == 1


def test_producers_let_a_writer_have_the_gil_when_it_is_far_behind(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Until it has caught up; not while it waits for a lock, which would help nobody.
    """
    sleeps: list[float] = []
    writer = desk.writer
    writer._asleep = False
    monkeypatch.setattr(
        writer_module,
        "time",
        SimpleNamespace(monotonic=time.monotonic, sleep=sleeps.append),
    )
    writer.hurry(PRESSED_AT - 1, PLENTY)
    writer.answer()
    before = list(sleeps)
    writer.hurry(PRESSED_AT, PLENTY)
    pressed = writer.rings
    writer.answer()
    desk.rig.put(make_line("one"))
    writer._pass()
    with fake_day_files(desk.rig.disk).locked(ERRORS, "2026-03-24"):
        desk.rig.put(make_line("two"))
        writer._pass()
    writer.hurry(PRESSED_AT, PLENTY)
    writer.answer()

    assert before == []
    assert pressed
    assert sleeps == [YIELD]
    assert desk.chores.told == ["contended"]


def test_producers_let_a_writer_have_the_gil_when_little_room_is_left(
    desk: Desk,
) -> None:
    """
    However little it is behind: it is the writer that links more.
    """
    writer = desk.writer
    writer._asleep = writer.rings = False
    writer.hurry(1, SHORT_AT + 1)
    before = writer.rings
    writer.hurry(1, SHORT_AT)

    assert not before
    assert writer.rings


def test_producers_run_on_while_the_writer_appends(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is in a system call then, and has no use for the GIL.
    """
    writer = desk.rig.chain.bell = desk.writer
    writer._asleep = False
    pressed = []
    append = FakeFiles.write

    def look(*args: Any) -> int:
        pressed.append((writer._pressed, writer.rings))
        return append(*args)

    monkeypatch.setattr(FakeFiles, "write", look)
    desk.rig.put(make_line("one"))
    writer.hurry(PRESSED_AT, PLENTY)
    writer._pass()

    assert pressed == [(False, False)]


def test_q6_a_bug_of_ours_does_not_end_the_writer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is told, and tried again after a while.
    """
    desk.rig.put(make_line("one"))

    def fail() -> bool:
        raise IndexError

    with monkeypatch.context() as patch:
        patch.setattr(desk.rig.drain, "step", fail)
        waits = [desk.writer._pass() for _ in range(3)]
    desk.writer._pass()

    assert desk.chores.told == ["broken: IndexError"] * 3
    assert all(wait is not None and wait > 0 for wait in waits)
    assert len(lines_of(desk.rig.disk, "/logs/errors-2026-03-24.jsonl")) == 1


def test_q6_a_bug_of_ours_at_the_end_does_not_keep_the_writer_from_ending(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Or another thread would be started, which would meet it again, and so on.
    """
    stop = writer_module._Stop(time.monotonic() + LONG)

    def fail() -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(desk.rig.drain, "end", fail)
    desk.writer._stops.append(stop)

    assert desk.writer._pass() is None
    assert desk.writer.ended
    assert desk.chores.told == ["broken: OSError"]
    assert stop.reply.get_nowait()


@pytest.mark.parametrize("error", [Contended(), OSError(28, "No space left on device")])
def test_q6_one_stream_that_is_held_does_not_hold_the_other(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """
    Nor a flush of it.
    """
    held, free = Rig(Disk()), Rig(Disk())
    writer = Writer(LINGER)
    writer.attach([held.drain, free.drain], NoChores())
    writer._permit.clear()

    def fail() -> bool:
        raise error

    monkeypatch.setattr(held.drain, "step", fail)
    held.put(make_line("held"))
    free.put(make_line("free"))
    wait = writer._pass()

    assert wait is not None
    assert free.drain.empty()
    assert not held.drain.empty()


def test_a_pause_after_an_error_is_kept_whoever_hurries(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nobody can make a disk or a lock come free: each wait is for what is left of it.
    """
    now = [100.0]

    def be_hurried(wait: float) -> None:
        desk.waits.append(wait)
        now[0] += 1.0

    monkeypatch.setattr(desk.writer, "_take_tokens", be_hurried)
    monkeypatch.setattr(
        writer_module, "time", SimpleNamespace(monotonic=lambda: now[0])
    )
    desk.writer._pause(3.5)

    assert desk.waits == [3.5, 2.5, 1.5, 0.5]
