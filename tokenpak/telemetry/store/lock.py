"""
The exclusive lock on an open file.

It is the lock that ``filelock.lock_descriptor`` takes: ``flock`` of the whole file if
there is ``fcntl``, and filelock itself does it elsewhere (Windows).  So either may be
used by other programs that want to keep out of each other's way (tested).

filelock is not imported where ``fcntl`` will do, because of what its import does to the
host: an audit hook for the whole process, which from Python 3.12 on makes every look
at a frame of a traceback five times as slow, in the application's own code, too; and
at-fork hooks that may wait before a fork, which Q5 rules out.
"""

from __future__ import annotations

try:
    import fcntl
except ImportError:  # Windows
    from filelock import lock_descriptor, unlock_descriptor

    def try_lock(fd: int) -> bool:
        """Take the lock of *fd*, or return False at once: somebody else has it."""
        return lock_descriptor(fd, blocking=False)

    def only_shared(fd: int) -> bool:  # noqa: ARG001
        """Return False: there are no shared locks here."""
        return False

    def unlock(fd: int) -> None:
        """Release the lock of *fd*."""
        unlock_descriptor(fd)

else:

    def try_lock(fd: int) -> bool:
        """Take the lock of *fd*, or return False at once: somebody else has it."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def only_shared(fd: int) -> bool:
        """Return whether nobody has the exclusive lock of *fd*, which is not ours."""
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(fd, fcntl.LOCK_UN)
        return True

    def unlock(fd: int) -> None:
        """Release the lock of *fd*."""
        fcntl.flock(fd, fcntl.LOCK_UN)


__all__ = ["only_shared", "try_lock", "unlock"]
