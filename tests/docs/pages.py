"""
The pages of the documentation as data: fenced blocks, headings, links, tables.

A block is marked by HTML comments right above its fence, which no reader sees:

    <!-- not run: needs gunicorn -->   why nobody runs it
    <!-- file: app.py -->              its text is that file
    <!-- output -->                    what the block before it prints
    <!-- signature -->                 of the name in the heading above it
    <!-- example: errors -->           lines as they are in a log file
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

_MARK = re.compile(r"<!-- (?P<name>[a-z ]+?)(?:: (?P<value>.*?))? -->")
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"`[^`]*`")


class Block(NamedTuple):
    """A fenced block."""

    page: Path
    line: int
    """Of its opening fence, from 1."""
    language: str
    text: str
    marks: dict[str, str]
    heading: str
    """The nearest heading above it, without backquotes."""

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """Return the path of *page* inside the project."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of *page*, in order."""
    blocks: list[Block] = []
    marks: dict[str, str] = {}
    heading = ""
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
    for number, line in lines:
        if line.startswith("```"):
            text = ""
            for _, inside in lines:
                if inside == "```":
                    break
                text += inside + "\n"
            else:
                raise AssertionError(f"{name_of(page)}:{number}: never closed")
            blocks.append(Block(page, number, line[3:], text, marks, heading))
            marks = {}
        elif mark := _MARK.fullmatch(line):
            marks = {**marks, mark["name"]: mark["value"] or ""}
        else:
            marks = {}
            if line.startswith("#"):
                heading = _heading(line)
    return blocks


def _heading(line: str) -> str:
    return line.lstrip("#").strip().replace("`", "")


def _prose(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines outside of fenced blocks, with their numbers."""
    fenced = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


def links_of(page: Path) -> list[tuple[int, str]]:
    """Return the links of *page*: line number and target."""
    return [
        (number, link["target"])
        for number, line in _prose(page)
        for link in _LINK.finditer(_CODE.sub("", line))
    ]


def anchors_of(page: Path) -> set[str]:
    """Return what can follow ``#`` in a link to *page*."""
    anchors = set()
    for _, line in _prose(page):
        if line.startswith("#"):
            text = re.sub(r"[^\w\- ]", "", _heading(line).lower())
            anchors.add(text.replace(" ", "-"))
    return anchors


def sections_of(page: Path) -> dict[str, str]:
    """Return the text below each heading of *page*."""
    sections: dict[str, str] = {}
    heading = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = _heading(line)
            assert heading not in sections, f"{name_of(page)}: {heading} comes twice"
            sections[heading] = ""
        elif heading:
            sections[heading] += line + "\n"
    return sections


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of each table row in *text*, but for the heads of tables."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            continue
        if set(line) <= set("|-: "):
            rows.pop()  # what is above this line is the table's head
            continue
        cells = re.split(r"(?<!\\)\|", line.strip("|"))
        rows.append([cell.strip().replace("\\|", "|") for cell in cells])
    return rows


__all__ = [
    "DOCS",
    "PAGES",
    "ROOT",
    "Block",
    "anchors_of",
    "blocks_of",
    "links_of",
    "name_of",
    "rows_of",
    "sections_of",
]
