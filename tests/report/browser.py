"""
A real browser, headless, spoken to through two pipes (the Chrome DevTools Protocol).

No library and no port: Chromium reads commands from descriptor 3 and answers at 4, as
JSON with a NUL behind each.  https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 240
"""After which an answer is given up; far more than any takes, on a busy machine too."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser() -> str | None:
    """Return the path of a browser, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page in one browser.  Use in a ``with``."""

    def __init__(self, path: str) -> None:
        self._profile = tempfile.mkdtemp(prefix="browser-")
        here, theirs = os.pipe(), os.pipe()
        self._out, self._in = here[1], theirs[0]
        # In the child they must be 3 and 4: a shell moves them there.
        script = f'exec "$0" "$@" 3<&{here[0]} 4>&{theirs[1]}'
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
            "--force-color-profile=srgb",
            "--remote-debugging-pipe",
            f"--user-data-dir={self._profile}",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            ["bash", "-c", script, path, *flags],
            pass_fds=(here[0], theirs[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(here[0])
        os.close(theirs[1])
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        """What was told, in order."""

    def __enter__(self) -> Self:
        page = self._first_page()
        answer = self.send("Target.attachToTarget", targetId=page, flatten=True)
        self._session = answer["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        return self

    def _first_page(self) -> str:
        """Return the page that it begins with; it answers before it has one."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for target in self.send("Target.getTargets")["targetInfos"]:
                if target["type"] == "page":
                    return str(target["targetId"])
            time.sleep(0.05)
        raise TimeoutError("the browser has no page")

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._profile, ignore_errors=True)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command; return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method}
        message["params"] = params
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            answer = self._read(deadline)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)
        raise TimeoutError(method)

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._in, 1 << 20)
            if not data:
                raise RuntimeError("the browser has ended")
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def show(
        self, width: int, height: int, *, dark: bool = False, scale: int = 1
    ) -> None:
        """Be so large, and light or dark."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        self.send(
            "Emulation.setEmulatedMedia",
            features=[
                {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            ],
        )

    def open(self, page: Path) -> None:
        """Load a file, and wait until it is there."""
        self.events.clear()
        url = page.resolve().as_uri()
        self.send("Page.navigate", url=url)
        # An event could be that of the page before, which took its time.
        there = f"document.readyState === 'complete' && location.href === {url!r}"
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            # Asked in between two pages, there is nobody to answer.
            with contextlib.suppress(RuntimeError):
                if self.ask(there):
                    return
            time.sleep(0.02)
        raise TimeoutError(url)

    def ask(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def picture(self, *, whole: bool = False) -> bytes:
        """Return what is seen, as PNG; *whole*: all of the page."""
        params: dict[str, Any] = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            params["clip"] = {**size, "scale": 1}
        return base64.b64decode(self.send("Page.captureScreenshot", **params)["data"])

    def told(self, *methods: str) -> list[dict[str, Any]]:
        """Return the parameters of the events of these kinds."""
        return [e["params"] for e in self.events if e.get("method") in methods]


__all__ = ["Browser", "find_browser"]
