"""
Which record is the summary of a storm, and how many failures it stands for.

Storm control writes such a record when a storm is over: how many failures it has
counted and not recorded.  Whoever counts failures adds these.  But ``storm`` is a key
that a user's own context may have as well, with anything in it; so a record is taken
for a summary only if all of it is as storm control writes it, and else counts as the
one failure that it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_HELD: Final = 10**12
"""What a summary can tell of; more is no count of a process."""
BEFORE_LAST: Final = " more like this were held back: "
"""What stands between the number and the message of the last failure."""
_KEYS: Final = {"held_back": int, "since": str, "until": str, "fingerprint": str}


def held_back(record: Mapping[str, Any]) -> int | None:
    """Return how many failures *record* says were held back; None: it is no summary."""
    context = record.get("context")
    if type(context) is not dict or len(context) != 1:
        return None
    storm = context.get("storm")
    if (
        type(storm) is not dict
        or storm.keys() != _KEYS.keys()
        or any(type(storm[key]) is not kind for key, kind in _KEYS.items())
    ):
        return None
    number: int = storm["held_back"]
    message = record.get("message")
    if (
        not 0 < number <= MOST_HELD
        or record.get("request_id") is not None
        or type(message) is not str
        or not message.startswith(f"{number:,}{BEFORE_LAST}")
    ):
        return None
    return number


__all__ = ["BEFORE_LAST", "MOST_HELD", "held_back"]
