"""Waits that are drawn anew each time, so that processes don't try in step."""

from __future__ import annotations

import os


def jittered(low: float, high: float) -> float:
    """
    Return a number from *low* to *high*.

    Not of ``random``: its state is the application's, which may have seeded it, and is
    the same in all forked children.
    """
    return low + (high - low) * int.from_bytes(os.urandom(2), "little") / 65_536


__all__ = ["jittered"]
