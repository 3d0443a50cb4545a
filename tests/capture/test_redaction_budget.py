"""
Redaction of a long text costs no more than its budget, and still finds what it has.

What is asserted is what is counted, not time: that the counts are those of the time is
the business of the bench (``redaction``), and of ``python -m bench.hostile``.
"""

from __future__ import annotations

import base64
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.hostile import PARTS, hostile
from tests.capture.secrets_corpus import SECRETS, Secret
from tokenpak.telemetry.capture.privacy import text as module
from tokenpak.telemetry.capture.privacy.budget import (
    LEFT_OUT,
    MOST,
    MOST_EACH,
    Budget,
    end_of,
)
from tokenpak.telemetry.capture.privacy.budget import USUAL as USUAL_LENGTH
from tokenpak.telemetry.capture.privacy.heads import MAX_NAMES, heads_in
from tokenpak.telemetry.capture.privacy.names import NAMES
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.privacy.rule import compiled
from tokenpak.telemetry.capture.privacy.starts import LONG
from tokenpak.telemetry.capture.privacy.text import TOKEN_STARTS
from tokenpak.telemetry.capture.privacy.tokens import TOKENS

KNOWN = Redactor("credentials", key=lambda: b"k" * 32)
PERSONAL = Redactor("personal", key=lambda: b"k" * 32)
LENGTH = 33_000
BEYOND = 200
"""Microseconds, about: what is done on the little that is kept of a text."""
HOSTILE = dict(hostile())
WORDS = (
    "the model failed to answer within its limit because its provider returned an "
    "error, while streaming of the response went on. "
)
PROSE = WORDS * (LENGTH // len(WORDS))


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> list[Budget]:
    """The budgets of all texts that are searched meanwhile."""
    budgets: list[Budget] = []

    class Counted(Budget):
        __slots__ = ()

        def __init__(self, text: str = "") -> None:
            super().__init__(text)
            budgets.append(self)

    monkeypatch.setattr(module, "Budget", Counted)
    return budgets


@pytest.mark.parametrize("name", HOSTILE)
def test_c1_no_hostile_text_costs_more_than_its_budget(
    name: str, spent: list[Budget]
) -> None:
    """Whatever it is made of, and however it is mixed."""
    KNOWN.text(HOSTILE[name])

    (budget,) = spent
    assert 0 < budget.spent < MOST + BEYOND


@pytest.mark.parametrize("name", list(HOSTILE)[::5])
def test_c1_twice_the_text_costs_no_more_than_twice_as_much(
    name: str, spent: list[Budget]
) -> None:
    """And ten times the text ten times."""
    text = HOSTILE[name]
    for times in (2, 10):
        KNOWN.text(text * times)
        most = MOST + MOST_EACH * (len(text) * times - USUAL_LENGTH)
        assert spent[-1].spent < most + BEYOND * times


def _answers() -> str:
    chance = random.Random(7)
    answers = [
        {
            "id": f"chatcmpl-{chance.getrandbits(120):030x}",
            "object": "chat.completion",
            "model": "gpt-4o-2024-08-06",
            "choices": [{"index": 0, "message": {"content": WORDS * 3}}],
            "usage": {"prompt_tokens": number, "total_tokens": 2 * number},
            "system_fingerprint": "fp_6b68a8204b",
        }
        for number in range(50)
    ]
    return json.dumps(answers)


def _calls() -> str:
    chance = random.Random(7)
    calls = [
        {
            "id": f"toolu_01{base64.b64encode(chance.randbytes(16)).decode()[:22]}",
            "type": "tool_use",
            "name": "get_weather",
            "input": {"city": "Reykjavik", "unit": "c", "altitude": chance.random()},
        }
        for _ in range(200)
    ]
    return json.dumps(calls)


def _chat() -> str:
    url = f"data:image/png;base64,{_picture()}"
    content = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}}]
    before = [
        {"role": role, "content": WORDS}
        for role in ("system", "user", "assistant", "user", "assistant")
    ]
    messages = [*before, {"role": "user", "content": content}]
    return json.dumps({"model": "gpt-4o", "messages": messages, "max_tokens": 300})


def _picture() -> str:
    return base64.b64encode(random.Random(7).randbytes(24_000)).decode()


def _image() -> str:
    return json.dumps({"model": "gpt-4o", "image": _picture(), "max_tokens": 300})


def _with_secrets() -> str:
    chance = random.Random(7)
    secrets = [secret.text for secret in chance.sample(SECRETS, 6)] * 3
    return "".join(f"{WORDS * 12}\n{secret}\n" for secret in secrets) + WORDS


def _stack() -> str:
    return "".join(
        f'  File "/srv/app/lib/python3.11/site-packages/openai/_base_client.py", line '
        f"{number}, in _request\n    response = self._client.send(request, "
        "auth=self.custom_auth, stream=stream or self._should_stream(request))\n"
        for number in range(170)
    )


USUAL = {
    "prose": PROSE,
    "answers of a provider": _answers(),
    "an image": _image(),
    "an image in a chat": _chat(),
    "prose with some secrets": _with_secrets(),
    "a stack": _stack(),
    "ids": "".join(
        f"{number:08x}-1b4e-4c1a-9d3f-8e7a6b5c4d3e\n" for number in range(890)
    ),
}


@pytest.mark.parametrize("name", USUAL)
def test_a_usual_long_text_is_whole(name: str) -> None:
    """Of what an application says there is nothing left out."""
    text = USUAL[name]
    assert 25_000 < len(text) < 45_000

    found = KNOWN.text(text)

    assert LEFT_OUT not in found
    assert ("[redacted:" in found) == ("secrets" in name)
    assert found[-20:] == text[-20:]


@pytest.mark.parametrize("length", [8_200, 9_900, 10_100, 12_000, 20_000])
@pytest.mark.parametrize("name", [*USUAL, "calls of tools"])
def test_a_usual_text_that_is_less_long_is_whole(name: str, length: int) -> None:
    """It may cost as much as a long one: all have much that does not depend on that."""
    text = {**USUAL, "calls of tools": _calls()}[name][:length]
    assert len(text) == length

    assert LEFT_OUT not in KNOWN.text(text)


@pytest.mark.parametrize("length", [9_000, 12_000, 33_000])
@pytest.mark.parametrize(
    "piece",
    [
        WORDS,
        "Der Fehler: für das Gerät fand sich keine Datei, und für den Dienst auch. ",
        "[0.1234, 12.5678]\n",
    ],
)
def test_c1_personal_data_is_found_in_a_usual_long_text(
    piece: str, length: int
) -> None:
    """What may be an address or a number has a budget of its own."""
    text = piece * (length // 2 // len(piece))

    found = PERSONAL.text(f"{text} some.one@example.org password=hunter2 {text}")

    assert found.startswith(f"{text} [redacted:email:")
    assert "hunter2" not in found
    assert found.endswith(f"] {text}")


@pytest.mark.parametrize("place", [0, LENGTH // 2, LENGTH])
@pytest.mark.parametrize("around", ["prose", "an image", "ids"])
@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret.rule)
def test_c1_a_secret_is_found_wherever_it_is_in_a_long_text(
    secret: Secret, around: str, place: int
) -> None:
    """Whichever way is taken to tell what the text may hold."""
    text = USUAL[around]
    found = KNOWN.text(f"{text[:place]} {secret.text} {text[place:]}")

    assert secret.secret not in found
    assert "[redacted:" in found
    assert found[:20] == f"{text[:place]} "[:20] or not place


@given(
    parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=30),
    fill=st.sampled_from(["the fox ", "a1B2-_", "- ", "x.y_z=", "\u00e9 ", "\u9375"]),
)
def test_c1_the_words_of_a_long_text_are_those_of_a_short_one(
    parts: list[str], fill: str
) -> None:
    """They are told in another way."""
    short = "".join(parts)
    text = fill * (LONG // len(fill)) + short + fill * 100
    data = text.encode()

    found = TOKEN_STARTS.in_long(data)

    assert found == [r for r in TOKENS if any(s.encode() in data for s in r.starts)]
    assert TOKEN_STARTS.within(text) == found


@given(
    parts=st.lists(
        st.sampled_from(
            [name.word for name in NAMES]
            + [
                "password",
                "api_key",
                "=",
                ":",
                "%3d",
                '",',
                "',",
                '"',
                " ",
                "\\n",
                "\n",
            ]
            + [" " * 90, "'" * 50, "the fox ran; "]
        ),
        min_size=1,
        max_size=30,
    )
)
def test_c1_the_names_of_a_text_with_few_signs_are_all_found(parts: list[str]) -> None:
    """Though only what is before the signs is looked at."""
    text = "the fox ran; " * 400 + "".join(parts) + " the fox ran; " * 100

    _, low, heads, until = heads_in(text, text, Budget())

    for name in NAMES:
        expected = [match.span() for match in compiled(name.head).finditer(low)]
        assert expected == [head[:2] for head in heads if head[2] is name]
    assert until == len(text)


NAME_PARTS = st.lists(
    st.sampled_from([name.word for name in NAMES])
    | st.sampled_from(["password", "api_key", "broken", "looking", "awt", "hijwdt"])
    | st.sampled_from(["=", ": ", "%3d", '",', "'", " ", "\\n", "\n", "the fox; "]),
    min_size=1,
    max_size=30,
)


@given(parts=NAME_PARTS, times=st.integers(1, 60), signs=st.integers(0, 400))
def test_c1_the_names_of_a_text_with_many_signs_are_all_found(
    parts: list[str], times: int, signs: int
) -> None:
    """Whether their words are few, and met in one pass for several, or many."""
    text = "the fox ran; " * 400 + "".join(parts) * times + "x: 1; " * signs

    kept, low, heads, until = heads_in(text, text, Budget())

    last = min(until, end_of(kept))
    assert until == len(text) or kept != text or len(heads) > MAX_NAMES
    for name in NAMES:
        assert name.head.startswith(f"(?:{name.word}")
        found = [match.span() for match in compiled(name.head).finditer(low, 0, last)]
        heads_of = [head[:2] for head in heads if head[2] is name]
        assert found == [(at, end) for at, end in heads_of if end <= last]


def test_c1_a_name_is_found_in_a_long_text_where_its_word_overlaps_itself() -> None:
    """``sess`` begins with the letter that it ends in."""
    assert "hunter2" not in KNOWN.text(PROSE + "sessessionid=hunter2 and more")


def test_c1_a_text_that_is_cut_for_its_names_has_none_of_what_is_left_out() -> None:
    """Names that were found before it was cut, with values behind the place."""
    known = Redactor("credentials", key=lambda: b"k" * 32)
    for unit in ("password=hunter2 ", "token=hunter2x9 ", "cookie: hunter2; a\n"):
        for ballast in ("", "the key and auth", "auth ", "secret ", "auth key " * 160):
            for length in (8_200, 20_000, 33_000, 60_000):
                text = (unit + ballast) * (length // len(unit + ballast))
                found = known.text(text)
                assert "hunter2" not in found
                assert LEFT_OUT in found
                assert found.count(LEFT_OUT) == 1
                assert found.count("[redacted: ") == 1


@pytest.mark.parametrize("seed", [199, 477, 497, 751])
def test_what_says_that_a_rest_was_left_out_is_not_cut_itself(seed: int) -> None:
    """It has a word that is a name."""
    chance = random.Random(seed)
    words = (
        *("the", "model", "failed", "token", "key", "error", ": ", "=", "retry", " "),
        *("id", "\n", "'", '"', ",", "-", "_", "--", "session", "cookie", "user"),
        *("{", "}", "[", "]", "5", "0.1", "x1y2", "/", ".", "\\n", "%3d", "\u00e9"),
        *("\u65e5", "jwt", "pwd", "author", "broken", "secretary"),
    )
    text = " ".join(chance.choices(words, k=chance.choice((2_000, 4_000, 5_000))))

    found = KNOWN.text(text)

    assert found.count("[redacted: ") == found.count(LEFT_OUT) == 1
