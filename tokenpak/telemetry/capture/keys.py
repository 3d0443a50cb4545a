"""
Which keys of a context are recorded: those that are allowed, but those that are denied.

    context_allow="model,usage"    context_deny="usage.user,prompt"

``usage.user`` is the key ``user`` in the value of ``usage``, also where that is a list
of such, and a key of the context that is called so itself.  What the caller gives, what
is bound and what an exception knows is treated alike, whatever its types are: what is
no plain dict is copied into one first.  What cannot be filtered is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.sanitise import Plain, sanitise_context

Tree = dict[str, Any]
"""By the name of a key: the tree of what is in it, or None, which is all of it."""
_NOTHING: Final = object()
UNFILTERED: Final[dict[str, Plain]] = {
    "not_encoded": "<the context could not be filtered, and is left out>"
}


class KeyFilter:
    """
    Filters contexts.  Any thread; takes no lock.

    Args:
        allow: names of keys; none: all.
        deny: names of keys.
        limit: how many characters a text may have that is copied.
        redactor: searches what is cut.

    """

    def __init__(
        self, allow: Sequence[str], deny: Sequence[str], limit: int, redactor: Redactor
    ) -> None:
        self._allow, self._deny = _tree(allow), _tree(deny)
        self._allowed, self._denied = frozenset(allow), frozenset(deny)
        self._limit = limit
        self._cut = redactor.cut

    def plain(self, context: object) -> dict[str, Any]:
        """Return *context* as a dict with str keys, which need not be a copy."""
        if type(context) is dict:
            copy = context.copy()  # in one step: other threads may change it
            if all(type(key) is str for key in copy):
                return copy
            context = copy
        return sanitise_context(context, self._limit, self._cut)

    def keep(self, context: dict[str, Any]) -> dict[str, Any]:
        """Return what of *context* is to be recorded."""
        kept: dict[str, Any] = {}
        for key, item in context.items():
            if key in self._denied:
                continue
            value = item
            if self._allow and key not in self._allowed:
                if key not in self._allow:
                    continue
                value = _only(self._copy(value), self._allow[key])
                if value is _NOTHING:
                    continue
            if key in self._deny:
                value = _without(self._copy(value), self._deny[key])
            kept[key] = value
        return kept

    def _copy(self, value: object) -> Plain:
        return sanitise_context({"value": value}, self._limit, self._cut)["value"]


def _tree(names: Sequence[str]) -> Tree:
    tree: Tree = {}
    for name in names:
        *above, last = name.split(".")
        branch: Tree = tree
        for part in above:
            inner = branch.setdefault(part, {})
            if inner is None:
                break  # all of it is named already
            branch = inner
        else:
            branch[last] = None
    return tree


def _only(value: Plain, tree: Tree | None) -> Any:
    if tree is None:
        return value
    if isinstance(value, list):
        return [kept for item in value if (kept := _only(item, tree)) is not _NOTHING]
    if not isinstance(value, dict):
        return _NOTHING
    found = {key: _only(item, tree[key]) for key, item in value.items() if key in tree}
    return {key: kept for key, kept in found.items() if kept is not _NOTHING}


def _without(value: Plain, tree: Tree) -> Plain:
    if isinstance(value, list):
        return [_without(item, tree) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without(item, tree[key]) if tree.get(key) else item
        for key, item in value.items()
        if key not in tree or tree[key] is not None
    }


__all__ = ["UNFILTERED", "KeyFilter"]
