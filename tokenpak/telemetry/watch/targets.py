"""
Whom alerts are told: a webhook, a command, or whoever reads the output.

What an error says never meets a shell: a command is started as it was written, and what
there is to tell comes in its environment and, as JSON, on its standard input.  An
address may hold a secret (Slack's does), so what is said of a target names its host.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import orjson

from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.watch.alerts import Alert
from tokenpak.telemetry.watch.forms import (
    Form,
    alertmanager_form,
    slack_form,
    webhook_form,
)

TIMEOUT: Final = 10.0
"""Seconds that a webhook may take for each step of its answer."""
LONGEST: Final = 60.0
"""Seconds that it may take altogether: also one that answers byte by byte, or whose
name is not found, must not keep others from being told."""
COMMAND_TIMEOUT: Final = 60.0
ENDING: Final = 5.0
"""Seconds that either may still take when somebody wants the watch to end."""
_STEP: Final = 0.2
"""Seconds after which it is looked whether somebody does."""
_ALERTS_PATH: Final = "/api/v2/alerts"


class NotToldError(Exception):
    """A target could not be told; the text says why, without its address."""


def _never() -> bool:
    return False


class Target(Protocol):
    """Somebody to tell."""

    @property
    def name(self) -> str:
        """How it is called in messages."""

    @property
    def identity(self) -> str:
        """What it is known by in the state: nobody can tell the address from it."""

    @property
    def batch(self) -> int:
        """How many alerts it takes at once."""

    @property
    def repeat(self) -> float:
        """Seconds after which it must be told again what still fires; 0: never."""

    def tell(
        self, alerts: Sequence[Alert], now: float, stop: Callable[[], bool] = _never
    ) -> None:
        """
        Tell *alerts*.

        Args:
            alerts: at most *batch*.
            now: seconds since the epoch.
            stop: whether somebody wants the watch to end, soon.

        Raises:
            NotToldError: to be tried again.

        """


class Webhook:
    """
    An address that takes JSON.

    Args:
        kind: what it is, for messages.
        address: ``http://`` or ``https://``; user and password in it are sent as basic
            authentication.
        form: of the body.
        repeat: see Target.

    Raises:
        SettingError: that is no such address.

    """

    batch = 100

    def __init__(
        self, kind: str, address: str, form: Form, repeat: float = 0.0
    ) -> None:
        parts = _checked(kind, address)
        self._address = urlunsplit(
            (parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, "")
        )
        self._form = form
        self._headers = {"Content-Type": "application/json"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            token = base64.b64encode(pair.encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"
        self.name = f"{kind} ({parts.hostname})"
        self.identity = _digest(f"{kind} {address}")
        self.repeat = repeat
        self._thread: threading.Thread | None = None

    def tell(
        self, alerts: Sequence[Alert], now: float, stop: Callable[[], bool] = _never
    ) -> None:
        """Send a POST; everything but a 2xx is a failure."""
        if not self.ended(0):
            # There is one that waits, that is enough.
            raise NotToldError(_no_end(LONGEST))
        body = orjson.dumps(self._form(alerts, now))
        failures: list[BaseException] = []

        def send() -> None:
            try:
                self._send(body)
            except BaseException as e:  # raised again below
                failures.append(e)

        # Nothing else ends a look-up of a name, or an answer that comes in drops.
        # (One that arrives after all is told twice, as after a death.)
        thread = threading.Thread(target=send, name="tokenpak-tell", daemon=True)
        try:
            thread.start()
        except RuntimeError as e:  # no thread is to be had
            raise NotToldError(str(e)) from None
        self._thread = thread
        _wait_for(self.ended, LONGEST, stop)
        if failures:
            raise failures[0]

    def ended(self, seconds: float) -> bool:
        """Wait up to *seconds* for the last attempt; return whether it has ended."""
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                return False
            self._thread = None
        return True

    def _send(self, body: bytes) -> None:
        # Imported here: they take longer than all else, and not everybody needs them.
        from http.client import HTTPException  # noqa: PLC0415
        from urllib.error import HTTPError  # noqa: PLC0415
        from urllib.request import (  # noqa: PLC0415
            HTTPRedirectHandler,
            Request,
            build_opener,
        )

        class Stay(HTTPRedirectHandler):
            """A POST that is led elsewhere becomes a GET, and tells nobody."""

            def redirect_request(self, *_arguments: Any) -> None:
                return None

        request = Request(self._address, body, self._headers)  # noqa: S310  (checked)
        try:
            with build_opener(Stay).open(request, timeout=TIMEOUT):
                pass
        except HTTPError as e:
            e.close()
            raise NotToldError(f"it answered {e.code}") from None
        except OSError as e:
            reason = getattr(e, "reason", None)
            text = getattr(reason, "strerror", None) or e.strerror or reason or e
            raise NotToldError(str(text)) from None
        except HTTPException as e:
            raise NotToldError(f"its answer is no HTTP ({type(e).__name__})") from None
        except ValueError as e:  # UnicodeError: the name of a host that can be none
            what = f"it, or its proxy, has no usable address ({type(e).__name__})"
            raise NotToldError(what) from None


def alertmanager(address: str, repeat: float = 60.0) -> Webhook:
    """Return Alertmanager at *address*, its root or that of its API."""
    parts = _checked("alertmanager", address)
    if not parts.path.endswith(_ALERTS_PATH):
        path = parts.path.rstrip("/") + _ALERTS_PATH
        address = urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
    return Webhook("alertmanager", address, alertmanager_form, repeat)


def slack(address: str) -> Webhook:
    """Return an incoming webhook of Slack, or of what takes the same."""
    return Webhook("slack", address, slack_form)


def webhook(address: str) -> Webhook:
    """Return somebody who takes what Alertmanager sends to webhooks."""
    return Webhook("webhook", address, webhook_form)


class Command:
    """
    A program that is started for each alert.

    Args:
        line: the program and its arguments, quoted as for a shell; none is started.
        timeout: seconds, after which it is killed.

    Raises:
        SettingError: the quotes don't match, or there is nothing.

    """

    batch = 1
    repeat = 0.0

    def __init__(self, line: str, timeout: float = COMMAND_TIMEOUT) -> None:
        try:
            self._arguments = shlex.split(line)
        except ValueError:
            self._arguments = []
        if not self._arguments:
            raise SettingError("command", line, "a program and its arguments")
        self._timeout = timeout
        self.name = f"command ({os.path.basename(self._arguments[0])})"
        self.identity = _digest(f"command {line}")

    def tell(
        self, alerts: Sequence[Alert], now: float, stop: Callable[[], bool] = _never
    ) -> None:
        """Run it once for each of *alerts*."""
        for alert in alerts:
            self._run(alert, orjson.dumps(webhook_form([alert], now)), stop)

    def _run(self, alert: Alert, body: bytes, stop: Callable[[], bool]) -> None:
        # Not the addresses of others, which may hold secrets.
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("TOKENPAK_WATCH_")
        }
        told = {
            "TOKENPAK_ALERT_STATUS": alert.status,
            "TOKENPAK_ALERT_NAME": alert.name,
            "TOKENPAK_ALERT_SEVERITY": alert.severity,
            "TOKENPAK_ALERT_ERROR_TYPE": alert.error_type,
            "TOKENPAK_ALERT_SUMMARY": alert.summary,
            "TOKENPAK_ALERT_EXAMPLE": alert.example,
        }
        try:
            child = subprocess.Popen(  # noqa: S603  (no shell; the operator's words)
                self._arguments,
                env={**inherited, **_encoded(told)},
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as e:
            raise NotToldError(getattr(e, "strerror", None) or str(e)) from None
        # communicate() cannot be left and gone on with, in the middle of its input.
        thread = threading.Thread(
            target=child.communicate, args=(body,), name="tokenpak-tell", daemon=True
        )

        def ended(seconds: float) -> bool:
            thread.join(seconds)
            return not thread.is_alive()

        try:
            thread.start()
            _wait_for(ended, self._timeout, stop)
        except RuntimeError as e:  # no thread is to be had
            if child.stdin is not None:
                child.stdin.close()
            raise NotToldError(str(e)) from None
        finally:
            if child.poll() is None:
                _kill(child)
        if child.returncode:
            raise NotToldError(f"exit status {child.returncode}")


def _wait_for(
    ended: Callable[[float], bool], longest: float, stop: Callable[[], bool]
) -> None:
    """
    Wait until it has ended; if *stop*, not for long.

    Args:
        ended: waits up to so many seconds, and returns whether it has.
        longest: seconds.
        stop: see Target.

    Raises:
        NotToldError: it has not.

    """
    deadline = time.monotonic() + longest
    stopped = False
    while not ended(max(0.0, min(_STEP, deadline - time.monotonic()))):
        now = time.monotonic()
        if not stopped and stop():
            stopped, deadline = True, min(deadline, now + ENDING)
        if now >= deadline:
            raise NotToldError(
                "the watch was to end meanwhile" if stopped else _no_end(longest)
            )


def _no_end(seconds: float) -> str:
    return f"no end after {seconds:g} seconds"


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill *child*, with all that it has started."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    except OSError:
        pass  # it has ended this moment
    child.wait()


def _encoded(told: dict[str, str]) -> dict[Any, Any]:
    """Return *told* as UTF-8, also where the locale is of another encoding."""
    if os.name == "nt":
        return told
    return {name: value.encode() for name, value in told.items()}


def _checked(kind: str, address: str) -> SplitResult:
    """Return the parts of *address*, or say that it is none."""
    expected = "an address like https://host/path"
    try:
        parts = urlsplit(address)
        _ = parts.port
        # As the socket will do it; UnicodeError is a ValueError.
        (parts.hostname or "").encode("idna")
    except ValueError:
        raise SettingError(kind, "that address", expected) from None
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or not address.isascii()
        or not address.isprintable()
        or " " in address
    ):
        raise SettingError(kind, "that address", expected)
    return parts


def _digest(text: str) -> str:
    data = text.encode(errors="surrogatepass")
    return hashlib.blake2b(data, digest_size=8).hexdigest()


__all__ = [
    "COMMAND_TIMEOUT",
    "ENDING",
    "TIMEOUT",
    "Command",
    "NotToldError",
    "Target",
    "Webhook",
    "alertmanager",
    "slack",
    "webhook",
]
