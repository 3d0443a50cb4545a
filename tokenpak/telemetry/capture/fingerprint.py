"""
What makes two failures the same: class, stack, and the message without its numbers.

Words that hold a digit are left out of the message, and so are most ids.  The stack is
that of the exception itself, not of its causes.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

from tokenpak.telemetry.capture.index import find
from tokenpak.telemetry.capture.stack import Entry, NotCacheableError, StackCache

LONGEST: Final = 2_000
"""Characters of a message that are looked at: a bound for the work."""
_NUMBERED: Final = re.compile(r"\b\w*\d\w*")


class Fingerprint(NamedTuple):
    """One kind of failure.  Two with the same stack hold the same entry."""

    cls: type
    entry: Entry | None
    """None: a stack that only traceback itself can print."""
    shape: str

    def digest(self) -> str:
        """Return 16 hexadecimal digits, the same in each process of a deployment."""
        stack = b"" if self.entry is None else self.entry.head
        text = b"\0".join((stack, self.shape.encode(errors="backslashreplace")))
        return hashlib.blake2b(text, digest_size=8).hexdigest()


def shape_of(message: str) -> str:
    """Return *message* with the words taken out that hold a digit."""
    return _NUMBERED.sub("#", message[:LONGEST])


def stack_of(stacks: StackCache, error: BaseException) -> Entry | None:
    """Return what is known of the stack of *error*; it is learnt if it is new."""
    kind = stacks.kind(type(error))
    tb = error.__traceback__
    try:
        return find(kind.stacks, tb) or stacks.learn(tb, kind)
    except NotCacheableError:
        return None


__all__ = ["LONGEST", "Fingerprint", "shape_of", "stack_of"]
