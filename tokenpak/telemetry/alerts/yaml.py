"""
Mappings, lists and strings as YAML, of the plainest kind.

There is no YAML library to depend on for that.  Each string is double-quoted, with all
that is not printable escaped, so none can be taken for a number, a comment or a key.

    https://yaml.org/spec/1.2.2/#731-double-quoted-style
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_ESCAPED: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def dump(value: Any, comment: str = "") -> str:
    """
    Return *value* as a YAML document.

    Args:
        value: mappings with plain keys, sequences, strings and integers.
        comment: put above it, each line behind a ``#``.

    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    return "\n".join([*lines, *_lines(value)]) + "\n"


def quoted(text: str) -> str:
    """Return *text* between double quotes."""
    return '"' + "".join(map(_character, text)) + '"'


def _character(character: str) -> str:
    code = ord(character)
    if character in _ESCAPED:
        return _ESCAPED[character]
    if character.isprintable():
        return character
    if code <= 0xFF:
        return f"\\x{code:02x}"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"  # half a character is none, in UTF-8
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        found = []
        for key, of in value.items():
            if isinstance(of, Mapping | list) and of:
                found += [f"{key}:", *(f"  {line}" for line in _lines(of))]
            else:
                found.append(f"{key}: {_scalar(of)}")
        return found
    if isinstance(value, Sequence) and not isinstance(value, str):
        found = []
        for item in value:
            first, *rest = _lines(item)
            found += [f"- {first}", *(f"  {line}" for line in rest)]
        return found
    return [_scalar(value)]


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return "[]"
    if isinstance(value, Mapping):
        return "{}"
    return str(value)


__all__ = ["dump", "quoted"]
