"""
Make the pictures of the report in the tutorial: its program, its command, a browser.

    python docs/pictures.py

The same log each time, so the same pictures, but for the fonts of the machine.  The log
directory is shown as the page calls it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.docs.pages import blocks_of  # noqa: E402
from tests.report.browser import Browser, find_browser  # noqa: E402
from tokenpak.telemetry.read import Query  # noqa: E402
from tokenpak.telemetry.report import make_report  # noqa: E402
from tokenpak.telemetry.report.page import as_page  # noqa: E402

PAGE = ROOT / "docs" / "tutorial-report.md"
PICTURES = ROOT / "docs" / "pictures"
DAY = date(2026, 3, 24)
WIDTH, HEIGHT = 1120, 1060
"""Of what is shown: the head, the chart, and what is new."""


def make_page(home: Path) -> Path:
    """Follow the tutorial in *home*; return the page."""
    (program,) = [b.text for b in blocks_of(PAGE) if b.marks.get("file")]
    log_dir = home / ".tokenpak" / "logs"
    (home / "app").mkdir()
    (home / "app" / "night.py").write_text(program)
    subprocess.run(
        [sys.executable, "app/night.py"],
        cwd=home,
        env={**os.environ, "HOME": str(home)},
        check=True,
        timeout=240,
    )
    report = make_report(log_dir, Query(since=DAY, until=DAY))
    page = home / "night.html"
    page.write_bytes(as_page(report).replace(os.fsencode(home), b"/home/you"))
    return page


def main() -> int:
    """Write the pictures; return the exit status."""
    path = find_browser()
    if path is None:
        print("There is no browser: apt-get install chromium", file=sys.stderr)
        return 1
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, Browser(path) as browser:
        page = make_page(Path(home))
        for name, dark in (("light", False), ("dark", True)):
            browser.show(WIDTH, HEIGHT, dark=dark)
            browser.open(page)
            picture = PICTURES / f"report-{name}.png"
            picture.write_bytes(browser.picture())
            print(f"{picture} is written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
