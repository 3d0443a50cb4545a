"""
Append a range of a spool to a day's file, exactly once, whatever dies on the way.

S1  One append at a time: the exclusive lock is on the data file's own descriptor.
S2  Append only.  A torn tail is completed, or closed with a newline, before anything
    else is appended; no byte that is there is ever changed.
Q1  Under the lock: (1) close a torn tail, (2) note the file and the range in the spool,
    (3) write, (4) note that it is done.  Death between any two of these, between two
    stores of a note, or inside the write, is settled by settle().

settle() looks at what the file holds where the note says that the range went:

    note is done, or all of the range is there      -> consumed
    a prefix, and it is still the end of the file   -> write the rest, in place
    a prefix, and somebody has appended since       -> they closed our torn line; a new
                                                       note from the first line that is
                                                       not complete
    nothing of it, or the file is another one       -> a new note, for the whole range

It serves the retry after an error, recovery, and (judge() alone) readers: one routine.
A range holds whole lines of one day.  Bytes only; nothing here knows what a record is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tokenpak.telemetry.store.dayfiles import DayFiles, LockedFile
from tokenpak.telemetry.store.notes import Note, Notes
from tokenpak.telemetry.store.pieces import Piece, behind, judge, whole_lines


class Appender:
    """
    Appends the ranges of one spool.  Its owner's thread only.

    Args:
        day_files: where they go.
        notes: the head of the spool.
        sync: whether each append is forced to the disk before it is done.

    """

    def __init__(self, day_files: DayFiles, notes: Notes, *, sync: bool) -> None:
        self._day_files = day_files
        self._notes = notes
        self._sync = sync

    def append(self, day: str, pieces: Sequence[Piece]) -> None:
        """
        Append *pieces*, lines of *day*, as one range.

        Args:
            day: ``YYYY-MM-DD``.
            pieces: not empty; in the order of the chain, with no line between them.

        Raises:
            Contended: nothing was done.
            OSError: the note may be pending: settle() before the next append.

        """
        with self._day_files.locked(self._notes.stream, day) as log:
            self._append(log, day, pieces)

    def _append(self, log: LockedFile, day: str, pieces: Sequence[Piece]) -> None:
        log.close_torn_tail()
        first, last = pieces[0], pieces[-1]
        self._notes.begin(
            day,
            log.identity,
            log.size,
            (first.sequence, first.start),
            (last.sequence, last.end),
        )
        self._finish(log, pieces)

    def _finish(self, log: LockedFile, pieces: Sequence[Piece]) -> None:
        log.write([piece.view for piece in pieces])
        if self._sync:
            log.sync()
        self._notes.done()

    def settle(self, pieces_of: Callable[[Note], Sequence[Piece]]) -> list[Piece]:
        """
        Find out what became of the newest note, and finish it.  Idempotent.

        Args:
            pieces_of: the pieces that a note's range consists of.

        Returns:
            What was not in the log as whole lines, and is now.

        Raises:
            Contended, OSError: try again.

        """
        note = self._notes.current()
        if note is None or note.done:
            return []
        pieces = pieces_of(note)
        size = sum(piece.end - piece.start for piece in pieces)
        with self._day_files.locked(self._notes.stream, note.day) as log:
            there = judge(note, pieces, log.identity, log.read)
            whole = there == size
            at_end = (
                log.identity == (note.device, note.inode)
                and note.offset + there == log.size
            )
            if whole or at_end:
                self._finish(log, behind(pieces, there))
                return behind(pieces, whole_lines(pieces, there))
            left = behind(pieces, whole_lines(pieces, there))
            self._append(log, note.day, left)
            return left


__all__ = ["Appender"]
