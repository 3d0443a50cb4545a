"""
Which start of the machine this is.

What a process stores into mapped pages survives its death, but after a power failure a
spool may be older than the log, or pages of it missing.  A spool names the boot that it
belongs to; whoever recovers one of another boot trusts nothing in it unseen.
"""

from __future__ import annotations

import functools

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


@functools.lru_cache(maxsize=1)
def current_boot() -> int:
    """
    Return 64 bits that name this start of the machine; 0: the system does not tell.

    They are the last ones of the UUID that Linux draws at each start.  (A sleeping or
    migrated machine keeps it, like its memory.)
    """
    try:
        # As bytes: a codec might have to be imported, and a process that has given up
        # its rights may have none to read it.
        with open(_BOOT_ID, "rb") as file:
            return int(file.read().replace(b"-", b"")[16:32], 16)
    except (OSError, ValueError):
        return 0


__all__ = ["current_boot"]
