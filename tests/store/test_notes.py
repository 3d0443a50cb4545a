"""Q1: what the head of a spool says, also when a process dies in the middle of it."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.store.fakes import Died, FakeWords, Fate, Fault
from tokenpak.telemetry.store.names import STREAMS
from tokenpak.telemetry.store.notes import (
    CLOSED,
    DROP_REASONS,
    HEADER_WORDS,
    MAX_SLOTS,
    QUEUE_FULL,
    Note,
    Notes,
)

words64 = st.integers(0, 2**64 - 1)
notes = st.builds(
    Note,
    day=st.dates().map(lambda day: day.isoformat()),
    device=words64,
    inode=words64,
    offset=words64,
    first=words64,
    start=words64,
    last=words64,
    end=words64,
    done=st.booleans(),
)


def head() -> bytearray:
    """Return the bytes of an empty head."""
    return bytearray(HEADER_WORDS * 8)


def make_notes(data: bytearray) -> Notes:
    return Notes(memoryview(data).cast("Q"))


def store(on: Notes, note: Note) -> None:
    """Begin *note*, and note that it is done, if it is."""
    on.begin(
        note.day,
        (note.device, note.inode),
        note.offset,
        (note.first, note.start),
        (note.last, note.end),
    )
    if note.done:
        on.done()


@given(series=st.lists(notes, max_size=5))
def test_q1_the_newest_note_is_read_as_it_was_written(series: list[Note]) -> None:
    """
    Whatever was noted before; and by whoever opens the spool later.
    """
    data = head()
    for note in series:
        store(make_notes(data), note)

        assert make_notes(data).current() == note


@given(before=notes, after=notes)
def test_q1_a_death_between_two_stores_leaves_the_old_note_or_the_new_one(
    before: Note, after: Note
) -> None:
    """
    Never one that is half the one and half the other.
    """
    seen = []
    for step in itertools.count():
        data = head()
        store(make_notes(data), before)
        fate = Fate({step: Fault("die before")})
        try:
            store(Notes(FakeWords(memoryview(data).cast("Q"), fate)), after)
        except Died:
            seen.append(make_notes(data).current())
        else:
            break
    begun = Note(
        after.day,
        after.device,
        after.inode,
        after.offset,
        after.first,
        after.start,
        after.last,
        after.end,
        done=False,
    )

    assert len(seen) == 9 + after.done
    assert seen[:9] == [before] * 9
    assert seen[9:] == [begun] * after.done


@given(done=st.booleans())
def test_q1_a_note_says_what_is_consumed(*, done: bool) -> None:
    """
    Up to its end when it is done, else up to its beginning.
    """
    note = Note("2026-03-24", 1, 2, 0, 3, 100, 5, 200, done=done)

    assert note.consumed == ((5, 200) if done else (3, 100))


@pytest.mark.parametrize("stream", STREAMS)
def test_a_head_says_what_it_was_formatted_with(stream: str) -> None:
    """
    Stream, size of a segment, number of slots.
    """
    data = head()
    make_notes(data).format(stream, 4096, 7)
    notes = make_notes(data)

    assert (notes.stream, notes.segment_bytes, notes.slots) == (stream, 4096, 7)
    assert notes.problem() is None
    assert notes.current() is None
    assert notes.drops() == []
    assert not any(notes.slot(index) for index in range(MAX_SLOTS))


@pytest.mark.parametrize(
    ("word", "value", "problem"),
    [
        (0, 0, "is not a spool"),
        (0, 12345, "is not a spool"),
        (1, 99, "version 99"),
        (2, 0, "damaged"),
        (2, 4097, "damaged"),
        (2, 2**63, "damaged"),
        (3, 0, "damaged"),
        (3, MAX_SLOTS + 1, "damaged"),
        (4, len(STREAMS), "damaged"),
    ],
)
def test_a_head_that_cannot_be_used_says_why(
    word: int, value: int, problem: str
) -> None:
    """
    Nothing that recovery reckons with is taken from a file unseen.
    """
    data = head()
    make_notes(data).format("errors", 4096, 7)
    memoryview(data).cast("Q")[word] = value

    assert problem in (make_notes(data).problem() or "")


@given(
    taken=st.dictionaries(
        st.integers(0, MAX_SLOTS - 1), st.integers(1, 2**64 - 1), max_size=20
    )
)
def test_slots_are_independent(taken: dict[int, int]) -> None:
    """
    Each slot keeps its number; no other word changes.
    """
    data = head()
    notes = make_notes(data)
    notes.format("events", 4096, MAX_SLOTS)
    store(notes, Note("2026-03-24", 1, 2, 3, 4, 5, 6, 7, done=True))
    notes.set_drops(CLOSED, 3, 4, 5)
    for index, sequence in taken.items():
        notes.set_slot(index, sequence)

    there = {index: notes.slot(index) for index in range(MAX_SLOTS)}
    assert {index: number for index, number in there.items() if number} == taken
    assert notes.problem() is None
    assert notes.current() is not None
    assert [drops.total for drops in notes.drops()] == [3]


@given(
    stored=st.dictionaries(
        st.sampled_from(DROP_REASONS),
        st.tuples(st.integers(1, 2**64 - 1), words64, words64, words64),
    )
)
def test_q3_drops_are_read_as_they_were_stored(
    stored: dict[str, tuple[int, int, int, int]],
) -> None:
    """
    Each reason by itself: how many, how many told of, from when to when.
    """
    data = head()
    for reason, (count, told, first, last) in stored.items():
        make_notes(data).set_drops(reason, count, first, last)
        make_notes(data).set_told(reason, told)
    found = {
        drops.reason: (drops.total, drops.told, drops.first, drops.last)
        for drops in make_notes(data).drops()
    }

    assert found == stored


def test_q3_a_death_while_drops_are_stored_leaves_the_old_count_or_the_new() -> None:
    """
    The count is the last word to change.
    """
    counts = []
    for step in range(3):
        data = head()
        make_notes(data).set_drops(QUEUE_FULL, 1, 10, 10)
        words = FakeWords(memoryview(data).cast("Q"), Fate({step: Fault("die after")}))
        with pytest.raises(Died):
            Notes(words).set_drops(QUEUE_FULL, 2, 10, 20)
        counts.append(make_notes(data).drops()[0].total)

    assert counts == [1, 1, 2]
