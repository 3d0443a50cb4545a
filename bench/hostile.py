"""
Texts that were made to keep redaction busy, and a search for worse ones.

    python -m bench.hostile [--seconds 60] [--seed 1]

The search begins with mixtures of what the rules look for, and changes those that take
longest: it prints the slowest, in microseconds of processor time.  What it has found is
in FOUND, so that the benchmark shows the worst that is known.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from typing import Final

from tokenpak.telemetry.capture.privacy.names import NAMES
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.privacy.tokens import TOKENS

HOSTILE_BYTES: Final = 33_000

UNITS: Final = (
    *("a", "sk-", "eyJ", "AKIA", "ghp_", "hf_", "SG.", "sess-", ":AA", "://a:", "://"),
    *(":", "=", "@", "a@a.", "a.", "key=", "token: ", "password=a ", "password", "key"),
    *("bearer ", "basic ", "cookie:", 'auth"', "pass\\", "\\", "-----BEGIN ", "%20sk-"),
    *("-----BEGIN PRIVATE KEY-----", "0123456789abcdef", "\0", "The fox said: 12 ms. "),
    *("--", "-- ", "--token ", "--a-"),
)
"""Each is a hostile text, many thousand times."""
_MORE: Final = (
    *("api_key", "api_key=", "--password x ", "token", "secret:", "jwt=a1b2c3d4 "),
    *("credentials=abcdef12 ", "cookie: a\n", '("password","x"),', 'password="x" '),
    *("Bearer abcdefgh ", "bearer abcdEFGH12345678 ", "Basic YTpi ", "://a:b@h ", "@"),
    *("[redacted:password=", "token=[MASK] ", "token: 5, ", "&sig=a", "sessionid=1 "),
    *("sk-" + "a1B2" * 12 + " ", "eyJ" + "g" * 20 + ".", "ghp_" + "a1B2" * 10 + " "),
    *("AKIA" + "ABCD2345" * 2 + " ", "hf_", "k_live_", "whsec_", "Q~", "PRIVATE KEY"),
    *(
        "a" * 16 + " ",
        "a" * 70,
        " " * 70,
        "\n",
        " ",
        '"',
        "', ",
        '",',
        "\u00e9",
        "\u9375=",
    ),
    *("%3d", "%20", "\\n", "-", "_", ".", "J", "x", "1", "K", "S"),
)
_STARTS: Final = tuple(
    dict.fromkeys(
        [start for rule in TOKENS for start in rule.starts]
        + [name.word for name in NAMES]
    )
)
PARTS: Final = (*UNITS, *_MORE, *_STARTS)
"""What mixtures are made of."""


def _places(found: str) -> tuple[int, ...]:
    """Return the places in PARTS that *found* tells: ``5 68*3`` is 5 68 68 68."""
    pairs = (each.partition("*") for each in found.split())
    return tuple(int(at) for at, _, n in pairs for _ in range(int(n or 1)))


_LENGTHS: Final = (1, 2, 3, 6, 12, 60, 3_000)
_TIMES: Final = (1, 1, 1, 2, 4, 8, 30, 100, 380)
FOUND: Final = tuple(
    _places(places)
    for places in (
        (
            "33 77 6 53 72 144 57 14 65 125 144 52 132 77 87 53 130 23 133 160 22 "
            "139 127 37 45 50 18 5 84 14 5 84 14 147 38 147 38 83 3 78 9 56 84 145 "
            "20 49 61 40 12 108 143 150 155 128 89 23 120 8 116 46 59 162 139 70 43"
        ),
        (
            "33 77 6 53 72 144 57 14 65 125 144 52 132 77 87 53 130 23 133 160 22 "
            "139 127 37 45 50 18 5 54 14 147 38 83 46 46 46 46 46 46 46 46 46 46 46 "
            "46 46 46 46 46 46 46 46 46 46 10 46 46 46 46 46 46 46 46 46 3 78 9 56 "
            "84 145 20 49 61 40 12 24 108 143 150 155 128 89 23 120 8 116 46 59 162 "
            "139 70 43 162 139 70 43"
        ),
        (
            "33 77 6 53 72 144 57 14 119 125 144 52 132 77 87 144 52 132 77 87 53 "
            "23 133 160 22 139 127 37 45 50 18 5 54 14 37 45 50 18 5 54 14 147 38 "
            "83 3 78 9 56 84 145 20 49 61 40 12 108 143 150 155 128 89 23 120 8 116 "
            "46 59 162 139 70 43"
        ),
        (
            "33 77 6 53 11 72 144 57 14 65 125 144 52 132 77 87 144 52 132 77 87 53 "
            "130 23 133 160 22 139 127 37 45 50 18 5 54 14 147 38 83 3 78 9 28 84 "
            "145 20 49 61 40 12 108 143 150 155 128 89 10 120 8 116 46 59 162 139 "
            "70 43"
        ),
        (
            "33 77 6 53 98 72 144 57 14 65 125 144 52 132 77 87 144 52 132 77 87 53 "
            "130 23 133 160 22 139 127 37 45 50 18 5 54 14 147 38 83 3 78 9 56 84 "
            "145 20 49 61 40 12 108 143 150 155 128 89 10 120 89 10 120 8 116 46 59 "
            "162 139 70 43"
        ),
        "11 67 157 135" + 60 * " 43",
        (
            "12 11 78 51 78 75 27 148 23 61 23 78 27 148 23 61 23 78 27 148 "
            "148 23 61 23 78 27 148 23 24 137 54 51 148 78 78 27 23 51 148 "
            "78 75 70 15 27 23 51 148 78 99 27 148 23 148 23 153"
        ),
        (
            "73 27 71 52 73 27 153 78 78 78 78 78 78 78 78 78 78 78 78 78 "
            "78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 "
            "78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 "
            "78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 "
            "78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 "
            "78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 "
            "78 78 78 78 78 78 78 78 78 78 78 78 78 78 78 1 78"
        ),
        "35 38*380",
        (
            "145 69*4 35*2 68*150 1 33*30 35*2 68*150 1 33*30 132*70 35*2 71*8 1 "
            "35*2 132*70 132*70 1 35*2 132*70 51*4 49*8 56*30 132*150 85*4 49*8 "
            "56*30 132*150 132*337 132*225"
        ),
        (
            "18*100 67*380 144 13*30 21*8 106*2 46*30 12*8 64 108*4 18 3*2 106*2 "
            "137*300 17*380 123 108*4 77 82 16*570 148"
        ),
        (
            "92*2 7*4 121*30 109*30 53*570 162*2 24 7*4 59 52*380 53*1140 49*4 "
            "162*2 87*8 116*100 162*2 87*8 53*1140 49*4 162*2 87*8 49*4 162*2 87*8 "
            "59 52*380 53*1140 49*4 162*2 87*8 24"
        ),
        (
            "29*9 66 15 33*1140 15 33*1140 160*8 29*9 33*1140 66 15 160*8 29*9 66 "
            "15 33*1140 15*3 33*1140 33*1140 29*9 66 15 33*1140 15 66 33*1140 29*9 "
            "66 15 33*1140 15 160*8 15 33*1140 15 33*1140 33*1140 132*105 149*30 "
            "56*4 151*30 9*9"
        ),
        (
            "43 67*8 9*2 43 9*2 43 9*2 43 157 67*8 43 9*2 43 9*2 9*2 43 9*2 67*8 "
            "162*4 43 67*12 31 67*8 162*4"
        ),
        (
            "62*2 2*2 27 147 34*4 44*2 34*12 34*4 62*2 147 69*2 44*2 111 34*4 99 "
            "15*30 8*3 127 44*2 15*9 56*6 15*30 44*30 92*24 44*2 92*8 15*30 34*18 "
            "34*6 34*12 34*6 44 111 44 34*4 92*8 75 104*8 27*380"
        ),
        (
            "45*100 105 112 58 145*8 66*8 9 39*3 42 45*100 85 45*2 113*8 3*100 "
            "116*380 38 36*2 80 39 86 105*855 116*570 54 149*2"
        ),
        (
            "44*266 139*4 41*2 33*380 43*8 88*9 43*8 139*4 41*2 33*380 43*8 88*9 "
            "44*266 139*4 41*2 33*380 44*266 89*2"
        ),
        (
            "153*30 148*100 7 18 106 53 18 32 82*30 10*3 148*100 53 33*380 23*2 53 "
            "53 33*380 10*3"
        ),
        "124 156*30 98 45*24 35*2 28 68*1140",
    )
)
"""The slowest that the search has found: places in PARTS."""


def repeated(unit: str) -> str:
    """Return *unit* so many times that it is a long text."""
    return (unit * (HOSTILE_BYTES // max(1, len(unit)) + 1))[:HOSTILE_BYTES]


def mixture(places: tuple[int, ...]) -> str:
    """Return the text of the PARTS at *places*, again and again."""
    return repeated("".join(PARTS[place] for place in places))


def hostile(mixtures: int = 40) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each unit, of FOUND, and of some mixtures."""
    for unit in UNITS:
        yield repr(unit), unit * (HOSTILE_BYTES // len(unit))
    for number, places in enumerate(FOUND):
        yield f"found {number}", mixture(places)
    chance = random.Random(5)
    for number in range(mixtures):
        yield f"mixture {number}", mixture(_some(chance, (3, 6, 12, 3_000)))


def _some(chance: random.Random, lengths: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(chance.choices(range(len(PARTS)), k=chance.choice(lengths)))


def _blocks(chance: random.Random) -> tuple[int, ...]:
    """Return places of which each comes once, or many times: what is found is worse."""
    places = _some(chance, (1, 2, 4, 8, 16, 40))
    return tuple(at for at in places for _ in range(chance.choice(_TIMES)))[:8_000]


def took(redactor: Redactor, text: str, times: int) -> float:
    """Return the microseconds of processor time that *text* takes, at best."""
    best = float("inf")
    for _ in range(times):
        before = time.thread_time_ns()
        redactor.text(text)
        best = min(best, time.thread_time_ns() - before)
    return best / 1_000


def _changed(places: tuple[int, ...], chance: random.Random) -> tuple[int, ...]:
    """Return *places* with one more, one less, another, or a part of it doubled."""
    parts = list(places)
    at = chance.randrange(len(parts))
    other = chance.randrange(len(PARTS))
    what = chance.randrange(5)
    if what == 0:
        parts.insert(at, other)
    elif what == 1 and len(parts) > 1:
        del parts[at]
    elif what == 2:
        parts[at] = other
    elif what == 3:
        parts[at:at] = parts[at : at + chance.randrange(1, 9)]
    else:
        parts[at:at] = [other] * chance.choice((*_TIMES, chance.randrange(1, 200)))
    return tuple(parts[:8_000])


def search(seconds: float, seed: int) -> list[tuple[float, tuple[int, ...]]]:
    """Return the slowest mixtures that are found in *seconds* of processor time."""
    redactor = Redactor("credentials", key=lambda: bytes(32))
    chance = random.Random(seed)
    end = time.process_time() + seconds
    best: list[tuple[float, tuple[int, ...]]] = []
    while time.process_time() < end:
        if len(best) < 40 or chance.random() < 0.1:
            places = (
                _blocks(chance) if chance.random() < 0.7 else _some(chance, _LENGTHS)
            )
        else:
            places = _changed(chance.choice(best)[1], chance)
        worst = best[-1][0] if len(best) >= 40 else 0.0
        if took(redactor, mixture(places), 2) > worst:
            # What is slow by chance is not the slowest of many times.
            best.append((took(redactor, mixture(places), 12), places))
            best.sort(key=lambda each: -each[0])
            del best[40:]
    return best


def main() -> None:
    """Search, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    for micros, places in search(asked.seconds, asked.seed)[:10]:
        text = "".join(PARTS[place] for place in places)
        print(f"{micros:7.0f} µs  {places if len(places) < 500 else len(places)}")
        print(f"            {text[:60]!r}")


if __name__ == "__main__":
    main()
