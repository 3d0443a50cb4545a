"""
Which keys of a context are recorded: those that are allowed, but those that are denied.

    context_allow="model,usage"    context_deny="usage.user,prompt"

``usage.user`` is the key ``user`` in the value of ``usage``, also where that is a list
of such, and a key that is called so itself, at any depth.  A key of bytes is what they
are as text, and of two that look alike the second, ``user (2)``, is denied as the first
is.  What the caller gives, what is bound and what an exception knows is treated alike,
whatever its types are: what is no plain dict is copied into one first.  What cannot be
filtered is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.sanitise import Plain, sanitise_context

Tree = dict[str, Any]
"""By the name of a key: the tree of what is in it, or None, which is all of it."""
_NOTHING: Final = object()
_NO_KEYS: Final[Mapping[str, Any]] = MappingProxyType({})
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
            denied = _branch(self._deny, key, context)
            if denied is None:
                continue
            value = item
            if self._allow:
                allowed = _branch(self._allow, key)
                if allowed is _NOTHING:
                    continue
                if allowed is not None:
                    value = _only(self._copy(value), allowed)
                    if value is _NOTHING:
                        continue
            if denied is not _NOTHING:
                value = _without(self._copy(value), denied)
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


def _branch(tree: Tree, key: str, beside: Mapping[str, Any] = _NO_KEYS) -> Any:
    """
    Return what *tree* has for *key*: a tree, None for all of it, or _NOTHING.

    Args:
        tree: any.
        key: may have points in it: then it may be what *tree* has in several steps.
        beside: the keys among which it is, if what is named twice counts as one.

    """
    found = tree.get(key, _NOTHING)
    if found is _NOTHING and "." in key:
        *above, last = key.split(".")
        branch: Any = tree
        for part in above:
            # Where all of a is named, a key a.b is another one.
            branch = branch.get(part) or {}
        found = branch.get(last, _NOTHING)
    if found is _NOTHING and key.endswith(")"):
        first, _, number = key[:-1].rpartition(" (")
        if number.isdecimal() and first in beside:
            return _branch(tree, first)
    return found


def _only(value: Plain, tree: Tree | None) -> Any:
    if tree is None:
        return value
    if isinstance(value, list):
        return [kept for item in value if (kept := _only(item, tree)) is not _NOTHING]
    if not isinstance(value, dict):
        return _NOTHING
    found = {}
    for key, item in value.items():
        branch = _branch(tree, key)
        kept = _NOTHING if branch is _NOTHING else _only(item, branch)
        if kept is not _NOTHING:
            found[key] = kept
    return found


def _without(value: Plain, tree: Tree) -> Plain:
    if isinstance(value, list):
        return [_without(item, tree) for item in value]
    if not isinstance(value, dict):
        return value
    kept: dict[str, Plain] = {}
    for key, item in value.items():
        branch = _branch(tree, key, value)
        if branch is not None:
            kept[key] = item if branch is _NOTHING else _without(item, branch)
    return kept


__all__ = ["UNFILTERED", "KeyFilter"]
