"""The state is whole, or known to be damaged."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from tokenpak.telemetry.watch.memory import DamagedStateError, Memory

STATE = {"a": [1, 2.5, None], "b": {"x": "\u2028"}}


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    made = Memory(str(tmp_path / "watch" / "state.json"))
    with made.locked() as alone:
        assert alone
    made.save(STATE)
    return made


def test_watch_what_was_saved_is_loaded(memory: Memory) -> None:
    """And nothing is loaded where nothing was saved."""
    assert memory.load() == STATE
    assert Memory(memory.path + "2").load() is None


def test_watch_any_change_of_the_state_is_noticed(memory: Memory) -> None:
    """Each byte that is damaged, and each place where it is cut off."""
    path = Path(memory.path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        for damaged in (
            whole[:at],
            whole[:at] + bytes([whole[at] ^ 0x11]) + whole[at + 1 :],
        ):
            path.write_bytes(damaged)
            try:
                assert memory.load() == STATE, "a change of no meaning: of a space"
            except DamagedStateError:
                pass


@pytest.mark.parametrize(
    "damaged",
    [b"", b"\0" * 4096, b"[1]\n{}", b"7\n", b'{"tokenpak_watch": 99, "crc32": 0}\n{}'],
)
def test_watch_what_is_no_state_is_refused(memory: Memory, damaged: bytes) -> None:
    """Also that of a later version."""
    Path(memory.path).write_bytes(damaged)

    with pytest.raises(DamagedStateError):
        memory.load()


def test_watch_two_cannot_have_one_state(memory: Memory) -> None:
    """The second one is told so, and gets it when the first has ended."""
    with memory.locked() as first, Memory(memory.path).locked() as second:
        assert (first, second) == (True, False)
    with Memory(memory.path).locked() as third:
        assert third


@pytest.mark.skipif(os.name == "nt", reason="what is open cannot be deleted")
@pytest.mark.parametrize("what", ["lock", "directory"])
def test_watch_a_lock_that_is_deleted_is_taken_again(memory: Memory, what: str) -> None:
    """When the state is saved next; a second watch is kept out again."""
    with memory.locked():
        if what == "lock":
            os.unlink(f"{memory.path}.lock")
        else:
            shutil.rmtree(os.path.dirname(memory.path))
        memory.save(STATE)

        with Memory(memory.path).locked() as second:
            assert not second
        assert memory.load() == STATE
    with Memory(memory.path).locked() as third:
        assert third


@pytest.mark.skipif(os.name == "nt", reason="what is open cannot be deleted")
def test_watch_a_state_that_another_watch_has_taken_is_left_to_it(
    memory: Memory,
) -> None:
    """Its lock was deleted, and the other was quicker to make a new one."""
    other = Memory(memory.path)
    with memory.locked():
        os.unlink(f"{memory.path}.lock")
        with other.locked() as alone:
            assert alone
            other.save({"of": "the other"})
            for _ in range(3):
                with pytest.raises(OSError, match="another watch"):
                    memory.save(STATE)
            assert memory.load() == {"of": "the other"}
            assert not os.path.exists(f"{memory.path}.tmp")


def test_s5_the_state_is_nobody_elses_business(memory: Memory) -> None:
    """It holds error types and messages."""
    for path, mode in (
        (memory.path, 0o600),
        (f"{memory.path}.lock", 0o600),
        (os.path.dirname(memory.path), 0o700),
    ):
        assert stat.S_IMODE(os.stat(path).st_mode) == mode


def test_s5_no_link_is_followed(memory: Memory, tmp_path: Path) -> None:
    """Neither to read the state nor to write it."""
    other = tmp_path / "other"
    other.write_text("mine")
    for name in (memory.path, f"{memory.path}.tmp"):
        if os.path.lexists(name):
            os.unlink(name)
        os.symlink(other, name)

    with pytest.raises(OSError, match="symbolic"):
        memory.load()
    memory.save(STATE)

    assert other.read_text() == "mine"
    assert memory.load() == STATE


def test_watch_a_state_that_cannot_be_saved_leaves_the_old_one(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs the new state, not both."""

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        memory.save({"new": True})

    assert memory.load() == STATE
    assert sorted(os.listdir(os.path.dirname(memory.path))) == [
        "state.json",
        "state.json.lock",
    ]
