"""Whether a lock is held, by the list of the kernel, which changes meanwhile."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tokenpak.telemetry.store import held_locks
from tokenpak.telemetry.store.held_locks import HeldLocks

OURS = (os.makedev(8, 2), 131)
LINE = b"7: FLOCK  ADVISORY  WRITE 708 08:02:131 0 EOF\n"
OTHERS = b"".join(
    b"%d: FLOCK  ADVISORY  WRITE 708 08:02:%d 0 EOF\n" % (n, 1310 + n)
    for n in range(1, 77)
)


def looks(
    monkeypatch: pytest.MonkeyPatch, *lists: list[bytes], all_processes: bool = False
) -> list[int]:
    """Let the kernel give out *lists*, the last one for ever; note when one begins."""
    begun: list[int] = []
    left: list[bytes] = []

    def opening(path: str, flags: int) -> int:
        assert path == "/proc/locks"
        left[:] = [*lists[min(len(begun), len(lists) - 1)], b""]
        begun.append(len(begun))
        return 99

    names = {**vars(os), "open": opening, "close": lambda fd: None}
    names["read"] = lambda fd, size: left.pop(0)
    if all_processes:
        status = os.stat_result((0, held_locks._ALL_PROCESSES, *(0,) * 8))
        names["stat"] = lambda path: status
    # The module's own name: other threads open and close what they like.
    monkeypatch.setattr(held_locks, "os", SimpleNamespace(**names))
    return begun


def held(tmp_path: Path) -> bool | None:
    """Look, as from where only some processes are seen: then False is None."""
    return HeldLocks(namespace=str(tmp_path)).has(OURS)


def test_r1_a_lock_that_is_passed_over_in_a_long_list_is_found_by_another_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that stood before it was released between two pages of the list."""
    missed = [OTHERS, OTHERS]
    begun = looks(monkeypatch, missed, missed, [OTHERS, LINE + OTHERS])

    assert held(tmp_path) is True
    assert len(begun) == 3


def test_r1_a_lock_that_no_look_finds_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a long list after some looks; of one page, which is no mixture, after one."""
    begun = looks(monkeypatch, [OTHERS, OTHERS])
    assert held(tmp_path) is None
    assert 3 < len(begun) < 50

    begun = looks(monkeypatch, [OTHERS])
    assert held(tmp_path) is None
    assert len(begun) == 1


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace(b":131 ", b":1310 "),
        LINE.replace(b" 08:", b" 108:"),
        LINE.replace(b"FLOCK", b"POSIX"),
    ],
)
def test_a_lock_of_another_file_or_kind_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    """Numbers are compared as a whole."""
    looks(monkeypatch, [line])

    assert held(tmp_path) is None


@pytest.mark.parametrize("all_processes", [True, False])
def test_the_list_is_read_once_for_all_files_whose_locks_are_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, all_processes: bool
) -> None:
    """Who reads it holds up whoever logs; and again only for one that is not in it."""
    begun = looks(monkeypatch, [LINE + OTHERS], all_processes=all_processes)
    locks = HeldLocks(namespace=str(tmp_path))

    others = [locks.has((OURS[0], 1310 + n)) for n in range(1, 77)]
    assert others == [True] * 76
    assert locks.has(OURS) is True
    assert len(begun) == 1

    assert locks.has((OURS[0], 1)) is (False if all_processes else None)
    assert len(begun) == (2 if all_processes else 1), "no look could make sure"


def test_many_that_nobody_holds_cost_a_look_each_and_a_few_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the list is long, as on a machine on which many have just died."""
    begun = looks(monkeypatch, [OTHERS, OTHERS], all_processes=True)
    locks = HeldLocks(namespace=str(tmp_path))

    assert [locks.has((OURS[0], n)) for n in range(100)] == [False] * 100
    assert 100 < len(begun) < 120
