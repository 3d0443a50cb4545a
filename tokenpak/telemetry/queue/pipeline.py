"""
All of one logger's queues in one process: built, forked, flushed and closed together.

There is one chain for each stream, one writer for all of them, and one set of file
operations, so that a forked child can let go of everything at once (Q5).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.queue import process
from tokenpak.telemetry.queue.chain import Chain, ForkGuard
from tokenpak.telemetry.queue.daywatch import DayWatch, somebody_runs
from tokenpak.telemetry.queue.drain import Drain, pending
from tokenpak.telemetry.queue.housekeeping import Housekeeping
from tokenpak.telemetry.queue.meter import LOOK_PATIENCE, Meters
from tokenpak.telemetry.queue.supply import new_spool, open_chain
from tokenpak.telemetry.queue.trouble import Trouble
from tokenpak.telemetry.queue.writer import Writer
from tokenpak.telemetry.settings import SEGMENT_BYTES, Settings
from tokenpak.telemetry.store.dayfiles import DayFiles
from tokenpak.telemetry.store.files import NO_DESCRIPTOR, OsFiles
from tokenpak.telemetry.store.limits import Limits
from tokenpak.telemetry.store.names import STREAMS
from tokenpak.telemetry.store.notes import LIMITS
from tokenpak.telemetry.store.places import spool_directories
from tokenpak.telemetry.store.segment import Segment
from tokenpak.telemetry.store.spool import SpoolFile
from tokenpak.telemetry.store.totals import Totals

_LOOKS: Final = 100


class Counts(NamedTuple):
    """What became of the records of this process, added up over the streams."""

    accepted: int
    written: int
    written_bytes: int
    batches: int
    pending_records: int
    pending_bytes: int
    dropped: dict[str, int]
    notices: int
    recovered: int
    write_errors: int
    durable: bool


def _nothing() -> None:
    pass


class Pipeline:
    """
    The queues of one logger.

    Args:
        settings: checked.
        encoder: for the records that tell of drops.
        in_child: what else a forked child resets.
        tell: records what is due of the logger's own, at the end of the process
            (True) all; returns in how many seconds something is due again.
        at_first: what else is done with the first record, which waits for files anyway.
        suppressed: how many errors were held back on purpose, by reason; None: none
            ever is.

    """

    def __init__(
        self,
        settings: Settings,
        encoder: Encoder,
        in_child: Callable[[], None],
        tell: Callable[[bool], float] = lambda _: float("inf"),
        at_first: Callable[[], None] = _nothing,
        suppressed: Callable[[], Mapping[str, int]] | None = None,
    ) -> None:
        self._settings = settings
        self._in_child = in_child
        self._tell = tell
        self._at_first = at_first
        self._pid = os.getpid()
        self._slots = settings.max_pending_bytes // SEGMENT_BYTES
        self._files = OsFiles(group_access=settings.group_access)
        self._day_files = DayFiles(self._files, settings.log_dir)
        self._limits = Limits(
            settings.log_dir, settings.max_day_bytes, settings.max_dir_bytes
        )
        self._trouble = Trouble()
        totals = Totals(self._files, settings.log_dir)
        self._closed: bool | None = None
        self._writer = Writer(settings.linger)
        self.chains = {
            stream: Chain(
                stream,
                lambda stream=stream: self._open_chain(stream),  # type: ignore[misc]
                self._writer,
                self.after_fork_in_child,
                settings.full_wait,
            )
            for stream in STREAMS
        }
        self._drains = [
            Drain(
                chain,
                self._day_files,
                DayWatch(
                    lambda: encoder.day_changes,
                    lambda: not somebody_runs(encoder.codes),
                ),
                sync=settings.fsync == "batch",
                limits=self._limits,
                totals=totals,
            )
            for chain in self.chains.values()
        ]
        self._meters = Meters(self._drains, suppressed)
        self._housekeeping = Housekeeping(
            settings,
            self._files,
            self._day_files,
            encoder,
            self._trouble,
            self._drains,
            self._durable_spool,
            self._limits,
            totals,
            self._meters,
            lambda: tell(False),
        )
        self._writer.attach(self._drains, self._housekeeping)

    def _open_chain(self, stream: str) -> Segment:
        # Registered before the first file is opened: a fork may come in between.
        process.register(self)
        self._at_first()
        directories = spool_directories(
            self._settings.log_dir, self._settings.spool_dir
        )
        spool = new_spool(self._files, directories, stream, self._slots, self._no_spool)
        try:
            return open_chain(spool)
        except OSError as error:  # no descriptor left for the mappings
            spool.remove()
            self._no_spool(directories[0], error)
        return open_chain(SpoolFile.in_memory(self._files, stream, self._slots))

    def _durable_spool(self, stream: str) -> SpoolFile | None:
        spool = new_spool(
            self._files,
            spool_directories(self._settings.log_dir, self._settings.spool_dir)[:1],
            stream,
            self._slots,
            self._no_spool,
        )
        return spool if spool.durable else None

    def _no_spool(self, directory: str, error: OSError) -> None:
        if error.errno in NO_DESCRIPTOR:
            advice = "Close files, or raise the limit: ulimit -n"
        else:
            advice = (
                "Check that it is writable, or set TOKENPAK_SPOOL_DIR to a directory "
                "on a local disk"
            )
        self._trouble.note(
            "spool",
            f"No spool in {directory}: {error.strerror or error}. Records that are not "
            f"yet in the log may be lost when this process is killed. {advice}.",
        )

    def begin(self, stream: str) -> None:
        """Open the spool of *stream*, and start the writer.  Any thread."""
        if self._closed is None and not self.chains[stream].closed:
            self.chains[stream].open()
            self._writer.answer()

    def know_of_forks(self) -> None:
        """Be told of forks from now on, and not from the first record on."""
        process.register(self)

    def warn(self, kind: str, text: str) -> None:
        """Have the writer warn of *text*, once a minute for a *kind*.  Any thread."""
        self._trouble.note(kind, text)

    def flush(self, timeout: float | None) -> bool:
        """Return whether all accepted before is in the log, within *timeout* s."""
        if self._closed is not None:
            return self._closed
        began, left = time.monotonic(), LOOK_PATIENCE
        flushed = self._writer.flush(timeout)
        if timeout is not None:
            left = min(left, began + timeout - time.monotonic())
        self._meters.look(max(0.0, left))
        return flushed

    def close(self, timeout: float | None) -> bool:
        """Flush, accept no more, end the writer.  Idempotent."""
        if self._closed is not None:
            return self._closed
        self._tell(True)
        opened = any(chain.head is not None for chain in self.chains.values())
        for chain in self.chains.values():
            chain.close()
        self._closed = self._writer.stop(timeout) if opened else True
        if self._closed:
            self._day_files.close()
        process.unregister(self)
        return self._closed

    def counts(self) -> Counts:
        """Return counts that belong together."""
        for _ in range(_LOOKS):
            # Accepted first: what is put meanwhile makes written too small for a
            # moment, never too much.
            accepted = sum(chain.accepted for chain in self.chains.values())
            notices = sum(chain.notices for chain in self.chains.values())
            before = [drain.progress for drain in self._drains]
            waiting = [
                pending(progress, None if drain.ended else drain.chain.head)
                for progress, drain in zip(before, self._drains, strict=True)
            ]
            # A segment that is drained meanwhile may be used again: look anew.
            if all(
                was is drain.progress
                for was, drain in zip(before, self._drains, strict=True)
            ):
                break
        dropped: dict[str, int] = {}
        for drain, progress in zip(self._drains, before, strict=True):
            # What a bound had no room for was accepted first: counted with the progress
            # of which it is a part, and not by what the drops say a moment later.
            for reason, count in {**drain.chain.dropped, **progress.given_up}.items():
                if reason not in LIMITS or reason in progress.given_up:
                    dropped[reason] = dropped.get(reason, 0) + count
            accepted -= sum(progress.given_up.values())
        pending_records = sum(records for records, _ in waiting)
        pending_records += sum(drain.left for drain in self._drains)
        accepted -= sum(drain.lost for drain in self._drains)
        notices += self._housekeeping.notices
        return Counts(
            accepted=accepted,
            written=max(0, accepted + notices - pending_records),
            written_bytes=sum(progress.written_bytes for progress in before),
            batches=sum(progress.batches for progress in before),
            pending_records=pending_records,
            pending_bytes=sum(size for _, size in waiting),
            dropped=dropped,
            notices=notices,
            recovered=self._housekeeping.recovered,
            write_errors=self._trouble.write_errors,
            durable=all(
                chain.head is None or chain.head.spool.durable
                for chain in self.chains.values()
            ),
        )

    # -- fork and exit ----------------------------------------------------------

    def before_fork(self) -> list[tuple[Chain, ForkGuard]]:
        """Guard the chains."""
        return [(chain, chain.before_fork()) for chain in self.chains.values()]

    def after_fork_in_parent(self, token: list[tuple[Chain, ForkGuard]]) -> None:
        """Take the guards away."""
        for chain, guard in token:
            chain.after_fork_in_parent(guard)

    def after_fork_in_child(self) -> None:
        """Start empty: what is pending belongs to the parent."""
        steps = [
            self._files.close_all_in_child,
            self._day_files.forget_all_in_child,
            self._writer.reset,
            *(drain.reset for drain in self._drains),
            self._housekeeping.reset,
            self._trouble.reset,
            self._in_child,
            # The chains last: what is put from then on needs all the rest.
            *(chain.reset_in_child for chain in self.chains.values()),
        ]
        for step in steps:
            if self._pid == os.getpid():
                return  # a signal handler has logged, and with that done all of it
            step()
        self._pid = os.getpid()

    def before_exit(self) -> None:
        """Bring what is pending into the log, within the time of the setting."""
        if self._pid == os.getpid() and self._closed is None:
            self._tell(True)
            flushed = self._writer.flush(self._settings.exit_timeout)
            self._meters.look(LOOK_PATIENCE)
            lost, counted = 0, True
            for drain in self._drains:
                # Nobody will find the counters of a queue in memory, nor its records.
                # The spool of one that the writer has not come to is still to be
                # recovered, and what is counted in it then may come once more.
                supply, head = drain.supply, drain.chain.head
                if supply is None:
                    durable = head is not None and head.spool.durable
                    counted &= drain.save_counters(ended=not durable) or durable
                else:
                    durable = supply.durable
                    counted &= durable or drain.save_counters(ended=True)
                if not (durable or flushed):
                    lost += pending(drain.progress, head)[0]
            # Here and not in the writer's thread, which may not come to it.
            self._housekeeping.tell_lost(records=lost, counters=not counted)
            self._housekeeping.upkeep.quit(
                self._writer.answer, self._settings.exit_timeout
            )


__all__ = ["Counts", "Pipeline"]
