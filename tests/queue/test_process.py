"""Q5: the hooks around a fork, without forking; real forks are in tests/fault."""

from __future__ import annotations

import multiprocessing.util
import os
import sys
import threading
from types import ModuleType

import pytest

from tokenpak.telemetry.queue import process


class Guarded:
    """A participant that counts the guards that stand."""

    def __init__(self) -> None:
        self.guards: list[int] = []
        self.children = 0
        self.made = 0

    def before_fork(self) -> int:
        """Put up a guard."""
        self.made += 1
        self.guards.append(self.made)
        return self.made

    def after_fork_in_parent(self, token: int) -> None:
        """Take it away."""
        self.guards.remove(token)

    def after_fork_in_child(self) -> None:
        """Forget all."""
        self.guards.clear()
        self.children += 1

    def before_exit(self) -> None:
        """Do nothing."""


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Guarded:
    """Return a participant that is the only one."""
    monkeypatch.setattr(process, "_participants", [])
    monkeypatch.setattr(process, "_hooked", ["by the test"])
    monkeypatch.setattr(process, "_under_way", {})
    guarded = Guarded()
    process.register(guarded)
    process.register(guarded)
    return guarded


def test_q5_a_guard_stands_while_a_fork_is_under_way(guarded: Guarded) -> None:
    """
    One for each participant, however often it has registered.
    """
    process._before()
    during = list(guarded.guards)
    process._parent()

    assert during == [1]
    assert guarded.guards == []
    assert process._under_way == {}


def test_q5_forks_within_forks_take_away_their_own_guards(guarded: Guarded) -> None:
    """
    A signal handler may fork in the middle of one; hooks that were registered twice by
    two threads are like that, too.
    """
    process._before()
    process._before()
    process._parent()
    during = list(guarded.guards)
    process._parent()
    process._parent()

    assert during == [1]
    assert guarded.guards == []
    assert process._under_way == {}


def test_q5_forks_of_several_threads_overlap(guarded: Guarded) -> None:
    """
    Each ends by itself, in any order.
    """
    inside, leave = threading.Event(), threading.Event()

    def fork() -> None:
        process._before()
        inside.set()
        leave.wait(120)
        process._parent()

    thread = threading.Thread(target=fork)
    thread.start()
    inside.wait(120)
    process._before()
    both = len(guarded.guards)
    process._parent()
    one = list(guarded.guards)
    leave.set()
    thread.join()

    assert both == 2
    assert one == [1]
    assert guarded.guards == []


def test_q5_a_child_starts_without_guards(guarded: Guarded) -> None:
    """
    Neither its own nor those of threads that it doesn't have.
    """
    process._before()
    process._child()
    process._parent()

    assert guarded.guards == []
    assert guarded.children == 1
    assert process._under_way == {}


def test_q5_who_has_left_is_not_called(guarded: Guarded) -> None:
    """
    Leaving twice does no harm, nor does leaving while a fork is under way.
    """
    process._before()
    process.unregister(guarded)
    process.unregister(guarded)
    process._parent()
    process._before()
    process._parent()
    process._child()

    assert guarded.made == 1
    assert guarded.guards == []
    assert guarded.children == 0


def test_q3_the_first_record_does_not_wait_for_an_import_in_another_thread(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nor is it dropped: the hook of a module that is not whole yet comes with a later
    call, if there is one.
    """
    name = "multiprocessing.util"
    monkeypatch.setattr(process, "_finalizers", {})
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    process.register(guarded)
    during = dict(process._finalizers)
    monkeypatch.setitem(sys.modules, name, multiprocessing.util)
    process.register(guarded)
    (made,) = process._finalizers.values()
    assert isinstance(made, multiprocessing.util.Finalize)
    made.cancel()

    assert during == {}
    assert list(process._finalizers) == [os.getpid()]
