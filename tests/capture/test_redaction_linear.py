"""
Redaction takes linear time, whatever the text.

No time is asserted.  The texts are so long that what is not linear would take minutes,
and the suite's own time limit ends it; the figures are in the bench (``redaction``).
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture.secrets_corpus import SECRETS, Secret
from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.privacy.names import NAMES
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.privacy.text import MAX_FINDS, SCHEMES
from tokenpak.telemetry.capture.privacy.tokens import TOKENS

LENGTH = 1_000_000
LEVELS = {
    level: Redactor(level, key=lambda: b"k" * 32)
    for level in ("credentials", "personal")
}
WORDS = sorted(
    {start for rule in (*TOKENS, *SCHEMES) for start in rule.starts}
    | {name.word for name in NAMES}
    | {
        "password",
        "api_key",
        "@",
        "a@a.",
        "1",
        "1 ",
        "1-",
        "+1",
        "1.",
        "::",
        "a:",
        "%20",
    }
    | {
        '"',
        "'",
        "\\",
        "\\n",
        "[",
        "{",
        "(",
        " ",
        "\n",
        "a",
        "A",
        "0",
        "=",
        ":",
        "Bearer ",
        "--",
        "--a-",
        "--token ",
        "--password x ",
        "--s-key ",
        "s key ",
    }
    | {"-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "://a:", "x@y.zz "}
)
UNIT = st.lists(st.sampled_from(WORDS) | st.text(max_size=3), min_size=1, max_size=5)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("word", WORDS)
def test_c1_a_million_times_the_same_takes_no_longer(level: str, word: str) -> None:
    """Each word by itself, and with a run of letters or of blanks after it."""
    for unit in (word, word + "a" * 70, word + " " * 70):
        text = unit * (LENGTH // len(unit))
        found = LEVELS[level].text(text)
        assert isinstance(found, str)
    LEVELS[level].text(word + "a" * LENGTH)
    LEVELS[level].text(word + " " * LENGTH)
    LEVELS[level].text(word + "0a-_" * (LENGTH // 4) + word)


@pytest.mark.timeout(120)
@settings(max_examples=60)
@given(unit=UNIT.map("".join), end=UNIT.map("".join), level=st.sampled_from([*LEVELS]))
def test_c1_no_text_takes_more_than_linear_time(
    unit: str, end: str, level: str
) -> None:
    """Of what the rules look for, put together in any way, many times."""
    if unit:
        LEVELS[level].text(unit * (300_000 // len(unit)) + end)


@pytest.mark.timeout(120)
@given(level=st.sampled_from([*LEVELS]), count=st.integers(1, 30))
def test_c1_escapes_in_escapes_take_no_longer(level: str, count: int) -> None:
    """Each quote with one backslash more than the one before: none closes another."""
    text = "".join("password=" + "\\" * n + '"x ' for n in range(count * 20))

    LEVELS[level].text(text)


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret.rule)
def test_c1_a_text_full_of_secrets_is_cut_and_shows_none(secret: Secret) -> None:
    """After so many the rest is left out: each costs more than to look for it."""
    many = (secret.text + " ; ") * (MAX_FINDS * 3)

    found = LEVELS["credentials"].text(many)

    assert secret.secret not in found
    assert found.count("[redacted") <= 3 * MAX_FINDS + 10


@pytest.mark.timeout(120)
def test_c1_what_is_huge_is_searched_to_a_bound() -> None:
    """Fifty megabytes in the message, and a context of thousands of long texts."""
    encoder = Encoder(32_000, redactor=LEVELS["credentials"])
    huge = "password=x " * 5_000_000

    line = encoder.error("req", ValueError(huge), {"a": huge})
    assert len(line) <= 32_000
    assert b"password=x" not in line

    line = encoder.error(
        "req", ValueError("x"), {str(n): huge[:31_000] for n in range(5000)}
    )
    assert len(line) <= 32_000
    assert b"password=x" not in line
