"""
What was bound where an exception came from, for the layers outside of that block.

    @log_exception
    def handle(request):
        with bind(request_id=request.id):
            ...

When the decorator records, the block has been left, and nothing is bound any more.  So
a block that is left by an exception says on the exception what was bound in it, and
when.  Layers use that if it happened during the call that has failed.

It lives as long as the exception, whose traceback holds the frames of the block anyway
(C2), and does not go along when the exception is pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import time_ns
from typing import Any, Self

from tokenpak.telemetry.capture.bound import Bound, current
from tokenpak.telemetry.capture.mark import attributes, plain_attributes
from tokenpak.telemetry.scope.target import Logger


class Left(str):
    """
    Which block was left, and when; on the exception.

    An empty text to all others: who encodes the attributes of an exception as JSON, as
    error trackers do, must not fail because of ours.
    """

    bound: Bound
    moment: int

    __slots__ = ("bound", "moment")

    def __new__(cls, bound: Bound, moment: int) -> Self:
        """Return it."""
        self = super().__new__(cls)
        self.bound = bound
        self.moment = moment
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # None, and told without a name of ours: who is sent the exception may not have
        # this package.
        return type(None), ()


def leave(error: BaseException, bound: Bound) -> None:
    """Say on *error* that it has left the block in which *bound* was bound."""
    if not plain_attributes(type(error)):
        return  # see mark
    before = _left(error)
    if before is not None and _within(before.bound, bound):
        return  # an inner block knows more
    error._tokenpak_bound = Left(bound, time_ns())  # type: ignore[attr-defined]  # noqa: SLF001


def record(
    logger: Logger,
    request_id: str | None,
    error: BaseException,
    context: Mapping[str, Any] | None,
    since: int = 0,
) -> None:
    """
    Record *error*, with that bound which was where it came from.

    Args:
        logger: by which.
        request_id: as for log_error().
        error: the exception.
        context: as for log_error().
        since: when the call began that has failed, in nanoseconds since the epoch.

    """
    left = _left(error)
    here = current.get()
    if (
        left is None
        or left.moment < since
        or not (here is None or _within(left.bound, here))
    ):
        logger.log_error(request_id, error, context)
        return
    token = current.set(left.bound)
    try:
        logger.log_error(request_id, error, context)
    finally:
        current.reset(token)


def _left(error: BaseException) -> Left | None:
    found = attributes(error).get("_tokenpak_bound")
    return found if type(found) is Left else None


def _within(inner: Bound, outer: Bound) -> bool:
    link: Bound | None = inner
    while link is not None:
        if link is outer:
            return True
        link = link.parent
    return False


__all__ = ["leave", "record"]
