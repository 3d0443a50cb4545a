"""
Keep secrets out of records: what the rest of capture knows of redaction.

Promises: nothing here raises for what it is given (C1), and what cannot be searched is
left out rather than let through.  Any thread; takes no lock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tokenpak.telemetry.capture.interrupt import is_interrupt
from tokenpak.telemetry.capture.privacy.budget import LEFT_OUT
from tokenpak.telemetry.capture.privacy.mark import Marks
from tokenpak.telemetry.capture.privacy.names import Name, is_secret_name
from tokenpak.telemetry.capture.privacy.options import (
    holds_option,
    is_argument,
    is_option,
)
from tokenpak.telemetry.capture.privacy.rule import Rule, compiled
from tokenpak.telemetry.capture.privacy.screen import Screen
from tokenpak.telemetry.capture.privacy.text import (
    TOKEN_STARTS,
    is_empty,
    is_special,
    redact_text,
)
from tokenpak.telemetry.capture.sanitise import Plain, unique

OwnRule = str | re.Pattern[str] | Callable[[str], str]
"""A regular expression, or what returns a text without what it knows."""

MARGIN: Final = 4_096
"""Characters beyond a cut that are searched: a secret that is longer is recognised by
its first part."""
_MAX_CLEAN: Final = 1_000
"""How many short texts are remembered in which there was nothing: keys, mostly."""
_UNSEARCHED: Final = "[redacted: this text could not be searched]"
_SOURCE_LINE: Final = (
    r'(?m:^)(?P<margin>[ |+-]*)  File "[^"\n]*", line [0-9]+(?:, in [^\n]*)?'
    # Since 3.13 there may be several.
    r"\n(?P=margin)(?P<first> {4}[^\n]*)(?P<more>(?:\n(?P=margin) {4}[^\n]*)*)"
)
_FRAME: Final = r'(?<=\n)(?=  File ")'
_END: Final = r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_LONGEST_KEY: Final = 65_536


class Redactor:
    """
    What is kept out of the records of one logger.

    Args:
        level: ``"credentials"``, ``"personal"`` (these, and personal data) or
            ``"off"``: only *own* rules.
        own: rules of the application, by the names that are in the marks.
        key: of the hash in the marks.

    Attributes:
        active: whether there is anything to look for.
        harmless: skeletons of lines in which there is nothing; see Screen.

    """

    def __init__(
        self,
        level: str = "off",
        own: Mapping[str, OwnRule] | None = None,
        key: Callable[[], bytes] = bytes,
    ) -> None:
        self._marks = Marks(key)
        self._clean: set[str] = set()
        self._known = level != "off"
        self._more: Callable[[str], Sequence[Rule]] = lambda _: ()
        self._own = [
            (name, re.compile(rule) if isinstance(rule, str) else rule)
            for name, rule in (own or {}).items()
        ]
        self._screen = Screen()
        self._may_be_personal: Callable[[str], bool] | None = None
        if level == "personal":
            # Not before: it is not small, and few ask for it.
            from tokenpak.telemetry.capture.privacy import personal  # noqa: PLC0415

            self._more = personal.personal_in
            self._may_be_personal = personal.may_be_personal
        self.active = self._known or bool(self._own)
        # What a skeleton tells is about credentials alone.
        quick = not self._own and self._may_be_personal is None
        self.harmless = self._screen.harmless if quick else set[bytes]()

    def prepare(self) -> None:
        """Do what would keep the first record waiting in which a secret may be."""
        try:
            if self._known:
                TOKEN_STARTS.in_short("")
            if self.active and not self._marks.ready:
                self._marks.prepare()
        except Exception:  # noqa: S110  the first mark tries again, and does without
            pass

    def clears(self, pieces: Sequence[bytes], skeleton: bytes = b"") -> bool:
        """
        Return whether *pieces* of encoded JSON hold nothing that is to be kept out.

        False also if that cannot be told quickly: with own rules, and for personal data
        that may be some.

        Args:
            pieces: of one line.
            skeleton: of all of them together, which is not among the harmless.

        """
        if not self.active:
            return True
        if self._own:
            return False
        if self._may_be_personal is not None:
            return not any(
                self._screen.suspects(piece) or self._may_be_personal(piece.decode())
                for piece in pieces
            )
        return self._screen.clears(pieces, skeleton)

    def text(self, text: str) -> str:
        """Return *text* with marks in place of secrets."""
        return self._search(text)

    def frames(self, text: str) -> str:
        """Return *text*, of a stack's frames: what is no literal is no secret there."""
        return self._search(text, source=True)

    def trace(self, text: str, limit: int) -> str:
        """Return *text*, of a traceback, likewise; only its ends if it is very long."""
        if not self.active:
            return text
        if len(text) > 4 * limit:
            # From the beginning of a line on; and what may be the rest of a key in many
            # lines goes, to its end if it has one.
            start = text.find("\n", len(text) - 2 * limit) + 1 or len(text)
            tail = text[start:]
            begin = text.rfind("PRIVATE KEY", max(0, start - _LONGEST_KEY), start)
            if begin >= 0:
                half = compiled(_END).search(tail)
                tail = tail[half.end() :] if half else ""
            left_out = f"\n...[{len(text) - 4 * limit:,} characters left out]...\n"
            return self.window(text, 2 * limit) + left_out + self.trace(tail, limit)
        parts: list[str] = []
        end = 0
        for match in compiled(_SOURCE_LINE).finditer(text):
            parts.append(self.text(text[end : match.start("first")]))
            # In a literal of several lines nothing tells that the second is in one.
            long = '"""' in match[0] or "'''" in match[0]
            end = match.end("first" if long else "more")
            parts.append(self.frames(text[match.start("first") : end]))
        return "".join(parts) + self.text(text[end:])

    def clears_message(self, line: bytes) -> bool:
        """Return the same of *line*, a text that is known to nobody yet."""
        return self.clears((line,))

    def window(self, text: str, limit: int) -> str:
        """
        Return the first *limit* characters of *text* without secrets, or a few more.

        The text is searched before it is cut, or half of a secret would get through.
        """
        # By the real methods: a str may have others.
        length = str.__len__(text)
        head = str.__getitem__(text, slice(limit + MARGIN))
        if not self.active:
            return head[:limit]
        if length <= len(head):
            found = self.text(head)
            return found if length <= limit else found[:limit]
        # What reaches over the end of what is searched goes: it may be half a secret.
        last = max(head.rfind(blank, limit) for blank in " \n\t\"',")
        if last >= 0:
            return self.text(head[:last])[:limit]
        found = self.text(head)  # one word without an end
        return found[: max(0, len(found) - MARGIN)][:limit]

    def cut(self, text: str, limit: int) -> str:
        """Return the same of a text that is searched later, unless it is cut."""
        if str.__len__(text) <= limit:
            return str.__getitem__(text, slice(limit))
        return self.window(text, limit)

    def context(self, context: dict[str, Plain], most: int) -> dict[str, Plain]:
        """
        Return a copy of *context*, plain data, without secrets at any depth.

        Args:
            context: with str keys.
            most: how many characters are searched; the rest is left out.

        """
        try:
            return self._mapping(context, [most])
        except Exception:  # the end of the stack, or of the memory
            return {"not_encoded": _UNSEARCHED}

    def _plain(self, value: Plain, left: list[int]) -> Plain:
        if type(value) is str:
            return self._bounded(value, left)
        if type(value) is dict:
            return self._mapping(value, left)
        if type(value) is list:
            if self._known and _are_pairs(value):
                return [
                    self._pair(item, left)
                    if _is_pair(item)
                    else self._plain(item, left)
                    for item in value
                    if left[0] >= 0
                ]
            if self._known and holds_option(value):
                return self._arguments(value, left)
            return [self._plain(item, left) for item in value if left[0] >= 0]
        return value

    def _arguments(self, value: list[Plain], left: list[int]) -> list[Plain]:
        """Return *value*, the words of a command line, without those of its options."""
        kept: list[Plain] = []
        before: Plain = None
        for item in value:
            if left[0] < 0:
                break
            secret = type(item) is str and is_option(before) and is_argument(item)
            kept.append(self._whole(item) if secret else self._plain(item, left))
            before = item
        return kept

    def _pair(self, pair: Plain, left: list[int]) -> Plain:
        assert isinstance(pair, list)
        key, value = pair
        assert isinstance(key, str)
        name = is_secret_name(key)
        # Weak ones are also the names of columns, and words that a model has made.
        if name is None or name.weak or not _is_secret(value, weak=False):
            return [self._plain(item, left) for item in pair]
        return [self._bounded(key, left), self._whole(value)]

    def _mapping(self, value: dict[str, Plain], left: list[int]) -> dict[str, Plain]:
        copy: dict[str, Plain] = {}
        numbers: dict[str, int] = {}
        named = _named_here(value) if self._known and "value" in value else None
        for key, item in value.items():
            if left[0] < 0:
                copy[unique("<more values left out>", copy, numbers)] = None
                break
            name = is_secret_name(key) if self._known else None
            if key == "value":
                name = name or named
            # Two keys may have one mark.
            kept = unique(self._bounded(key, left), copy, numbers)
            if name is not None and _is_secret(item, weak=name.weak):
                copy[kept] = self._whole(item)
            else:
                copy[kept] = self._plain(item, left)
        return copy

    def _bounded(self, text: str, left: list[int]) -> str:
        left[0] -= len(text)
        if left[0] < 0:
            return _UNSEARCHED
        if text in self._clean:
            return text
        found = self.text(text)
        if found == text and len(text) <= 40:
            if len(self._clean) >= _MAX_CLEAN:
                self._clean.clear()
            self._clean.add(text)
        return found

    def _whole(self, value: Plain) -> str:
        text = value if isinstance(value, str) else repr(value)
        # Bearer, and then a mark, says which key it is; more so than one mark for both.
        found = self.text(text)
        if "[redacted:" in found and is_empty(found):
            return found
        return self._marks.make("named_secret", text)

    def _search(self, text: str, *, source: bool = False) -> str:
        if not self.active:
            return text
        try:
            for name, rule in self._own:
                text = self._apply(name, rule, text)
            if self._known:
                found = self._credentials(text, source)
                if source and LEFT_OUT in found:
                    # C3: a deep stack is not cut for what its source lines are called.
                    frames = compiled(_FRAME).split(text)
                    found = "".join(self._credentials(each, True) for each in frames)
                text = found
        except Exception:  # memory, or the stack's end
            return _UNSEARCHED
        return text

    def _credentials(self, text: str, source: bool) -> str:
        return redact_text(text, self._marks.make, more=self._more, source=source)

    def _apply(
        self, name: str, rule: re.Pattern[str] | Callable[[str], str], text: str
    ) -> str:
        try:
            if isinstance(rule, re.Pattern):
                return rule.sub(
                    lambda match: match[0] and self._marks.make(name, match[0]), text
                )
            return str.__str__(rule(text))
        except BaseException as reason:  # user code
            if is_interrupt(reason):
                raise
            return f"[redacted: the rule {name} failed]"


def _named_here(value: dict[str, Plain]) -> Name | None:
    """Return what *value* is the value of: ``{"name": "cookie", "value": "…"}``."""
    for key in ("name", "key"):
        name = value.get(key)
        if type(name) is str:
            return is_secret_name(name)
    return None


def _are_pairs(value: list[Plain]) -> bool:
    """Return whether *value* is what headers often are: a list of name and value."""
    # A copy that is not whole ends in a text that says so, maybe behind half a pair.
    last = len(value)
    if value and _is_remark(value[-1]):
        last -= 1
        before = value[last - 1] if last else None
        if type(before) is list and len(before) == 1 and _is_remark(before[0]):
            last -= 1
    return all(_is_pair(item) for item in value[:last])


def _is_pair(item: Plain) -> bool:
    return type(item) is list and len(item) == 2 and type(item[0]) is str


def _is_remark(item: Plain) -> bool:
    return type(item) is str and item.endswith("left out>")


def _is_secret(value: Plain, *, weak: bool) -> bool:
    if value is None or isinstance(value, bool) or value in ("", [], {}):
        return False
    if weak and isinstance(value, str) and is_special(value):
        return False
    return not (weak and isinstance(value, int | float) and abs(value) < 1e7)


__all__ = ["MARGIN", "OwnRule", "Redactor"]
