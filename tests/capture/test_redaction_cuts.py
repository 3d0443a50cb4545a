"""
A text that is cut for what it costs is cut at any place: also inside of a secret.

What is left of one must not be shown, whichever rule would have known all of it, and
what says that the rest was left out must not be taken for a part of it.
"""

from __future__ import annotations

import re

import pytest

from tests.capture.secrets_corpus import SECRETS, Secret
from tokenpak.telemetry.capture.privacy.budget import LEFT_OUT, Budget, cut, left_out
from tokenpak.telemetry.capture.privacy.finds import replace
from tokenpak.telemetry.capture.privacy.heads import LEAST, heads_in
from tokenpak.telemetry.capture.privacy.named import name_spans
from tokenpak.telemetry.capture.privacy.redactor import Redactor

PERSONAL = Redactor("personal", key=lambda: b"k" * 32)
PEM = "-----BEGIN PRIV" + "ATE KEY-----\n"
MORE = (
    Secret("card_number", "card 4111 1111 1111 1111.", "4111 1111 1111 1111"),
    Secret("phone_number", "call +1 555 123 4567 now", "+1 555 123 4567"),
    Secret("phone_number", "call (555) 234-5678 now", "555) 234-5678"),
    Secret("email", "to some.one@example.org, now", "some.one@example.org"),
    Secret(
        "named_secret",
        "[('a', 'b'), ('cookie', 'theme=dark; sid=abc')]",
        "theme=dark; sid=abc",
    ),
    Secret("named_secret", 'password: "correct horse battery"', "correct horse"),
)


@pytest.mark.parametrize("known", [*SECRETS, *MORE], ids=lambda known: known.rule)
def test_c1_wherever_a_text_is_cut_no_half_of_a_secret_is_left(known: Secret) -> None:
    """Nor is what was left out taken for a part of it."""
    secret = known.secret.split("KEY-----\n")[-1]  # what is before that is no secret
    before, behind = "the fox " * 5, " the fox" * 9
    whole = before + known.text + behind

    for place in range(len(known.text) + 1):
        found = PERSONAL.text(cut(whole, len(before) + place))

        assert secret[:4] not in found
        assert found.startswith(before)
        said = re.search(rf"\[redacted: ([0-9,]+) {re.escape(LEFT_OUT)}\Z", found)
        assert said is not None
        assert int(said[1].replace(",", "")) >= len(behind)


@pytest.mark.parametrize(
    "before", ["secret= ", "Cookie: ", "Authorization: ", "--password "]
)
def test_what_was_left_out_behind_a_name_is_no_value(before: str) -> None:
    """Neither as a word, nor as a line."""
    text = before + left_out(" " * 1_234)

    assert PERSONAL.text(text) == text


@pytest.mark.parametrize(
    "before", ['"password": "', "Cookie: a; ", "--db-password '", PEM]
)
def test_what_was_left_out_behind_the_half_of_a_value_is_said(before: str) -> None:
    """It is not the other half."""
    said = left_out(" " * 1_234)

    found = PERSONAL.text(before + "correct " + said)

    assert found.endswith(said)
    assert "correct" not in found


@pytest.mark.parametrize(
    ("form", "filler"),
    [
        ('[("a", "b"), ("password",%sb"hunter2")]', " "),
        ('{"name": "password", "value":%srb\\"hunter2\\"}', "\t"),
        ('password=%sb"hunter2"', " "),
        ('password=%s"""hunter2"""', " "),
        ('password=%s\\"hunter2\\"', "\\"),
        ('password="%s\\\\"hunter2"', "z"),
        ('password=\\"%s\\\\"hunter2\\"', "z"),
        ('cookie: %s=\\\\"hunter2"', "z"),
        ("password=%s(\\'hunter2\\')", "z"),
    ],
)
def test_c1_a_value_that_is_sought_to_a_bound_is_known_or_left_out(
    form: str, filler: str
) -> None:
    """Wherever the bound is: what is before a quote may look like no value."""
    bound = LEAST * 200
    cuts = set()
    for count in range(bound - 900, bound + 50):  # the name has cost a few steps
        text = form % (filler * count) + " the fox" * 9
        _, low, heads, until = heads_in(text, text.lower(), Budget())

        whole = replace(text, name_spans(text, low, heads, until, len(text)), _mark)
        found = replace(text, name_spans(text, low, heads, until, 0), _mark)

        assert "hunter2" not in whole
        assert "hunter2" not in found
        cuts.add(found.endswith(LEFT_OUT))
    assert cuts == {False, True}


def _mark(_: str) -> str:
    return "x"
