"""
Tell quickly that a line holds no secret.  It is allowed to be wrong in one way only.

To look for fifty forms of secrets in each record would take longer than to make it.
But records repeat: they differ in numbers, durations and ids.  So it is asked of a line
whether its *skeleton* (the line without digits and the letters a to f) is one of those
that are known to be harmless, which is one pass in C and one look into a set.

A skeleton is harmless if no rule has left its trace in it, and then no text that has
this skeleton holds a secret, whatever its digits are.  It is learnt when it is met for
the second time: a text with a random id in it is never met again.  What is not known is
searched, first for the words that secrets begin with, then by the rules themselves.

What is looked at is encoded JSON.  In that, secrets look as they do in the text, but
for quotes, backslashes and control characters, which the expressions allow for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokenpak.telemetry.capture.privacy.names import NAMES, Name
from tokenpak.telemetry.capture.privacy.options import OPTION, holds_name
from tokenpak.telemetry.capture.privacy.rule import HEX, compiled, trace_of
from tokenpak.telemetry.capture.privacy.starts import CLASSES, JOINTS, NEAR, RUN
from tokenpak.telemetry.capture.privacy.text import SCHEMES, TOKEN_STARTS
from tokenpak.telemetry.capture.privacy.tokens import TOKENS

MAX_KNOWN: Final = 1_000
"""How many skeletons are kept.  Beyond that the set is emptied."""
MAX_LENGTH: Final = 2_000
"""How long one may be, in bytes."""
_HIDDEN: Final = r"\\u00[2-7]"
"""A letter that is written as an escape, which orjson does not do: a fragment holds it.
The slow road decodes it."""
_ONE_WORD: Final = '"?[A-Za-z0-9_-]*"?'
"""In such a text, an id as a rule, there is neither a name with a sign nor a scheme."""


class Screen:
    """
    Which lines are harmless.  Any thread; takes no lock.

    Attributes:
        harmless: skeletons that no secret has: of lines, and of runs (see starts).

    """

    def __init__(self) -> None:
        self.harmless: set[bytes] = {b"", b"-" * 4}
        self._seen: dict[int, bool] = {}
        self._one_word = compiled(_ONE_WORD).fullmatch
        self._names = [(name.word, _suspicion(name)) for name in NAMES]
        folded = [rule.trace for rule in SCHEMES if rule.fold]
        folded += [OPTION.trace, *(name.trace for name in NAMES)]
        exact = [r"\\u", *(trace_of(rule) for rule in TOKENS)]
        exact += [rule.trace for rule in SCHEMES if not rule.fold]
        self._traces = "|".join(exact)
        self._folded = "|".join(folded)
        self._url = exact[-1]

    def clears(self, pieces: Sequence[bytes], skeleton: bytes = b"") -> bool:
        """
        Return whether no piece of a line holds a secret, for sure.

        Args:
            pieces: encoded JSON; the skeleton of all together is not known.
            skeleton: that of all together.

        """
        known = True
        for piece in pieces:
            own = piece.translate(None, HEX)
            if own not in self.harmless:
                if self.suspects(piece):
                    return False
                self._learn(own)
                known = False
        if known:
            self._learn(skeleton)
        return True

    def _learn(self, skeleton: bytes) -> None:
        # One with a newline is never harmless: encode looks for one in others only.
        if len(skeleton) > MAX_LENGTH or b"\n" in skeleton:
            return
        number = hash(skeleton)
        done = self._seen.get(number)
        if done is None:
            if len(self._seen) >= MAX_KNOWN:
                self._seen.clear()
            self._seen[number] = False
        elif not done:
            self._seen[number] = True
            if not self.traces(skeleton):
                if len(self.harmless) >= MAX_KNOWN:
                    self.harmless.clear()
                self.harmless.add(skeleton)

    def traces(self, skeleton: bytes) -> bool:
        """Return whether a text with this *skeleton* may hold a secret."""
        folded = skeleton.lower().translate(None, HEX).decode(errors="replace")
        folded = _as_names(folded, '"vlu":')
        return (
            compiled(self._folded).search(folded) is not None
            or compiled(self._traces).search(skeleton.decode(errors="replace"))
            is not None
        )

    def suspects(self, line: bytes) -> bool:
        """Return whether *line*, encoded JSON, may hold a secret."""
        # Written for speed: this is for each text that was never met before.
        text = line.decode()
        if " " not in text and self._one_word(text) is not None:
            return TOKEN_STARTS.in_short(text) and self._found(text, text)
        if "\\u" in text and compiled(_HIDDEN).search(text) is not None:
            return True
        # RUNLESS, word for word.
        if "PRIVATE KEY" in text or "Q~" in text or "whsec_" in text:
            return True
        classes = line.translate(CLASSES)
        at = classes.find(RUN)
        if at >= 0 and self._token_in(line, text, classes, at):
            return True
        low = line.lower().decode()
        if ":" in text or "=" in text or "%3" in text or '",' in text or "'," in text:
            near = _as_names(low, '"value":')
            for word, suspicion in self._names:
                if word in near and compiled(suspicion).search(near) is not None:
                    return True
        if "@" in low and "://" in low and compiled(self._url).search(low) is not None:
            return True
        if holds_name(low) and compiled(OPTION.pattern).search(low) is not None:
            return True
        return ("bearer" in low or "basic" in low) and any(
            rule.fold and compiled(rule.pattern).search(low) is not None
            for rule in SCHEMES
        )

    def _token_in(self, line: bytes, text: str, classes: bytes, at: int) -> bool:
        while at >= 0:
            end = classes.find(b" ", at)
            end = len(classes) if end < 0 else end
            if at and line[at - 1] in JOINTS:
                at, skeleton = max(0, at - NEAR), None
            else:
                skeleton = line[at:end].translate(None, HEX)
            if skeleton is None or skeleton not in self.harmless:
                near = line[at:end].decode(errors="replace")
                if TOKEN_STARTS.in_short(near) and self._found(near, text):
                    return True
                if skeleton is not None:
                    self._learn(skeleton)
            at = classes.find(RUN, end)
        return False

    def _found(self, near: str, text: str) -> bool:
        return any(
            compiled(rule.pattern).search(text) is not None
            for rule in TOKEN_STARTS.within(near)
        )


def _as_names(low: str, value: str) -> str:
    """Return *low* with a sign behind what only a context knows for a name."""
    if '*":' in low:  # a key that is required
        low = low.replace('*":', '":')
    if value in low:  # it may be before its name, which then ends an object
        low = low.replace('"}', '":')
    return low


def _suspicion(name: Name) -> str:
    """Return an expression for *name* in JSON; the value may be no secret at all."""
    number = "|[0-9]{1,7}" if name.weak else ""
    return rf"""{name.encoded}(?!(?:null|true|false|""{number})[,}}\]])"""


__all__ = ["MAX_KNOWN", "MAX_LENGTH", "Screen"]
