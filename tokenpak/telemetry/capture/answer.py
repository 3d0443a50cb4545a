"""
What an SDK's exception holds of the provider's answer: attributes, looked up.

Only what is in memory is touched.  ``headers`` and ``status_code`` of a response are;
``text``, ``content`` and ``json()`` read the stream, and are not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from tokenpak.telemetry.capture.fact_table import REQUEST_ID_HEADERS

_MAX_ID: Final = 200
"""Characters of a request id that are kept."""
_MAX_DETAILS: Final = 16


Answer = tuple[int | None, str | None, float | None, list[str], str | None]
"""
Status, request id, seconds to wait, codes, message; None for what was not found.  The
codes are the provider's own names for the failure, most exact first.  (A NamedTuple
would be a third of what importing all this costs.)
"""


def answer_of(error: object, family: str) -> Answer:
    """Return what *error*, of *family*, holds; may raise what its attributes raise."""
    if family == "botocore":
        return _of_botocore(error)
    # Not `if response`: a requests.Response with a 4xx is false.
    response = getattr(error, "response", None)
    headers = getattr(response, "headers", None)
    status = getattr(error, "status_code", None)
    if status is None:
        status = getattr(response, "status_code", None)
    codes: Iterable[object] = ()
    message = wait = None
    if family == "openai":
        codes = (getattr(error, "code", None), getattr(error, "type", None))
        message = getattr(error, "message", None)
    elif family == "anthropic":
        inner = _at(getattr(error, "body", None), "error")
        codes = (_at(_at(inner, "details"), "error_code"), _at(inner, "type"))
        message = _at(inner, "message")
    elif family == "google":
        status = status if status is not None else getattr(error, "code", None)
        details = list(islice(_details(error), _MAX_DETAILS))
        reasons = [_either(one, "reason") for one in details]
        codes = (*reasons, getattr(error, "status", None))
        message = getattr(error, "message", None)
        wait = next(filter(None, map(_delay, details)), None)
    return (
        _status(status),
        _text(getattr(error, "request_id", None)) or _request_id(headers),
        wait if wait is not None else _retry_after(headers),
        [code for code in codes if isinstance(code, str)],
        message if isinstance(message, str) else None,
    )


def _of_botocore(error: object) -> Answer:
    response = getattr(error, "response", None)
    inner, about = _at(response, "Error"), _at(response, "ResponseMetadata")
    code, message = _at(inner, "Code"), _at(inner, "Message")
    headers = _at(about, "HTTPHeaders")
    return (
        _status(_at(about, "HTTPStatusCode")),
        _text(_at(about, "RequestId")) or _request_id(headers),
        _retry_after(headers),
        [code] if isinstance(code, str) else [],
        message if isinstance(message, str) else None,
    )


def _at(value: object, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _status(value: object) -> int | None:
    # http.HTTPStatus is an int, too.
    if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 999:
        return int(value)
    return None


def _text(value: object) -> str | None:
    return value[:_MAX_ID] if isinstance(value, str) and value else None


def _header(headers: object, name: str) -> str | None:
    get = getattr(headers, "get", None)
    return _text(get(name)) if get is not None else None


def _request_id(headers: object) -> str | None:
    if headers is None:
        return None
    return next(filter(None, (_header(headers, n) for n in REQUEST_ID_HEADERS)), None)


def _retry_after(headers: object) -> float | None:
    if headers is None:
        return None
    text = _header(headers, "retry-after-ms")
    if text is not None and (seconds := _seconds(text)) is not None:
        return round(seconds / 1000, 3)
    text = _header(headers, "retry-after")
    if text is None:
        return None
    seconds = _seconds(text)
    return seconds if seconds is not None else _until(text)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _until(date: str) -> float | None:
    """Return the seconds until an HTTP date; 0 if it is past."""
    # Whoever speaks HTTP has it loaded; at import time it would cost milliseconds.
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    try:
        moment = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, round(moment - time.time(), 3))


def _details(error: object) -> Iterator[object]:
    """Yield what Google says besides code and message: dicts, or protobuf messages."""
    details = getattr(error, "details", None)  # google.api_core: a list of messages
    if isinstance(details, dict):  # google.genai: the body
        details = _at(_at(details, "error") or details, "details")
    if isinstance(details, list | tuple):
        yield from details


def _either(detail: object, name: str) -> object:
    return detail.get(name) if isinstance(detail, dict) else getattr(detail, name, None)


def _delay(detail: object) -> float | None:
    """Return the seconds of a RetryInfo: a text such as "34.5s", or a Duration."""
    if isinstance(detail, dict):
        text = detail.get("retryDelay")
        return _seconds(text.removesuffix("s")) if isinstance(text, str) else None
    delay = getattr(detail, "retry_delay", None)
    seconds, nanos = getattr(delay, "seconds", None), getattr(delay, "nanos", 0)
    if isinstance(seconds, int) and isinstance(nanos, int) and seconds >= 0:
        return round(seconds + nanos / 1e9, 3)
    return None


__all__ = ["Answer", "answer_of"]
