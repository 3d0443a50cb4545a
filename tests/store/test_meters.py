"""The words in which a writer counts its own work."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenpak.telemetry.store import meters
from tokenpak.telemetry.store.meters import Reading, Values
from tokenpak.telemetry.store.names import ERRORS
from tokenpak.telemetry.store.notes import DROP_REASONS, QUEUE_FULL, Drops
from tokenpak.telemetry.store.spool import ident_of

IDENT = 0xABC
COUNTS = st.lists(st.integers(0, 2**53), min_size=meters.PLACES, max_size=meters.PLACES)


def block(values: Values, ident: int = 5, magic: int = meters.MAGIC) -> list[int]:
    return [magic, ident, *values]


def test_m1_each_counter_has_a_place_of_its_own() -> None:
    """And all of them are used."""
    places = [*meters.COUNTER_AT.values()]
    for name, bounds in meters.HISTOGRAMS.items():
        first = meters.HISTOGRAM_AT[name]
        places += range(first, first + len(bounds) + 2)

    assert sorted(places) == list(range(meters.PLACES))


def test_m1_a_block_that_was_not_begun_still_has_the_drops() -> None:
    """As that of a version that knew no counters."""
    drops = [Drops(QUEUE_FULL, 7, 0, 1, 2)]

    read = meters.parse([0] * meters.BLOCK, drops, ERRORS, IDENT)

    assert read.left_out is None
    assert read.ident == IDENT
    assert sum(read.values) == 7
    assert read.values[meters.COUNTER_AT[meters.DROPPED, QUEUE_FULL]] == 7


@pytest.mark.parametrize("name", ["errors-00000000000000aa", "errors-kept", "-", ""])
def test_m1_a_spool_has_the_same_ident_at_each_look(name: str) -> None:
    """Also one that somebody has given another name: each look would be a process."""
    path = f"/logs/spool/{name}.spool"

    assert ident_of(path) == ident_of(path)
    assert ident_of(None) != ident_of(None)


@given(COUNTS)
def test_m1_what_is_stored_is_what_is_read(values: Values) -> None:
    """Under the ident that is stored."""
    assert meters.parse(block(values), [], ERRORS, IDENT) == Reading(ERRORS, 5, values)


def test_m1_another_versions_block_is_left_out() -> None:
    """It may mean something else."""
    magic = meters.MAGIC + (1 << 56)

    read = meters.parse(block([1] * meters.PLACES, magic=magic), [], ERRORS, IDENT)

    assert read.left_out == meters.OTHER_VERSION
    assert sum(read.values) == 0


def test_m1_a_damaged_block_is_left_out() -> None:
    """A name that is none, and a count that no process comes to."""
    impossible = [0] * meters.PLACES
    impossible[3] = meters.MOST
    drops = [Drops(reason, meters.MOST, 0, 1, 2) for reason in DROP_REASONS]
    blocks = [block([0] * meters.PLACES, magic=12345), block(impossible)]

    reasons = [meters.parse(b, [], ERRORS, IDENT).left_out for b in blocks]
    of_drops = meters.parse(block([0] * meters.PLACES), drops, ERRORS, IDENT).left_out

    assert [*reasons, of_drops] == [meters.DAMAGED] * 3


@given(COUNTS, COUNTS)
def test_m1_of_two_processes_the_sums_count_and_the_newest_time(
    one: Values, other: Values
) -> None:
    """Whichever comes first; of two looks at one process, what is newer."""
    total = meters.plus(one, other)

    assert total == meters.plus(other, one)
    assert total[meters.NEWEST] == max(one[meters.NEWEST], other[meters.NEWEST])
    assert total[0] == one[0] + other[0]
    assert meters.newer(one, other) == [*map(max, one, other)]


def test_m1_an_error_without_a_name_is_another() -> None:
    """Or one that is too rare to have a place."""
    errors = [OSError(errno.ENOSPC, "full"), OSError(errno.ENOTTY, "?"), OSError("?")]

    names = [meters.error_name(error) for error in errors]

    assert names == ["ENOSPC", "other", "other"]
