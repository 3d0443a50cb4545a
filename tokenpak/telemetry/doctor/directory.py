"""The log directory itself: is it there, on what, does what it needs work in it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from tokenpak.telemetry.doctor.finding import CheckResult, Level
from tokenpak.telemetry.doctor.scene import IN_MEMORY, NETWORK, Scene, existing
from tokenpak.telemetry.store.places import RELIABLE


def check_directory(scene: Scene) -> Iterator[CheckResult]:
    """Tell whether there is a log directory, and whether this user may log to it."""
    check = "log directory"
    status = scene.status
    if isinstance(status, OSError):
        yield _missing(scene, status)
        return
    if not stat.S_ISDIR(status.st_mode):
        yield CheckResult(
            check,
            Level.PROBLEM,
            "is a file, not a directory",
            "Nothing can be logged there; records are held in the spool meanwhile.",
            f"Move the file {scene.log_dir} away.",
        )
    elif scene.writable and scene.as_root:
        yield CheckResult(
            check,
            Level.NOTE,
            f"belongs to user {_user(status.st_uid)}, and this is run by root",
            "What that user may do is judged by owners and modes alone.",
            f"For all checks, run this as user {_user(status.st_uid)}.",
        )
    elif scene.writable:
        yield CheckResult(check, Level.OK, "is there, and this user may write to it")
    elif _read_only(scene.log_dir):
        yield CheckResult(
            check,
            Level.PROBLEM,
            "is on a file system that is mounted read-only",
            "Nobody can log there.  A disk that had errors is mounted so, too.",
            "See dmesg; mount it read-write, or set TOKENPAK_LOG_DIR to another place.",
        )
    elif scene.foreign:
        yield CheckResult(
            check,
            Level.NOTE,
            f"belongs to user {_user(status.st_uid)}; this one may not write to it",
            "Locks, space and spools are judged by what may be read.",
            f"For all checks, run this as user {_user(status.st_uid)}.",
        )
    else:
        yield CheckResult(
            check,
            Level.PROBLEM,
            f"cannot be written (mode {stat.S_IMODE(status.st_mode):04o})",
            "Nothing can be logged there.",
            f"chmod u+rwx {scene.log_dir}",
        )


def _missing(scene: Scene, error: OSError) -> CheckResult:
    check, parent = "log directory", existing(scene.log_dir)
    if os.path.islink(scene.log_dir):
        return CheckResult(
            check,
            Level.PROBLEM,
            f"is a symbolic link that leads nowhere: {_target(scene.log_dir)}",
            "Nothing can be logged there.",
            "Make the directory that the link names, or remove the link.",
        )
    if error.errno != errno.ENOENT:
        return CheckResult(
            check,
            Level.PROBLEM,
            f"cannot be looked at: {error.strerror}",
            "",
            f"See the directories above it, from {parent} on.",
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        return CheckResult(
            check,
            Level.PROBLEM,
            f"does not exist, and {parent} cannot be written",
            "A process of this user cannot log there.",
            f"Make it for the user that logs, or set TOKENPAK_LOG_DIR.  If it is a "
            f"volume, see whether it is mounted at {parent}.",
        )
    return CheckResult(
        check,
        Level.NOTE,
        "does not exist yet",
        "It is made, for its user alone, with the first record.",
        "If your application has logged already, it logs elsewhere: see --log-dir "
        "and TOKENPAK_LOG_DIR.",
    )


def check_file_system(scene: Scene) -> Iterator[CheckResult]:
    """Tell whether it is one that keeps to what the logger relies on."""
    check, kind = "file system", scene.file_system
    spool = scene.spool_place or "memory"
    if kind in NETWORK:
        yield CheckResult(
            check,
            Level.WARNING,
            f"{kind}, which other machines may share",
            "Locks between machines are up to the server and the mount options, and "
            f"nothing is promised for them.  The spool is in {spool}.",
            "Give each machine a directory of its own, on a local disk, and let a "
            "shipper collect the files.",
        )
    elif kind in IN_MEMORY:
        yield CheckResult(
            check,
            Level.WARNING,
            f"{kind}: the log is in memory",
            "It survives processes, and not a reboot.",
            "Set TOKENPAK_LOG_DIR to a directory on a disk.",
        )
    elif kind == "overlay":
        yield CheckResult(
            check,
            Level.NOTE,
            "overlay: a layer of this container",
            "The log goes when the container goes.",
            "If it should stay, mount a volume there.",
        )
    elif kind in RELIABLE:
        yield CheckResult(check, Level.OK, kind)
    else:
        known = "a kind that this system does not tell" if kind == "unknown" else kind
        yield CheckResult(
            check,
            Level.NOTE,
            known,
            "It is not known to keep reserved space free, so a full disk could end a "
            f"process that stores into a mapped page.  The spool is in {spool}.",
        )


def check_probe(scene: Scene) -> Iterator[CheckResult]:
    """Tell whether locks, reserved space and mapped pages work in the directory."""
    found = scene.probe
    if found is None:
        return
    if found.failed is not None:
        yield CheckResult(
            "locks",
            Level.PROBLEM,
            f"no file can be made there: {found.failed.strerror or found.failed}",
            "Nothing can be logged there now.  Records are held in the spool.",
            "Free some space or inodes, or mend the disk.",
        )
        return
    trouble = found.locks or found.child
    if trouble:
        yield CheckResult(
            "locks",
            Level.PROBLEM,
            trouble,
            "Lines of several processes may be mixed, and a record be lost or doubled.",
            "Log to a local file system.",
        )
    else:
        how = ", also against another process" if found.child_asked else ""
        yield CheckResult("locks", Level.OK, f"keep a second descriptor out{how}")
    if found.space or found.mapping:
        yield CheckResult(
            "spool space",
            Level.WARNING if found.full else Level.NOTE,
            found.space or found.mapping,
            "No spool can be had in the log directory.",
            "Free some space." if found.full else "",
        )
    else:
        yield CheckResult("spool space", Level.OK, "can be reserved and mapped")


def check_spool_place(scene: Scene) -> Iterator[CheckResult]:
    """Tell where new spools go, and whether they survive their process there."""
    check, place = "spool place", scene.spool_place
    if scene.foreign or (scene.exists and not scene.writable):
        return  # what this user could have says nothing of what that user has
    if not scene.exists:
        if place == scene.spool_places[0]:
            yield CheckResult(check, Level.OK, f"will be {place}")
        return
    if place is None:
        reasons = "; ".join(f"{p}: {why}" for p, why in scene.refusals.items())
        yield CheckResult(
            check,
            Level.WARNING,
            "none: what is pending is in memory, and dies with its process",
            f"{reasons}.",
            "Set TOKENPAK_SPOOL_DIR to a directory of this user on a local disk.",
        )
        return
    first = scene.spool_places[0]
    if place != first:
        yield CheckResult(
            check,
            Level.WARNING,
            f"{first} cannot be used: {scene.refusals[first]}",
            f"New spools go to {place}.",
            f"Let {first} belong to the user that logs, with mode 0700, and have room.",
        )
    elif scene.usual_spool_place:
        yield CheckResult(check, Level.OK, "the log directory")
    elif scene.spool_file_system in RELIABLE - IN_MEMORY:
        yield CheckResult(check, Level.OK, place)
    elif scene.spool_file_system in IN_MEMORY:
        yield CheckResult(
            check,
            Level.NOTE,
            f"{place} ({scene.spool_file_system})",
            "What is pending survives processes, and not a reboot.",
            "For more, set TOKENPAK_SPOOL_DIR to a directory on a local disk.",
        )
    else:
        yield CheckResult(
            check,
            Level.WARNING,
            f"{place}, which is on {scene.spool_file_system}",
            "A full disk, or a server that is away, can end a process that stores "
            "into its spool (SIGBUS).",
            "Set TOKENPAK_SPOOL_DIR to a directory on a local disk.",
        )


def _read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except (OSError, AttributeError):
        return False


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return "?"


def _user(number: int) -> str:
    try:
        import pwd  # noqa: PLC0415  (not there on Windows)

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return str(number)


__all__ = [
    "check_directory",
    "check_file_system",
    "check_probe",
    "check_spool_place",
]
