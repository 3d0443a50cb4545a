"""The pages do what they show: their blocks are run, their links followed."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from .pages import (
    DOCS,
    PAGES,
    ROOT,
    anchors_of,
    blocks_of,
    links_of,
    name_of,
)
from .running import RUNS, SHOWS, Reader, normalise

LINKING = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
RUNNING = [
    page
    for page in PAGES
    if any(
        block.language in RUNS and not {"not run", "signature"} & set(block.marks)
        for block in blocks_of(page)
    )
]


@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    """The commands and programs of a page print what it shows below them."""
    reader = Reader(tmp_path / "home")
    for block in blocks_of(page):
        if not {"not run", "signature", "example"} & set(block.marks) and (
            block.language in RUNS or {"file", "output"} & set(block.marks)
        ):
            reader.follow(block)

    reader.tell_unshown("the end of the page")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_block_is_run_or_says_why_not(page: Path) -> None:
    """A block is in a language that is known, and "not run" has a reason."""
    for block in blocks_of(page):
        assert block.language in RUNS | SHOWS, f"{block}: {block.language!r}"
        assert block.marks.get("not run") != "", f"{block}: say why it is not run"
        if block.language == "json":
            json.loads(block.text)
        if block.language == "toml":
            tomllib.loads(block.text)


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """The file that a link names is there, and so is the heading."""
    broken = []
    for line, target in links_of(page):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(f"{name_of(page)}:{line}: {target}")

    assert broken == []


def test_each_page_can_be_reached_from_the_index() -> None:
    """Whoever starts at the index finds all pages."""
    found = {DOCS / "index.md"}
    left = list(found)
    while left:
        page = left.pop()
        for _, target in links_of(page):
            file = (page.parent / target.partition("#")[0]).resolve()
            if file.suffix == ".md" and file not in found and file.exists():
                found.add(file)
                left.append(file)

    assert set(PAGES) - found == set()


def test_only_what_differs_between_runs_is_left_out_of_the_comparison() -> None:
    """Times, days and markers are made alike; all else is compared as it is."""
    shown = "2026-03-24T17:35:22.123456Z /home/you/errors-2026-03-24.jsonl 12\n"
    printed = "2027-01-01T00:00:00.000000Z /tmp/x/errors-2027-01-01.jsonl 12\n"

    assert normalise(shown) == normalise(printed, "/tmp/x")
    assert normalise(shown) != normalise(printed.replace("12", "13"), "/tmp/x")
    assert normalise(r"f()\n    ~^^\nE") == normalise(r"f()\nE")
