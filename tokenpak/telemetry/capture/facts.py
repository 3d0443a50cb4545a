"""
What an exception itself knows of a failed call, as context.

For the exceptions of openai, anthropic, httpx, requests, botocore and google, and what
derives from them; told by the names of classes, so none of them is imported:

    status_code           int    the HTTP status of the answer
    provider_request_id   str    the provider's own id of the request
    retry_after           float  seconds to wait, as the provider asks
    kind                  str    one word for what went wrong: see ``fact_table.KINDS``

Promises
    C1  describe() raises nothing that reading these attributes can raise.
    Nothing is fetched: no body and no stream is read, only what is there already.
    Nothing else is taken over from the exception: no header, URL, key or text.

The facts of an exception are also those of the ones that it was raised from
(``__cause__``), up to 8 links deep: an application's own error knows what the SDK's
below it knows.  What is nearer to the top counts.  ``__context__`` is not looked at: a
failure *while* another one was handled is another failure.
"""

from __future__ import annotations

from typing import Any, Final

from tokenpak.telemetry.capture.answer import answer_of
from tokenpak.telemetry.capture.fact_table import (
    CLASSES,
    CODES,
    CUT_PHRASE,
    FAMILIES,
    PHRASES,
    STATUSES,
)

KEYS: Final = ("status_code", "provider_request_id", "retry_after", "kind")
MAX_LINKS: Final = 8
_MAX_TEXT: Final = 1_000
"""Characters of a message that are searched."""
_MAX_CLASSES: Final = 512

_known: dict[type, tuple[str, str | None] | None] = {}
"""Family and kind by class, or None; any thread, in single steps."""


def describe(error: BaseException) -> dict[str, Any]:
    """
    Return what *error* and its causes know, under those of KEYS that are known.

    >>> describe(ValueError("not of these families"))
    {}
    """
    found: dict[str, Any] = {}
    link: BaseException | None = error
    try:
        for _ in range(MAX_LINKS):
            family = _family(type(link))
            if family is not None:
                _add(found, link, *family)
            link = link.__cause__  # type: ignore[union-attr]
            if link is None:
                break
    except Exception:  # noqa: S110  an attribute of theirs; what was found is kept
        pass
    return found


def knows(cls: type) -> bool:
    """Return whether exceptions of *cls* may know something."""
    return _family(cls) is not None


def with_facts(error: BaseException, context: object) -> object:
    """Return *context* with what describe() finds; what it holds already wins."""
    if context is not None and type(context) is not dict:
        return context  # the careful encoder makes a dict of it first
    facts = describe(error)
    if not facts:
        return context
    if not context:
        return facts
    return {**context, **{k: v for k, v in facts.items() if k not in context}}


def _family(cls: type) -> tuple[str, str | None] | None:
    """Return family and kind, as far as the class alone decides."""
    try:
        return _known[cls]
    except KeyError:
        family = _look_at(cls)
    # A metaclass may call two classes equal.
    if type(cls).__eq__ is type.__eq__:
        if len(_known) >= _MAX_CLASSES:  # classes made at run time
            _known.clear()
        _known[cls] = family
    return family


def _look_at(cls: type) -> tuple[str, str | None] | None:
    family = kind = None
    try:
        for base in cls.__mro__:
            module: object = base.__module__
            of = FAMILIES.get(module.partition(".")[0] if type(module) is str else "")
            if of is not None:
                family = family or of
                kind = kind or CLASSES[of].get(base.__name__)
    except Exception:  # a metaclass with its own ideas of these
        return None
    return None if family is None else (family, kind)


def _add(
    found: dict[str, Any], link: BaseException | None, family: str, kind: str | None
) -> None:
    status, request_id, retry_after, codes, message = answer_of(link, family)
    if status is not None:
        found.setdefault("status_code", status)
    if request_id is not None:
        found.setdefault("provider_request_id", request_id)
    if retry_after is not None:
        found.setdefault("retry_after", retry_after)
    of_codes = _of_codes(codes)
    if of_codes == "server_error":
        of_codes = STATUSES.get(status or 0, of_codes)  # 503 says more
    kind = (
        of_codes
        or (_connection(family, link) if kind == "connection" else kind)
        or _of_status(status or 0, message)
    )
    if kind is not None and found.get("kind", "connection") == "connection":
        # "The connection failed", says the SDK; what it was raised from says how.
        found["kind"] = kind


def _of_codes(codes: list[str]) -> str | None:
    for code in codes:
        name = code[:100].lower()
        kind = CODES.get(name) or CODES.get(name.removesuffix("exception"))
        if kind is not None:
            return kind
    return None


def _of_status(status: int, message: str | None) -> str | None:
    """Return the kind by *status* (0: none), and by the text where that is vague."""
    kind = STATUSES.get(status)
    if kind is None and 400 <= status < 600:
        kind = "bad_request" if status < 500 else "server_error"
    if message and status < 500 and kind in {None, "bad_request"}:
        text = message[:_MAX_TEXT].lower()
        for phrase, of_phrase in PHRASES:
            if phrase in text:
                return of_phrase
    return kind


def _connection(family: str, link: BaseException | None) -> str:
    """Return how a connection failed, where only the text or the cause tells."""
    if family == "httpx" and CUT_PHRASE in str(link):
        return "stream_cut"
    args = link.args if link is not None else ()
    if family == "requests" and args and type(args[0]).__name__ == "ReadTimeoutError":
        return "timeout"  # while the answer is read, requests has one class for both
    return "connection"


__all__ = ["KEYS", "MAX_LINKS", "describe", "knows", "with_facts"]
