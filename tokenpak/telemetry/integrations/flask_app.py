"""
Flask: every exception that no handler of the application took is recorded.

    app = Flask(__name__)
    init_app(app)

Flask answers such an exception with a 500 and lets nothing out, so the middleware for
WSGI alone would see only what fails while an answer is being sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.integrations._request import REQUEST_KEY
from tokenpak.telemetry.integrations.wsgi import TelemetryMiddleware

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask, logger: ErrorLogger | None = None) -> None:
    """
    Put the middleware around *app*, and listen to its unhandled exceptions.

    Args:
        app: the application; once only.
        logger: default: that of the process.

    """
    from flask import got_request_exception, request, request_started  # noqa: PLC0415

    def started(_sender: object, **_more: Any) -> None:
        known, rule = request.environ.get(REQUEST_KEY), request.url_rule
        if known is not None and rule is not None:
            known.route = rule.rule

    def unhandled(_sender: object, exception: Exception, **_more: Any) -> None:
        known = request.environ.get(REQUEST_KEY)
        if known is not None:
            known.record(exception)

    request_started.connect(started, app, weak=False)
    got_request_exception.connect(unhandled, app, weak=False)
    app.wsgi_app = TelemetryMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, logger
    )


__all__ = ["init_app"]
