"""
What of a spool's segments is not consumed, as its newest note tells.

Pure functions: recovery appends what they find, and a reader that may not write shows
it.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenpak.telemetry.store.notes import Note
from tokenpak.telemetry.store.pieces import Piece
from tokenpak.telemetry.store.segment import Segment


def pieces_of(segments: Sequence[Segment], note: Note) -> list[Piece]:
    """Return the pieces that the range of *note* consists of."""
    pieces = []
    for segment in segments:
        if note.first <= segment.sequence <= note.last:
            start = note.start if segment.sequence == note.first else 0
            end = note.end if segment.sequence == note.last else segment.end()
            if start < end:
                pieces.append(Piece(segment.sequence, memoryview(segment), start, end))
    return pieces


def unconsumed(
    segments: Sequence[Segment], consumed: tuple[int, int]
) -> list[tuple[Segment, int, int]]:
    """Return (segment, start, end) of what is behind *consumed*, a place in them."""
    sequence, offset = consumed
    found = []
    for segment in segments:
        if segment.sequence >= sequence:
            start = offset if segment.sequence == sequence else 0
            end = segment.end()
            if start < end:
                found.append((segment, start, end))
    return found


__all__ = ["pieces_of", "unconsumed"]
