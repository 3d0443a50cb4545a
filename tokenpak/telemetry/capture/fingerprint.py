"""
What makes two failures the same: class, stack, and the message without its numbers.

Words that hold a digit are left out of the message, and so are most ids.  So are its
secrets: a fingerprint is written, and who has it could test guesses at them; nor is a
failure another one because another key was refused.  The stack is that of the exception
itself, not of its causes.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

from tokenpak.telemetry.capture.index import find
from tokenpak.telemetry.capture.privacy.redactor import MARGIN
from tokenpak.telemetry.capture.stack import (
    Entry,
    NotCacheableError,
    StackCache,
    json_text,
)

LONGEST: Final = 2_000
"""Characters of a message that are looked at: a bound for the work."""
_HASH: Final = re.compile(r"(\[redacted:[a-z0-9_]+):[0-9a-f]{0,8}(?:\]|\Z)")
"""In a mark, which may be cut at the end."""
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


def shape_in(stacks: StackCache, message: str) -> str:
    """Return the same without secrets, by the redactor of *stacks*."""
    message = message[: LONGEST + MARGIN + 1]
    redactor = stacks.redactor
    if not redactor.active:
        return shape_of(message)
    try:
        harmless = redactor.clears_message(json_text(message))
    except TypeError:  # a lone surrogate
        harmless = False
    if not harmless:
        # The mark's hash differs from one secret to another.
        message = _HASH.sub(r"\1]", redactor.window(message, LONGEST))
    return shape_of(message)


def stack_of(stacks: StackCache, error: BaseException) -> Entry | None:
    """Return what is known of the stack of *error*; it is learnt if it is new."""
    kind = stacks.kind(type(error))
    tb = error.__traceback__
    try:
        return find(kind.stacks, tb) or stacks.learn(tb, kind)
    except NotCacheableError:
        return None


__all__ = ["LONGEST", "Fingerprint", "shape_in", "shape_of", "stack_of"]
