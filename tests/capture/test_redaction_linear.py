"""
Redaction takes linear time, whatever the text.

No time is asserted.  The texts are so long that what is not linear would take minutes,
and the suite's own time limit ends it; the figures are in the bench (``redaction``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture.secrets_corpus import SECRETS, Secret
from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.privacy.budget import SHORT, Budget
from tokenpak.telemetry.capture.privacy.heads import Head, heads_in
from tokenpak.telemetry.capture.privacy.named import name_spans
from tokenpak.telemetry.capture.privacy.names import NAMES
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.privacy.text import MAX_FINDS, MAX_STARTS, SCHEMES
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


@settings(max_examples=60)
@given(unit=UNIT.map("".join), end=UNIT.map("".join), level=st.sampled_from([*LEVELS]))
def test_c1_no_text_takes_more_than_linear_time(
    unit: str, end: str, level: str
) -> None:
    """Of what the rules look for, put together in any way, many times."""
    if unit:
        LEVELS[level].text(unit * (300_000 // len(unit)) + end)


@given(level=st.sampled_from([*LEVELS]), count=st.integers(1, 30))
def test_c1_escapes_in_escapes_take_no_longer(level: str, count: int) -> None:
    """Each quote with one backslash more than the one before: none closes another."""
    text = "".join("password=" + "\\" * n + '"x ' for n in range(count * 20))

    LEVELS[level].text(text)


def test_c1_a_value_in_which_a_name_ends_is_looked_at_from_there_on() -> None:
    """Not from the first name of the text on, for each of them."""
    met: list[object] = []

    class Heads(list[Head]):
        def __iter__(self) -> Iterator[Head]:
            for head in super().__iter__():
                met.append(head)
                yield head

    text = f"password=x=y: {'the fox ' * 40}" * 50
    _, low, heads, until = heads_in(text, text, Budget())

    spans = [*name_spans(text, low, Heads(heads), until, 1_000)]

    assert len(spans) == len(heads) == len(met) == 50


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret.rule)
def test_c1_a_text_full_of_secrets_is_cut_and_shows_none(secret: Secret) -> None:
    """After so many the rest is left out: each costs more than to look for it."""
    many = (secret.text + " ; ") * (MAX_FINDS * 3)

    found = LEVELS["credentials"].text(many)

    assert secret.secret not in found
    assert found.count("[redacted") <= 3 * MAX_FINDS + 10


@pytest.mark.parametrize(
    ("start", "secret"),
    [
        ("sk-", "pypi-" + "A" * 20 + "sk-" + "B" * 60),
        ("SK", "hvs." + "A" * 30 + "SK" + "B" * 60),
        ("eyJ", "redis://:hunter2,eyJx,hunter3@cache"),
    ],
)
def test_c1_a_text_that_ends_early_ends_before_a_secret(
    start: str, secret: str
) -> None:
    """Or the rest of it, too short for its own rule, would be seen."""
    known = LEVELS["credentials"]
    for count in range(MAX_STARTS - 3, MAX_STARTS + 3):
        before = f"{start} " * count
        found = known.text(f"{before}saw {secret} there" + f" {start}" * 9)
        for piece in ("AAAA", "BBBB", "hunter2", "hunter3"):
            assert piece not in found
        assert found.startswith(f"{start} " * (count - 3))


def test_c1_a_text_with_secrets_of_all_kinds_is_cut_as_one_with_many_of_one() -> None:
    """All rules have one budget, and search what is kept: SHORT characters."""
    # But for PEM: one without an end goes on to the end of the text.
    tokens = [s for s in SECRETS if s.text == s.secret and s.rule != "private_key"]
    many = " ; ".join(secret.text for secret in tokens) + " ; "

    found = LEVELS["credentials"].text(many * 40)

    assert found.count("[redacted:") < 3 * MAX_FINDS
    assert SHORT / 2 < len(found) < SHORT * 1.1
    assert found.count("[redacted:") > SHORT / 80  # a mark takes some 30 characters
    assert not re.search(r"\[redacted:[^]]*\[", found)  # each mark is whole
    for secret in tokens:
        assert secret.secret not in found


@pytest.mark.parametrize("word", ["password", "--a-key", "token ", "my_key"])
def test_c1_a_text_full_of_names_is_cut_and_one_with_some_is_not(word: str) -> None:
    """Without values they are harmless, but each costs a look."""
    known = LEVELS["credentials"]
    some = f"{word}, of a client of this service: none; " * 700
    assert known.text(some) == some

    full = f"{word}: {word} {word} " * 2_000 + "password=hunter2"
    found = known.text(full)
    assert "hunter2" not in found
    assert found.startswith(word)
    assert len(found) < len(full)


@pytest.mark.parametrize(
    "unit",
    [
        "password=hunter2 ",
        "token: 5 ",
        "--token hunter2 ",
        '"db_secret: a)passwd: hunter2" ',
    ],
)
def test_c1_a_text_that_is_cut_says_so_and_how_much_it_was(unit: str) -> None:
    """A mark would say that there was one secret, and that all else is shown."""
    for count in (200, 1_000):  # the longer one is cut twice
        text = unit * count

        found = LEVELS["credentials"].text(text)

        end = re.search(r"\[redacted: ([0-9,]+) characters, after too m[^]]*\]", found)
        assert end is not None
        assert end.end() == len(found)
        assert "hunter2" not in found
        shown = found[: end.start()].count(unit[:5])
        left_out = int(end[1].replace(",", ""))
        assert abs(left_out - (count - shown) * len(unit)) <= len(unit)


@pytest.mark.parametrize("name", ['"token": "Hello", ', "session_token: none, "])
def test_a_long_text_that_has_names_here_and_there_is_whole(name: str) -> None:
    """The answer of a model, or a dump of a configuration, is no hostile text."""
    entry = name + '"logprob": -0.0123, "bytes": [72, 101, 108, 108, 111], ' * 5
    text = entry * 200 + "the end"

    found = LEVELS["credentials"].text(text)

    assert "after too many" not in found
    assert found.endswith("the end")
    assert found.count('"logprob"') == 1_000


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
