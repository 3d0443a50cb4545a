"""The quick look may be wrong in one way only: no text with a secret passes it."""

from __future__ import annotations

import string

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.capture.secrets_corpus import HARMLESS, SECRETS, Secret
from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.privacy import screen
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.capture.privacy.rule import HEX, compiled, trace_of
from tokenpak.telemetry.capture.privacy.screen import MAX_KNOWN, Screen
from tokenpak.telemetry.capture.privacy.starts import RUNLESS, Starts, has_run
from tokenpak.telemetry.capture.privacy.tokens import TOKENS

SCREEN = Screen()
REDACTOR = Redactor("credentials", key=lambda: b"k" * 32)
TEXT = st.text(max_size=40) | st.text(string.printable, max_size=40)
NO_WORD = "".join(c for c in string.printable if not c.isalnum() and c not in "_-")


def encoded(text: str) -> bytes:
    return orjson.dumps(text)


def skeleton(line: bytes) -> bytes:
    return line.translate(None, HEX)


@st.composite
def planted(draw: st.DrawFn) -> tuple[Secret, str]:
    """A secret of the corpus in any text, with nothing but its own word around it."""
    secret = draw(st.sampled_from(SECRETS))
    before, after = draw(TEXT), draw(TEXT)
    # A token is a word of its own, and what is named has the name before it.
    before += draw(st.sampled_from(["", *NO_WORD])) if before else ""
    after = draw(st.sampled_from(NO_WORD)) + after
    if before and before[-1] not in NO_WORD:
        before += " "
    return secret, before + secret.text + after


@given(planted())
@example((SECRETS[0], "\n" + SECRETS[0].text))
@example((SECRETS[0], "\\n" + SECRETS[0].text))
@example((SECRETS[0], "\x08" + SECRETS[0].text))
@example((SECRETS[0], "\x01" + SECRETS[0].text))
@example((SECRETS[0], "%2F" + SECRETS[0].text))
def test_no_planted_secret_is_left(plant: tuple[Secret, str]) -> None:
    """By the text itself; and the quick look sees it, by the text and the skeleton."""
    secret, text = plant

    found = REDACTOR.text(text)

    assert secret.secret not in found
    assert found != text
    line = encoded(text)
    assert SCREEN.suspects(line)
    assert SCREEN.traces(skeleton(line))


@given(st.text() | st.sampled_from(HARMLESS) | st.text(string.printable, min_size=20))
def test_what_the_quick_look_lets_pass_is_left_as_it_is_by_the_exact_one(
    text: str,
) -> None:
    """For any text at all, whatever is in it."""
    try:
        line = encoded(text)
    except orjson.JSONEncodeError:
        return
    changed = REDACTOR.text(text) != text

    if changed:
        assert SCREEN.suspects(line)
        assert SCREEN.traces(skeleton(line))


@pytest.mark.parametrize("gap", ["\t", "\n", "\r\n", " \t", '"\n', "\\t\t"])
def test_the_quick_look_sees_a_name_however_far_before_its_sign(gap: str) -> None:
    """In a line each tab is an escape, and the exact one's bound is for escapes."""
    hidden = 0
    for count in range(40):
        text = f"password{gap * count}= hunter2"
        if "hunter2" not in REDACTOR.text(text):
            hidden += 1
            assert SCREEN.suspects(encoded(text))
            assert SCREEN.traces(skeleton(encoded(text)))
    assert hidden > 8


@pytest.mark.parametrize(
    "text",
    [
        "[('cookie',\t'hunter2')]",
        "[(b'x-api-key',\t b'hunter2')]",
        "['app', '--password',\t'hunter2']",
        '["app", "--api-key", \t"hunter2"]',
    ],
)
def test_the_quick_look_sees_a_list_with_a_tab_behind_its_comma(text: str) -> None:
    """In a line it is an escape."""
    assert "hunter2" not in REDACTOR.text(text)
    assert SCREEN.suspects(encoded(text))
    assert SCREEN.traces(skeleton(encoded(text)))


@pytest.mark.parametrize("name", ["password_2_hash", "pwd-12-digest", "passwd-2hash"])
def test_a_number_between_a_name_and_its_hash_leaves_a_trace(name: str) -> None:
    """Its digits are not in the skeleton, and the sign before it is."""
    text = f"{name}=hunter2"

    assert "hunter2" not in REDACTOR.text(text)
    assert SCREEN.traces(skeleton(encoded(text)))


PIECES = st.sampled_from(
    [
        *("sk-", "eyJ", "AKIA", "Bearer ", "basic ", "://", "@", ":", "=", "key", "?"),
        *(
            "password",
            "token",
            "api_",
            "secret",
            "cookie",
            "sig",
            "auth",
            "\\",
            '"',
            "'",
        ),
        *("a1b2c3d4", "ghijklmnop", "ZZZZZZZZ", "\n", " ", "%20", "-", "_", ".", "SK"),
        *("hf_", "r8_", ":AA", "Q~", "SG.", "ya29.", "PRIVATE KEY-----", "-----BEGIN "),
        *(
            "\N{KELVIN SIGN}",
            "0123456789",
            "abcdef",
            "\x01",
            "\x0b",
            "é",
            "{",
            "}",
            "[",
            "sess",
            "id",
            "pass",
        ),
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join))
@example("\npass:AA")
@example("\tjwt=a1b2c3d4")
@example("\x0bpass:x1")
@example("Bearer \\r8_sk-sk-")
@example("\N{KELVIN SIGN}pass:x1")
def test_neither_is_fooled_by_pieces_of_secrets(text: str) -> None:
    """Texts made of nothing but what the rules look for."""
    line = encoded(text)

    if REDACTOR.text(text) != text:
        assert SCREEN.suspects(line)
        assert SCREEN.traces(skeleton(line))


@pytest.mark.parametrize("name", sorted({rule.name for rule in TOKENS}))
@settings(max_examples=20)
@given(data=st.data())
def test_whatever_a_rule_finds_leaves_its_trace(name: str, data: st.DataObject) -> None:
    """Any text that the expression matches, not only those of the corpus."""
    (rule,) = (rule for rule in TOKENS if rule.name == name)
    token = data.draw(st.from_regex(compiled(rule.pattern)))
    text = data.draw(TEXT) + token + data.draw(TEXT)
    try:
        line = encoded(text)
    except orjson.JSONEncodeError:
        return
    if compiled(rule.pattern).search(text) is None:
        return  # not as a word of its own

    assert any(start in text for start in rule.starts)
    assert compiled(trace_of(rule)).search(skeleton(line).decode(errors="replace"))
    assert has_run(text) or any(start in text for start in RUNLESS)
    assert rule in Starts(TOKENS).within(text)
    assert rule.check is not None or SCREEN.suspects(line)


def test_what_is_met_twice_is_known_and_its_numbers_make_no_difference() -> None:
    """Not what is met once: a text with a random id never comes again."""
    known = Screen()
    lines = [
        b"took %d ms, request 550e8400-e29b-41d4-a716-44665544%04d" % (n, n)
        for n in range(1000, 1004)
    ]

    for number, line in enumerate(lines):
        assert (skeleton(line) in known.harmless) == (number >= 2)
        assert known.clears((line,), skeleton(line))


def test_a_skeleton_with_a_newline_is_never_harmless() -> None:
    """The hot path looks for a newline in what is not known to be harmless only."""
    known = Screen()
    line = b'{"a":\n1}'

    for _ in range(4):
        assert known.clears((b'"r"', line), skeleton(b'"r"' + line))
    assert not any(b"\n" in each for each in known.harmless)


@pytest.mark.parametrize("level", ["credentials", "off"])
def test_c1_a_fragment_of_two_lines_makes_one_line_however_often(level: str) -> None:
    """With redaction and without: what is known is looked at less."""
    encoder = Encoder(32_000, redactor=Redactor(level, key=lambda: b"k" * 32))
    context = {"f": orjson.Fragment(b'{\n"a": 1}')}
    for _ in range(5):
        for line in (
            encoder.error("req", ValueError("x"), context),
            encoder.event("e", "req", context),
        ):
            assert line.count(b"\n") == 1
            assert list(orjson.loads(line)["context"]) == ["f"]


def test_a_text_without_a_secret_but_with_a_trace_is_never_taken_for_harmless() -> None:
    """Another one that has the same skeleton may have a secret."""
    known = Screen()
    harmless, secret = b"pass by", b"pass=1"
    for _ in range(5):
        assert known.clears((b'"token":5,',), skeleton(b'"token":5,'))
        assert known.clears((harmless,), skeleton(harmless))

    assert skeleton(b'"token":5,') not in known.harmless
    assert not known.clears((secret,), skeleton(secret))
    assert not known.clears((b'"token":5123456789',), b"")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many texts there are, and however long."""
    monkeypatch.setattr(screen, "MAX_KNOWN", 50)
    known = Screen()
    for number in range(400):
        word = "".join(string.ascii_uppercase[int(digit)] for digit in str(number))
        line = f"the text {word}".encode()
        for _ in range(3):
            assert known.clears((line,), skeleton(line))
        long = line * 1_000
        for _ in range(3):
            assert known.clears((long,), skeleton(long))
        assert len(known.harmless) <= 50
        assert max(map(len, known.harmless)) <= screen.MAX_LENGTH
    assert MAX_KNOWN >= 500


def test_a_known_line_does_not_hide_the_secret_of_the_next_one() -> None:
    """The same places, message and names, and then a key among them."""
    encoder = Encoder(32_000, redactor=Redactor("credentials", key=lambda: b"k" * 32))
    secret = SECRETS[0].text
    for _ in range(5):
        encoder.error("req-1", ValueError("plain words"), {"model": "gpt-4"})

    for arguments in (
        (secret, ValueError("plain words"), {"model": "gpt-4"}),
        ("req-1", ValueError(secret), {"model": "gpt-4"}),
        ("req-1", ValueError("plain words"), {"model": secret}),
    ):
        assert secret.encode() not in encoder.error(*arguments)


@pytest.mark.parametrize("place", ["value", "key"])
def test_a_secret_in_a_fragment_is_found_whatever_its_escapes(place: str) -> None:
    """The only text on the hot path that orjson has not encoded itself."""
    encoder = Encoder(32_000, redactor=Redactor("credentials", key=lambda: b"k" * 32))
    secret = SECRETS[0].text
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in secret[:9]) + secret[9:]
    for text in (secret, escaped):
        inside = f'{{"{text}":1}}' if place == "key" else f'["{text}"]'
        for _ in range(3):
            line = encoder.error(
                "req", ValueError("x"), {"f": orjson.Fragment(inside.encode())}
            )
            assert secret[9:].encode() not in line


@pytest.mark.parametrize("escape", ["\\x0a", "\\u000a", "%0A", "%2f", "\\n"])
def test_a_run_that_is_known_is_told_from_one_that_an_escape_begins(
    escape: str,
) -> None:
    """In task-… no key begins, and in \\x0ask-… one does; the letters are the same."""
    known, secret = Screen(), SECRETS[0].text
    word = encoded(f"the {escape[1:]}{secret} is none")
    for _ in range(4):
        assert known.clears((word,), skeleton(word))

    for text in (f"{escape}{secret}", f"the {escape}{secret}"):
        assert known.suspects(encoded(text))
        assert known.suspects(encoded(encoded(text).decode()))
