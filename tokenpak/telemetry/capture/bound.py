"""
What is bound around a call: a request id and context that its records get.

Held by one context variable, so each thread and each asyncio task has its own.  The hot
path asks it once per record, if anything was ever bound in this process.

C2  What is bound is encoded with the record, so it is a snapshot as the rest is.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from itertools import islice
from typing import Any, Final, Self

from tokenpak.telemetry.capture.interrupt import is_interrupt

_MOST: Final = 10_001
"""Of a mapping that is no dict: one more than what is recorded of it."""


class Bound:
    """
    What is bound; never changed.

    Attributes:
        request_id: for records that have none of their own; None for none.
        context: a dict with str keys.

    """

    request_id: str | None
    context: dict[str, Any]
    depth: int
    parent: Bound | None

    __slots__ = ("context", "depth", "parent", "request_id")

    def __new__(cls, *_: object) -> Self:
        """Say that there is one, however it comes into being: by unpickling, too."""
        if not EVER_BOUND:
            EVER_BOUND.append(True)
        return super().__new__(cls)

    def __init__(
        self, request_id: str | None, context: dict[str, Any], parent: Bound | None
    ) -> None:
        # The parent tells who was bound around this, and nothing else is read of it.
        # Generators that are closed in another context leave theirs behind, so the
        # chain of those is cut at times.
        depth = 0 if parent is None else parent.depth + 1
        if parent is not None:
            if request_id is None:
                request_id = parent.request_id
            context = {**parent.context, **context}
        self.request_id = request_id
        self.context = context
        self.depth = depth % _DEEPEST
        self.parent = parent if self.depth else None


_DEEPEST: Final = 64
EVER_BOUND: Final[list[bool]] = []
"""Not empty once anything was bound in this process, by any thread.  A program that
binds nothing is spared the question for each record."""

current: Final[ContextVar[Bound | None]] = ContextVar("tokenpak_bound", default=None)


def merge(bound: Bound, request_id: object, context: object) -> tuple[object, object]:
    """
    Return request id and context of a record.  What it has of its own wins.

    Args:
        bound: what is bound around the call.
        request_id: as given to the call; None for none.
        context: as given to the call: anything.

    """
    if request_id is None:
        request_id = bound.request_id
    if not bound.context:
        return request_id, context
    if context is None:
        return request_id, bound.context
    if type(context) is dict:
        return request_id, {**bound.context, **context}
    try:
        if isinstance(context, Mapping):
            own = dict(islice(context.items(), _MOST))
            return request_id, {**bound.context, **own}
    except BaseException as reason:  # user code; what it is is said in the record
        if is_interrupt(reason):
            raise
    return request_id, {**bound.context, "value": context}


__all__ = ["EVER_BOUND", "Bound", "current", "merge"]
