"""
Who holds a lock, by the kernel's own list: without trying to take it.

R1  A reader takes no lock: see peek.

Whoever reads the list keeps all processes of the machine from taking and releasing
locks meanwhile, a logger's writer among them.  So it is read once for all that is asked
at a time, and again only for a lock that was not in it.
"""

from __future__ import annotations

import os
from typing import Final

from tokenpak.telemetry.store.files import READ_FLAGS

_ALL_PROCESSES: Final = 0xEFFFFFFC
"""The number that Linux gives to the namespace in which every process is seen."""
_LOOKS: Final = 8
"""How often the kernel's list of locks is gone through before a lock is believed to be
held by nobody."""
_PIECE: Final = 64 * 1024


class HeldLocks:
    """
    The locks that are held at this moment.  For one look at several files.

    The kernel lists its locks, but only those of processes that can be seen from here:
    from inside a container, those of others cannot.

    Args:
        locks: where the kernel lists them.
        namespace: which processes can be seen.

    """

    def __init__(
        self, *, locks: str = "/proc/locks", namespace: str = "/proc/self/ns/pid"
    ) -> None:
        self._locks = locks
        self._namespace = namespace
        self._listed: frozenset[bytes] = frozenset()
        self._looks = 0

    def has(self, identity: tuple[int, int]) -> bool | None:
        """
        Return whether a process holds the lock of a file.

        Args:
            identity: device and inode of the file.

        Returns:
            None if that cannot be told: there is no such list, or not of all processes.

        """
        device, inode = identity
        wanted = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}".encode()
        if wanted in self._listed:
            return True
        try:
            everybody = os.stat(self._namespace).st_ino == _ALL_PROCESSES
            if not everybody and self._looks:
                return None  # nor would another look make sure
            if self._finds(wanted):
                return True
        except OSError:
            return None
        return False if everybody else None

    def _finds(self, wanted: bytes) -> bool:
        """
        Return whether *wanted* is in the list, now.

        The kernel gives the list out by the page, some 75 locks at a time, and goes on
        by number: where one was released meanwhile that stood before, the next is
        passed over.  So only one of a single piece is believed at once not to have it;
        a longer one after some looks, which count for all files that are asked for.
        """
        while True:
            self._looks += 1
            pieces = self._read()
            # 1: FLOCK  ADVISORY  WRITE 708 08:02:131 0 EOF
            lines = b"".join(pieces).splitlines()
            self._listed |= frozenset(
                word for line in lines if b"FLOCK" in line for word in line.split()
            )
            if wanted in self._listed:
                return True
            if len(pieces) <= 1 or self._looks >= _LOOKS:
                return False

    def _read(self) -> list[bytes]:
        pieces = []
        fd = os.open(self._locks, READ_FLAGS)
        try:
            while piece := os.read(fd, _PIECE):
                pieces.append(piece)
        finally:
            os.close(fd)
        return pieces


__all__ = ["HeldLocks"]
