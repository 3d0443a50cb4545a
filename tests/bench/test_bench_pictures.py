"""Pictures are well-formed, complete, and drawn for light and for dark pages."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest

from bench.fit import exponent
from bench.pictures import draw, pictures_of, show_count, show_seconds

BURST = {
    "tokenpak": [{"median": 3_500.0}, {"median": 3_400.0}, {"median": 4_000.0}],
    "loguru": [{"median": 40_000.0}, {"median": 41_000.0}, {"median": 45_000.0}],
    "deque": [{"median": 0.0}],
}
SCALING = {
    "records": [{"exponent": 1.0, "at_1000": 0.01, "at_64000": 0.6}],
    "days": [{"exponent": 0.0, "at_1": 0.01, "at_1000": 0.01}],
}
SVG = "{http://www.w3.org/2000/svg}"


def test_a_picture_shows_each_logger_with_its_value() -> None:
    """
    Fastest first, ours among them, units written out, also for what takes no time.
    """
    drawn = draw({"caller_burst": BURST})["caller-burst"]
    root = ET.fromstring(drawn["light"])
    texts = [element.text for element in root.iter(f"{SVG}text")]
    names = [text for text in texts if text in BURST]

    assert set(drawn) == {"light", "dark"}
    assert drawn["light"] != drawn["dark"]
    assert names == ["deque", "tokenpak", "loguru"]
    assert "3.5 µs" in texts
    assert "41 µs" in texts
    assert len(list(root.iter(f"{SVG}circle"))) == len(BURST)


def test_growth_is_shown_with_its_exponent() -> None:
    """
    A panel for each thing that was varied, a point for each of its values.
    """
    drawn = draw({"scaling": SCALING})["scaling"]
    root = ET.fromstring(drawn["dark"])
    texts = [element.text or "" for element in root.iter(f"{SVG}text")]

    assert any(text.startswith("records: exponent 0.98") for text in texts)
    assert any(text.startswith("days: exponent 0.00") for text in texts)
    assert len(list(root.iter(f"{SVG}circle"))) == 4


def test_no_picture_is_drawn_of_what_was_not_measured() -> None:
    """
    No results, no pictures; a logger that is missing is left out.
    """
    assert draw({}) == {}
    assert draw({"caller_burst": {}}) == {}
    assert pictures_of("caller_burst") == [("caller-burst", "One call, at full speed")]
    assert pictures_of("kill") == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-9, "1 ns"), (3.456e-6, "3.46 µs"), (0.25, "250 ms"), (12.0, "12 s")],
)
def test_a_time_has_the_unit_that_suits_it(value: float, text: str) -> None:
    """
    Three digits that count.
    """
    assert show_seconds(value) == text


def test_a_count_is_short() -> None:
    """
    Thousands and millions by a letter.
    """
    assert [show_count(n) for n in (45.0, 1_560.0, 112_000.0, 2e6)] == [
        "45",
        "1.56k",
        "112k",
        "2M",
    ]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_is_found(power: float) -> None:
    """
    Exactly, where the points lie on one; and nothing is fitted to nothing.
    """
    xs = [1.0, 3.0, 10.0, 50.0]

    assert math.isclose(exponent(xs, [7 * x**power for x in xs]), power, abs_tol=1e-12)
    with pytest.raises(ValueError, match="no exponent"):
        exponent([1.0], [1.0])
    with pytest.raises(ValueError, match="no exponent"):
        exponent([1.0, 2.0], [1.0, 0.0])
