"""The page of HTML, in a real browser: what it shows, and that it is inert."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from tests.report.browser import Browser, find_browser
from tests.report.logs import failure, report_of
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.report.page import as_page, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTILE = (
    "<script>window.hit = 1</script>",
    "</script><script>window.hit = 2</script>",
    "</style><img src=x onerror='window.hit = 3'>",
    "<!--<script>",
    '" onmouseover="window.hit = 4" x="',
    "' onfocus='window.hit = 5' autofocus x='",
    "{{ 7 * 7 }}{% raw %}${7 * 7}",
    "javascript:window.hit=6",
    "\u202egnp.exe \u2066 \u200f",
    "\x1b[31mred\x1b[0m \x07\x00\x9b",
    "&lt;b&gt; \u2028 \u2029 \\u003c/script\\u003e",
    "https://example.com/pixel.png url(https://example.com/x)",
)


def hostile_records() -> list[dict[str, Any]]:
    return [
        failure(
            1 + i,
            error_type=text,
            message=text,
            file=text.replace("\n", ""),
            provider=text,
            model=text,
            kind=text,
            duration_ms=10 * i,
        )
        for i, text in enumerate(HOSTILE)
    ]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser that is started once."""
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with Browser(path) as started:
        yield started


def written(tmp_path: Path, records: list[dict[str, Any]]) -> Path:
    page = tmp_path / "report.html"
    write_whole(str(page), as_page(report_of(tmp_path / "log", records)))
    return page


def an_ordinary_day() -> list[dict[str, Any]]:
    return [
        failure(
            i / 3,
            ("TimeoutError", "KeyError", "ValueError")[i % 3],
            f"no answer in {i} ms",
            provider=("openai", "google")[i % 2],
            duration_ms=i * 11,
            cost_estimate=0.25,
        )
        for i in range(140)
    ]


def test_nothing_of_a_message_becomes_markup(tmp_path: Path) -> None:
    """Without a browser: one script, one style, and no other element or attribute."""
    page = as_page(report_of(tmp_path, hostile_records())).decode()

    assert page.count("<script") == 2
    assert page.count("</script") == 2
    assert page.count("<style") == 1
    assert "<img" not in page
    assert not [name for name in attributes_of(page) if name.startswith("on")]
    assert "{{ 7 * 7 }}" in page
    for char in "\x1b\x00\x07\x9b\u202e\u2066\u200f\u2028\u2029":
        assert char not in page


def attributes_of(page: str) -> set[str]:
    names: set[str] = set()

    class Parser(HTMLParser):
        def handle_starttag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
            names.update(name for name, _ in attrs)

    Parser().feed(page)
    return names


def test_the_page_names_no_other_host(tmp_path: Path) -> None:
    """No address is loaded, and its policy would forbid it."""
    page = as_page(report_of(tmp_path, an_ordinary_day())).decode()

    addresses = set(re.findall(r"https?://[^\s\"'<)]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of SVG
    assert not re.search(r"\b(?:src|href)=", page)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert policy[1].startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy[1]


def test_a_browser_shows_the_chart_and_complains_of_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    """No error, no request, and as many records drawn as there are."""
    browser.show(1200, 900)
    browser.open(written(tmp_path, an_ordinary_day()))

    drawn = browser.ask("document.getElementById('chart').dataset.drawn")
    bars = browser.ask("document.querySelectorAll('#chart rect.f0').length")

    assert drawn == "72"
    assert bars > 10
    assert browser.ask("document.getElementById('chart-card').hidden") is False
    assert complaints(browser) == []


def test_what_has_no_row_of_its_own_is_drawn_too(
    browser: Browser, tmp_path: Path
) -> None:
    """More names and combinations than a page holds: all records are in the chart."""
    records = [
        failure(1 + i / 100, f"Error{i % 50}", provider=f"p{i % 23}", model=f"m{i}")
        for i in range(600)
    ]
    report = report_of(tmp_path / "log", records)
    page = tmp_path / "report.html"
    write_whole(str(page), as_page(report))
    browser.show(1200, 900)
    browser.open(page)

    assert browser.ask("document.getElementById('chart').dataset.drawn") == "600"
    assert sum(sum(cell.series) for cell in report.cells) == 600
    assert len(report.cells) == 401
    assert complaints(browser) == []


def complaints(browser: Browser) -> list[Any]:
    """Return errors, messages, and requests but for the page itself."""
    requests = [
        params["request"]["url"]
        for params in browser.told("Network.requestWillBeSent")
        if not params["request"]["url"].startswith("file:")
    ]
    return requests + browser.told(
        "Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"
    )


def test_hostile_messages_are_text_in_a_browser(
    browser: Browser, tmp_path: Path
) -> None:
    """Nothing runs, nothing is loaded; the names are there to be chosen."""
    browser.show(1200, 900)
    browser.open(written(tmp_path, hostile_records()))
    browser.ask("document.querySelectorAll('button.pick').forEach(b => b.click())")
    browser.ask(
        "document.querySelectorAll('*').forEach(e => {"
        "e.dispatchEvent(new Event('mouseover')); e.dispatchEvent(new Event('focus'))})"
    )

    assert browser.ask("window.hit === undefined") is True
    assert browser.ask("document.images.length + document.scripts.length") == 2
    names = browser.ask(
        "[...document.querySelectorAll('#filters option')].map(o => o.textContent)"
    )
    assert "</script><script>window.hit = 2</script>" in names
    assert "\\u202egnp.exe \\u2066 \\u200f" in names
    assert complaints(browser) == []


def test_what_is_chosen_is_counted(browser: Browser, tmp_path: Path) -> None:
    """By a click on a name or in a list; and all is shown again."""
    browser.show(1200, 900)
    browser.open(written(tmp_path, an_ordinary_day()))
    row = "document.querySelector('tr[data-by=provider][data-index=\"0\"]')"

    browser.ask(f"{row}.querySelector('button').click()")
    one = browser.ask("document.getElementById('chart').dataset.drawn")
    types = browser.ask(
        "[...document.querySelectorAll('tr[data-by=error_type] .now')]"
        ".map(e => Number(e.textContent)).reduce((a, b) => a + b)"
    )
    pressed = browser.ask(f"{row}.querySelector('button').ariaPressed")
    browser.ask("document.getElementById('reset').click()")
    again = browser.ask("document.getElementById('chart').dataset.drawn")

    assert (one, types, pressed, again) == ("36", 36, "true", "72")


def test_the_chart_speaks_to_keyboards_and_screen_readers(
    browser: Browser, tmp_path: Path
) -> None:
    """Arrow keys move from bar to bar, and what they show is said."""
    browser.show(1200, 900)
    browser.open(written(tmp_path, an_ordinary_day()))

    browser.ask(
        "document.getElementById('chart').dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'ArrowRight'}))"
    )

    said = browser.ask("document.getElementById('said').textContent")
    assert said.startswith("Mar 24, 00:00 to 00:30 UTC: ")
    assert browser.ask("document.getElementById('tip').hidden") is False
    unnamed = browser.ask(
        "[...document.querySelectorAll('section, select, button')].filter("
        "e => !e.getAttribute('aria-labelledby') && !e.textContent.trim()).length"
    )
    assert unnamed == 0


@pytest.mark.parametrize("records", [an_ordinary_day, hostile_records])
def test_a_phone_need_not_scroll_sideways(
    browser: Browser, tmp_path: Path, records: Any
) -> None:
    """390 pixels are enough, for long names too."""
    names: dict[str, Any] = {"provider": "p" * 200, "model": "x" * 200}
    numbers: dict[str, Any] = {"cost_estimate": 9e14, "duration_ms": 9e14}
    long = [failure(2, "E" * 200, "m" * 200, **names, **numbers)]
    browser.show(390, 844)
    browser.open(written(tmp_path, records() + long))

    assert browser.ask("document.documentElement.scrollWidth") <= 390


def test_a_long_name_leaves_the_other_columns_in_sight(
    browser: Browser, tmp_path: Path
) -> None:
    """No table of kinds is wider than the page, on a desk."""
    names: dict[str, Any] = {
        "provider": "p" * 200,
        "model": "x" * 200,
        "file": "f" * 200,
    }
    browser.show(1200, 900)
    browser.open(written(tmp_path, [failure(2, "E" * 200, "m" * 200, **names)]))

    assert browser.ask(
        "[...document.querySelectorAll('.scroll')].every("
        "e => e.scrollWidth <= e.clientWidth)"
    )


def test_large_numbers_have_room_beside_the_chart(
    browser: Browser, tmp_path: Path
) -> None:
    """They begin within the page, on a phone, too."""
    page = tmp_path / "report.html"
    report = report_of(tmp_path / "log", [failure(1)])
    many = tuple(n * 10**12 for n in report.total.series)
    cells = tuple(replace(cell, series=many) for cell in report.cells)
    total = replace(report.total, now=sum(many), series=many)
    write_whole(str(page), as_page(replace(report, total=total, cells=cells)))
    browser.show(390, 844)
    browser.open(page)

    texts = "[...document.querySelectorAll('#chart text')]"
    assert "1,000,000,000,000" in browser.ask(f"{texts}.map(e => e.textContent)")
    starts = browser.ask(f"{texts}.map(e => e.getBoundingClientRect().left)")
    assert min(starts) >= 14
    assert browser.ask("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_both_lights(
    browser: Browser, tmp_path: Path, *, dark: bool
) -> None:
    """At least 4.5 to 1 (WCAG AA), and the button changes the light."""
    browser.show(1200, 900, dark=dark)
    browser.open(written(tmp_path, an_ordinary_day()))
    ratios = """
    (() => {
      const style = getComputedStyle(document.documentElement);
      const light = (name) => {
        const hex = style.getPropertyValue(name).trim().slice(1);
        const part = (i) => {
          const c = parseInt(hex.slice(i, i + 2), 16) / 255;
          return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        };
        return 0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4);
      };
      const pairs = [["--ink", "--card"], ["--soft", "--card"], ["--soft", "--ground"],
        ["--accent", "--card"], ["--accent", "--accent-soft"],
        ["--soft", "--accent-soft"]];
      return pairs.map(([a, b]) => {
        const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
        return (x + 0.05) / (y + 0.05);
      });
    })()"""

    for _ in range(2):
        assert min(browser.ask(ratios)) >= 4.5
        browser.ask("document.getElementById('theme').click()")
    theme = browser.ask("document.documentElement.dataset.theme")
    assert theme == ("dark" if dark else "light")


def test_without_javascript_the_tables_are_there(
    browser: Browser, tmp_path: Path
) -> None:
    """And no control that would do nothing."""
    browser.show(1200, 900)
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(written(tmp_path, an_ordinary_day()))
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)

    assert browser.ask("document.querySelectorAll('tbody tr').length") > 50
    assert browser.ask(
        "['theme', 'filters', 'chart-card'].every("
        "id => document.getElementById(id).hidden)"
    )


@pytest.mark.parametrize(
    "records", [[], [failure(30)], [failure(1)], [failure(1, stack_trace="")]]
)
def test_a_page_of_next_to_nothing_is_a_page(
    browser: Browser, tmp_path: Path, records: list[dict[str, Any]]
) -> None:
    """No record, none in the window, none before."""
    browser.show(1200, 900)
    (tmp_path / "log").mkdir()
    browser.open(written(tmp_path, records))

    assert complaints(browser) == []


def test_the_file_is_for_its_owner_and_whole(tmp_path: Path) -> None:
    """Messages may hold anything; and a file of the log is never replaced."""
    page = tmp_path / "page.html"
    write_whole(str(page), b"x")

    assert page.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SettingError, match="html"):
        write_whole(str(tmp_path / "errors-2026-03-24.jsonl"), b"x")
    with pytest.raises(FileNotFoundError):
        write_whole(str(tmp_path / "missing" / "page.html"), b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
