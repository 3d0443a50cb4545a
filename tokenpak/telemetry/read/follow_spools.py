"""
What waits in the spools, shown before it is in the log, and not again when it is.

A look is in three steps.  The log has been read up to a place before the first.

1. look() finds the lines that are in spools and not in the log, and that were not seen
   by an earlier look, and keeps hashes of them: they are *expected*.
2. The log is read on.  Each line of it is held against what is known, by arrived(): one
   that was shown from a spool before is passed over; one that is expected is shown as
   the log has it, and not from its spool.
3. waiting() reads the expected lines once more and yields those that have not arrived.
   They will be passed over when they do.

So each record comes once, and those of one thread in their order: what is not in the
log by the second step was put behind what is.

R1  No lock is taken and nothing is written.
R2  Held are some 200 bytes for each record that was shown and is not in the log yet;
    what is pending is bounded (Q4).
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tokenpak.telemetry.errors import SpoolError
from tokenpak.telemetry.read.lines import split_lines
from tokenpak.telemetry.read.records import UnreadableFile
from tokenpak.telemetry.read.scan import end_of, found_in
from tokenpak.telemetry.settings import resolve_settings
from tokenpak.telemetry.store.glance import SpoolGlance
from tokenpak.telemetry.store.peek import SpoolView
from tokenpak.telemetry.store.places import readable_spool_directories
from tokenpak.telemetry.store.spool import NEW_PREFIX, SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tokenpak.telemetry.read.lines import Block
    from tokenpak.telemetry.read.records import Damage, Found, Record
    from tokenpak.telemetry.store.peek import Lines

_HELD: Final = 64
"""How many spools are held open; others are opened for each look."""

_PLACES: Final = 2.0
"""Seconds for which the places of spools are believed; where they may be depends on who
has made which directory."""
_SETTLED: Final = 2.0
"""Seconds; see source: the clock of a directory's times is coarse."""

Position = tuple[int, int]
"""Sequence number of a segment, and offset in it."""
_END: Final[Position] = (2**64, 0)


@dataclass(slots=True, eq=False)
class _Spool:
    path: str
    glance: SpoolGlance
    begin: Position = (0, 0)
    """What is before it is in the log."""
    seen: Position = (0, 0)
    """What is before it was given out, or is in the log."""
    shown: deque[tuple[Position, int]] = field(default_factory=deque)
    """End and hash of each line that was shown and may not be in the log yet."""
    ignored: bool = False
    told: str = ""


class FollowedSpools:
    """
    The spools of a log directory, from now on.

    Args:
        log_dir: the log directory.
        streams: of which streams.
        spool_dir: as the setting; None: ``$TOKENPAK_SPOOL_DIR``, else where it belongs.
        on_problem: is told of what cannot be read.
        key: hashes a line; one that other processes know, too, for as_data().
        most: lines that were shown and are not in the log yet; what is behind so many
            waits until some of them are.  None: no bound but the queue's own.

    """

    def __init__(
        self,
        log_dir: str,
        streams: Iterable[str],
        spool_dir: str | None,
        on_problem: Callable[[UnreadableFile], None],
        *,
        key: Callable[[bytes], int] = hash,
        most: int | None = None,
    ) -> None:
        self._key = key
        self._most = most
        settings = resolve_settings({"log_dir": log_dir, "spool_dir": spool_dir})
        self._log_dir = settings.log_dir
        self._spool_dir = settings.spool_dir
        self._streams = frozenset(streams)
        self._on_problem = on_problem
        self._spools: dict[str, _Spool] = {}
        self._gone: list[_Spool] = []
        self._stamps: list[int] = []
        self._places: list[str] = []
        self._places_until = 0.0
        self._looks: list[tuple[_Spool, SpoolView, Position, Position]] = []
        self._shown: Counter[int] = Counter()
        self._passed: Counter[int] = Counter()
        self._expected: Counter[int] = Counter()
        self._met: Counter[int] = Counter()

    def close(self) -> None:
        """Let go of the spools.  Idempotent."""
        self._let_go()
        for spool in self._spools.values():
            spool.glance.close()

    def look(self) -> None:
        """Find what has been put since the last look: the first step."""
        self._list()
        for spool in list(self._spools.values()):
            if spool.ignored:
                continue
            try:
                if spool.glance.changed():
                    self._look_into(spool)
            except FileNotFoundError:
                self._forget(spool)
            except OSError as e:
                spool.glance.look_again()
                self._tell(spool, e)

    def arrived(self, line: bytes) -> bool:
        """Return whether *line*, of the log, is to be shown: the second step."""
        if not self._shown and not self._expected:
            return True
        key = self._key(line)
        if self._shown.get(key, 0) > self._passed.get(key, 0):
            self._passed[key] += 1
            return False
        if self._expected.get(key, 0) > self._met.get(key, 0):
            self._met[key] += 1
        return True

    def waiting(
        self, accepts: Callable[[Record], bool] | None
    ) -> Iterator[Found | Damage]:
        """Yield what the look has found and has not arrived: the third step."""
        try:
            for spool, view, begin, end in self._looks:
                for lines, block in _blocks(view, begin, end):
                    yield from self._unmet(spool, view, lines, block, accepts)
        finally:
            self._let_go()

    def _unmet(
        self,
        spool: _Spool,
        view: SpoolView,
        lines: Lines,
        block: Block,
        accepts: Callable[[Record], bool] | None,
    ) -> Iterator[Found | Damage]:
        base = view.offset_of(lines._replace(start=0))
        for item in found_in(block, view.path, view.stream, accepts):
            if not isinstance(item, tuple):
                yield item
                continue
            key = self._key(item[2])
            if self._met.get(key, 0) > 0:
                self._met[key] -= 1
                continue
            self._shown[key] += 1
            behind = item[3] - base + len(item[2]) + 1
            spool.shown.append(((lines.sequence, behind), key))
            yield item

    def forget_arrived(self) -> None:
        """
        Forget what a look has found to be in the log, once all of that was read.

        What was dropped, not appended (beyond a bound), never arrives.
        """
        for spool in (*self._spools.values(), *self._gone):
            while spool.shown and spool.shown[0][0] <= spool.begin:
                _, key = spool.shown.popleft()
                for counts in (self._shown, self._passed):
                    if counts.get(key, 0) > 1:
                        counts[key] -= 1
                    else:
                        counts.pop(key, None)
        self._gone.clear()

    def as_data(self) -> dict[str, Any]:
        """Return what restore() takes, of what JSON knows; between two looks."""
        return {
            "spools": [
                [spool.path, *spool.seen, [[*at, key] for at, key in spool.shown]]
                for spool in (*self._spools.values(), *self._gone)
                if spool.shown or spool.seen > (0, 0)
            ],
            "passed": [[key, count] for key, count in self._passed.items()],
        }

    def restore(self, data: Any) -> None:
        """
        Take over what as_data() gave, in another process with the same *key*.

        Raises:
            KeyError, TypeError, ValueError: it did not.

        """
        spools = {}
        for path, sequence, offset, shown in data["spools"]:
            spool = _Spool(str(path), SpoolGlance(str(path), keep_open=False))
            spool.seen = int(sequence), int(offset)
            spool.shown.extend(((int(a), int(b)), int(key)) for a, b, key in shown)
            spools[spool.path] = spool
        passed = Counter({int(key): int(count) for key, count in data["passed"]})
        self._spools, self._passed = spools, passed
        self._shown = Counter(key for s in spools.values() for _, key in s.shown)

    def _is_full(self) -> bool:
        if self._most is None:
            return False
        return self._shown.total() + self._expected.total() >= self._most

    def _let_go(self) -> None:
        for _, view, _, _ in self._looks:
            view.close()
        self._looks.clear()
        self._expected.clear()
        self._met.clear()

    def _look_into(self, spool: _Spool) -> None:
        view = SpoolView(spool.path, self._log_dir)
        try:
            if view.stream not in self._streams:
                spool.ignored = True
                return
            if not view.of_this_boot:
                spool.ignored = True
                reason = (
                    "of before the machine's last start: what waits in it may be in "
                    "the log already; tokenpak telemetry export sorts that out"
                )
                self._on_problem(UnreadableFile(spool.path, 0, reason))
                return
            begin = max(view.begin, spool.seen)
            end = begin
            full = False
            for lines, block in _blocks(view, begin, _END):
                if full := self._is_full():
                    break
                for line in block.lines:
                    self._expected[self._key(line)] += 1
                base = view.offset_of(lines._replace(start=0))
                end = lines.sequence, end_of(block) - base
            spool.begin, spool.seen = view.begin, end
            spool.glance.remember(view.places_behind(end))
            if full:
                spool.glance.look_again()
            if end > begin:
                self._looks.append((spool, view, begin, end))
                return
        finally:
            if not self._looks or self._looks[-1][1] is not view:
                view.close()
        spool.told = ""

    def _list(self) -> None:
        now = time.monotonic()
        if now >= self._places_until:
            self._places = readable_spool_directories(self._log_dir, self._spool_dir)
            self._places_until = now + _PLACES
        places = self._places
        stamps = [_changed(place) for place in places]
        settled = max(stamps, default=0) < (time.time() - _SETTLED) * 1e9
        if stamps == self._stamps and settled:
            return
        self._stamps = stamps if settled else []
        found = set()
        for place in places:
            try:
                names = os.listdir(place)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as e:
                self._on_problem(UnreadableFile(place, 0, e.strerror or str(e)))
                continue
            for name in names:
                if name.endswith(SUFFIX) and not name.startswith(NEW_PREFIX):
                    found.add(os.path.join(place, name))
        for spool in list(self._spools.values()):
            if spool.path not in found:
                self._forget(spool)
        for path in sorted(found - self._spools.keys()):
            keep = len(self._spools) < _HELD
            self._spools[path] = _Spool(path, SpoolGlance(path, keep_open=keep))

    def _forget(self, spool: _Spool) -> None:
        """Let go of *spool*: it was unlinked, so all that was in it is in the log."""
        spool.glance.close()
        del self._spools[spool.path]
        spool.begin = _END
        self._gone.append(spool)

    def _tell(self, spool: _Spool, error: OSError) -> None:
        reason = error.strerror or str(error)
        if isinstance(error, SpoolError):
            reason = error.reason
        if reason != spool.told:
            spool.told = reason
            self._on_problem(UnreadableFile(spool.path, 0, reason))


def _blocks(
    view: SpoolView, begin: Position, end: Position
) -> Iterator[tuple[Lines, Block]]:
    """Yield the whole lines of *view* from *begin* to *end*, each segment's placed."""
    for lines in view.stretches():
        stretch = lines
        if not begin[0] <= lines.sequence <= end[0]:
            continue
        if lines.sequence == begin[0]:
            stretch = lines._replace(start=max(lines.start, begin[1]))
        base = view.offset_of(stretch)
        stop = None
        if lines.sequence == end[0]:
            stop = end[1] - stretch.start
            if stop <= 0:
                continue
        for block in split_lines(_up_to_zero(view.chunks(stretch), stop)):
            if block.end == "newline":  # behind the last one, nothing was accepted
                yield stretch, block._replace(offset=base + block.offset)


def _up_to_zero(chunks: Iterator[bytes], stop: int | None) -> Iterator[bytes]:
    # Lines hold no NUL.  One that is being copied into the page this moment may have
    # its end before its middle; up to the first NUL, all has been copied.
    for chunk in chunks:
        part = chunk if stop is None else chunk[:stop]
        cut = part.find(b"\0")
        if cut >= 0:
            yield part[:cut]
            return
        yield part
        if stop is not None:
            stop -= len(part)
            if stop <= 0:
                return


def _changed(directory: str) -> int:
    try:
        return os.stat(directory).st_mtime_ns
    except OSError:
        return 0


__all__ = ["FollowedSpools"]
