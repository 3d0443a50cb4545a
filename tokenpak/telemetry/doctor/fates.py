"""
What survives which death here: the promises, as far as the checks let them hold.

Each row says what an accepted record's fate is, one whose call had returned.  The tests
behind them are on the guarantees page of the documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokenpak.telemetry.doctor.finding import Fate
from tokenpak.telemetry.doctor.scene import IN_MEMORY, NETWORK, Scene, size_text


def fates(scene: Scene) -> Iterator[Fate]:
    """Yield the fates of *scene*, from the most frequent event to the rarest."""
    durable = scene.spool_place is not None
    yield _killed(scene, durable=durable)
    yield Fate(
        "the process ends, forks, or starts others",
        "kept",
        f"written at the end, within {scene.settings.exit_timeout:g} s"
        + (", or by the next process" if durable else ""),
    )
    yield _outage(scene, durable=durable)
    yield _power(scene)
    yield _reboot(scene, durable=durable)
    yield Fate(
        "log files deleted or renamed under it",
        "partly",
        "what was deleted is gone, and at most one batch goes after it; then a new "
        "file is made",
    )
    yield Fate(
        "bytes of a log file damaged",
        "partly",
        "all but the lines that hold those bytes; the reader says where",
    )
    if durable:
        yield Fate(
            "the disk fails under the spool",
            "lost",
            "a page that cannot be had ends the process (SIGBUS)",
        )
    if scene.file_system in NETWORK:
        yield Fate(
            "several machines log to this directory",
            "lost",
            f"nothing is promised for the locks of {scene.file_system}",
        )


def _killed(scene: Scene, *, durable: bool) -> Fate:
    event = "the process is killed or crashes (SIGKILL, segfault)"
    if not durable:
        return Fate(event, "lost", "what was pending: the queue is in memory here")
    probe = scene.probe
    if probe is not None and (probe.locks or probe.child):
        return Fate(event, "partly", "locks do not work here, so lines may be mixed")
    return Fate(event, "kept", "every record, exactly once")


def _outage(scene: Scene, *, durable: bool) -> Fate:
    bound = size_text(scene.settings.max_pending_bytes)
    where = "" if durable else ", in memory"
    return Fate(
        "disk full, directory locked or not writable",
        "kept",
        f"up to {bound} for each stream of a process{where}; what is more is dropped "
        "and counted",
    )


def _power(scene: Scene) -> Fate:
    event = "power failure, crash of the machine"
    if scene.file_system in IN_MEMORY:
        return Fate(event, "lost", "the log is in memory here")
    if scene.settings.fsync == "batch":
        cost = "what was pending, usually some tens of milliseconds"
    elif scene.settings.fsync == "interval":
        cost = f"the last {scene.settings.fsync_interval:g} s and what was pending"
    else:
        cost = "what the kernel had not written yet, often the last 30 s (fsync=never)"
    return Fate(event, "partly", f"all but {cost}")


def _reboot(scene: Scene, *, durable: bool) -> Fate:
    event = "the machine is shut down"
    if scene.file_system in IN_MEMORY:
        return Fate(event, "lost", "the log is in memory here")
    if not durable or scene.spool_file_system in IN_MEMORY:
        return Fate(
            event,
            "partly",
            "all but what was pending in processes that were killed: the "
            + ("spool" if durable else "queue")
            + " is in memory",
        )
    return Fate(event, "kept", "what was pending is appended after the next start")


__all__ = ["fates"]
