"""Storms that are followed no longer while a call is on its way to count."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.capture.test_storm import WINDOW, Clock, Rig, refused
from tokenpak.telemetry.capture import storm


class Meanwhile(dict[Any, Any]):
    """Lets something come in between, once, after a look."""

    def __init__(self, known: dict[Any, Any], between: Callable[[], object]) -> None:
        super().__init__(known)
        self._between = [between]

    def get(self, key: Any, default: Any = None) -> Any:
        found = super().get(key, default)
        while self._between:
            self._between.pop()()
        return found


class Interrupted(Clock):
    """Lets something come in between, each once, when the time is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.between: list[Callable[[], object]] = []

    def __call__(self) -> int:
        while self.between:
            self.between.pop()()
        return super().__call__()


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow two fingerprints, so that the third takes the place of the first."""
    monkeypatch.setattr(storm, "MOST", 2)


def all_are_told(rig: Rig) -> bool:
    """Return whether what was held back is, by and by."""
    for _ in range(2):
        rig.tell(last=True)
    return sum(held.number for held in rig.told) == rig.storms.held_back > 0


def test_m1_what_gives_way_while_a_call_is_on_its_way_is_told() -> None:
    """That call has found the storm; nothing was held back of it until then."""
    clock = Interrupted()
    rig = Rig(first=1, clock=clock)
    rig.takes(refused())
    # The call asks the time after it has found the storm, and before it counts.
    clock.between = [lambda: [rig.takes(refused(word)) for word in ("one", "another")]]
    rig.takes(refused())

    assert rig.storms.held_back == 1
    assert all_are_told(rig)


def test_m1_a_storm_that_gave_way_while_it_was_found_is_not_found_again() -> None:
    """Or all that comes would be counted on one that nobody looks at."""
    rig = Rig(first=1)
    rig.takes(refused("line 1"))
    rig.storms._forget()  # so that it is looked for by its fingerprint
    rig.storms._storms = Meanwhile(
        rig.storms._storms,
        lambda: [rig.takes(refused(word)) for word in ("one", "another")],
    )
    for _ in range(5):
        rig.takes(refused("line 1"))

    # The first one on the storm that has left, then all but the first on a new one.
    assert rig.storms.held_back == 4
    assert all_are_told(rig)


def test_m1_threads_lose_no_failure_while_storms_give_way() -> None:
    """There are more kinds than are followed, so each call meets one that has left."""
    rig = Rig(first=1, every=7)
    recorded: list[int] = []
    done = threading.Event()

    def fail(words: list[str]) -> None:
        recorded.append(
            sum(rig.takes(refused(word)) for _ in range(500) for word in words * 2)
        )

    def tell() -> None:
        while not done.is_set():
            rig.tell()

    threads = [
        threading.Thread(target=fail, args=(words,))
        for words in (["a", "b"], ["b", "c"], ["c", "d"], ["d", "a"])
    ]
    teller = threading.Thread(target=tell)
    for thread in [teller, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    teller.join()

    assert all_are_told(rig)
    assert sum(recorded) + rig.storms.held_back == 4 * 2_000


def test_text_that_is_no_utf_8_is_held_back_as_any_other() -> None:
    r"""As a file's name may be: ``os.fsdecode`` makes ``\udcff`` of a byte of it."""
    rig = Rig(first=1)
    taken = [rig.takes(refused(f"no file a\udcff{n}")) for n in range(5)]
    rig.clock.now += WINDOW
    rig.tell()

    assert taken == [True, False, False, False, False]
    assert [held.number for held in rig.told] == [4]
