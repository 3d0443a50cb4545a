r"""
What makes two records the same kind of failure, from their text alone.

The class, the functions that the stack goes through (file and name, of the exception
itself and not of its causes), and the message without the words that hold a digit.
The numbers of lines are left out, unlike in the fingerprint of storm control, which
need not last: an edit further up in a file would make all its failures new ones.

The frames of a stack are found once, and remembered in a bounded cache by the text
before the message.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

LONGEST: Final = 300
"""Characters of a message that are looked at."""
_LONGEST_PLACE: Final = 300
_NUMBERED: Final = re.compile(r"\b[^\W\d]*+\d\w*")
"""A word that holds a digit; possessive, so that nothing is tried twice."""
_FRAME: Final = re.compile(
    r'^[ |+]*File "([^"\n]{0,1000})", line \d+, in ([^\n]{0,300})$', re.MULTILINE
)
_BEGIN: Final = "Traceback (most recent call last):\n"
SAME: Final = bytes.maketrans(b"123456789", b"000000000")
_MOST_TEXTS: Final = 4_096
_MOST_CHARACTERS: Final = 8 * 1024 * 1024


def shape_of(message: str) -> str:
    """Return *message* with ``#`` for each word that holds a digit."""
    return _NUMBERED.sub("#", message[:LONGEST])


class Frames:
    """The frames of stack traces, with a memory."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        """By what key_of() returns."""
        self._size = 0

    def find(self, stack: str, message: str) -> str:
        """
        Return what frames_of() does.

        Args:
            stack: what traceback printed.
            message: which it ends with, usually; the stack is known without it.

        """
        key = key_of(stack, message)
        frames = self.known.get(key)
        if frames is None:
            self._size += len(key)
            if len(self.known) >= _MOST_TEXTS or self._size > _MOST_CHARACTERS:
                self.known.clear()
                self._size = len(key)
            frames = self.known[key] = frames_of(key)
        return frames


def key_of(stack: str, message: str) -> str:
    """Return *stack* without the *message* that it ends with; all of it if not so."""
    end = len(stack) - len(message) - 1
    return stack[:end] if end > 0 and stack.startswith(message, end) else stack


def frames_of(stack: str) -> str:
    """
    Return a short text that stands for the frames of the last traceback in *stack*.

    16 hexadecimal digits, and ``file:function`` of the innermost frame; nothing if
    there is none.
    """
    last = stack[stack.rfind(_BEGIN) + 1 :] if _BEGIN in stack else stack
    frames = [f"{file}:{name}" for file, name in _FRAME.findall(last)]
    if not frames:
        return ""
    return f"{_digest(chr(10).join(frames))}{frames[-1][-_LONGEST_PLACE:]}"


def place_of(frames: str) -> str:
    """Return ``file:function`` of the innermost frame, of what frames_of() made."""
    return frames[16:]


def digest_of(error_type: str, frames: str, shape: str) -> str:
    """Return 16 hexadecimal digits that stand for a kind of failure."""
    return _digest(f"{error_type}\0{frames}\0{shape}")


def _digest(text: str) -> str:
    data = text.encode(errors="backslashreplace")
    return hashlib.blake2b(data, digest_size=8).hexdigest()


__all__ = [
    "LONGEST",
    "SAME",
    "Frames",
    "digest_of",
    "frames_of",
    "key_of",
    "place_of",
    "shape_of",
]
