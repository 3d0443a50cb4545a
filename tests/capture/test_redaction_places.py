"""What only a context knows for a secret, and the source lines of a stack."""

from __future__ import annotations

import re
import traceback
from typing import Any, NamedTuple

import orjson
import pytest

from tests.capture.secrets_corpus import SECRETS, Secret
from tests.capture.strict_line import raised_by
from tests.capture.test_redaction_corpus import encoder, redactor


class Named(NamedTuple):
    password: str


@pytest.mark.parametrize(
    "context",
    [
        {"env": [{"value": "hunter17", "name": "DB_PASSWORD"}]},
        {"env": [{"value": "hunter17", "name": "DB_PASSWORD", "secure": True}]},
        {"env": [{"name": "DB_PASSWORD", "secure": True, "value": "hunter17"}]},
        {"value": "hunter17", "key": "api_key_2"},
        {"name": "token", "value": ["hunter17"]},
        {"password*": "hunter17"},
        {"API key*": "hunter17"},
        {"secret:": "hunter17"},
        {("db", "password"): "hunter17"},
        {b"password": "hunter17"},
        {"x": Named("hunter17")},
        {"args": ("mysql", "--password", "hunter17")},
        {"headers": [[b"cookie", b"hunter17"]]},
    ],
    ids=str,
)
def test_what_only_a_context_knows_for_a_secret_is_hidden_at_any_time(
    context: dict[Any, Any],
) -> None:
    """Also by the quick look, which sees the context as one text."""
    known = encoder()
    for _ in range(4):
        assert b"hunter17" not in known.event("e", "req", context)
        assert b"hunter17" not in known.error("req", ValueError("x"), context)


def _first(token: str, password: str, api_key: str, deep: int) -> None:
    if not deep:
        raise [ValueError, NameError][len(token) % 2]("no")
    _second(token=token, password=password, api_key=api_key, deep=deep - 1)


def _second(token: str, password: str, api_key: str, deep: int) -> None:
    _first(token=token, password=password, api_key=api_key, deep=deep)


@pytest.mark.parametrize("token", ["by hand", "by traceback"], ids=["known", "slow"])
def test_c3_a_deep_stack_is_whole_whatever_its_lines_are_called(token: str) -> None:
    """Three hundred names in its source lines; in a message they would end it."""
    known = encoder()
    for _ in range(2):
        error = raised_by(_first, token, "p", "k", 50)
        stack = orjson.loads(known.error("req", error, {}))["stack_trace"]
        assert stack == "".join(traceback.format_exception(error))
        assert stack.count("password=password") == 100


def test_c3_a_secret_in_a_deep_stack_is_hidden_and_nothing_else() -> None:
    """Also by own rules, which see the stack as a whole."""
    frame = '  File "/a/b.py", line 3, in f\n    f(password=word, token=self.token)\n'
    stack = frame * 300 + frame.replace("word,", "'hunter2',") + frame * 300
    known = redactor(own={"two_lines": r"in f\n    f"})

    found = known.frames(stack)

    hidden = r"\[redacted:two_lines:[0-9a-f]{8}\]"
    assert len(re.findall(hidden, found)) == 601
    found = re.sub(hidden, "in f\n    f", found)
    mark = redactor().text("password='hunter2'")[10:-1]
    assert found == stack.replace("hunter2", mark)


@pytest.mark.parametrize("margin", ["", "  | ", "    |   | "])
def test_c3_further_lines_of_a_source_line_are_source_lines(margin: str) -> None:
    """Python 3.13 prints several of a call that goes over several."""
    text = "".join(
        f"{margin}{line}\n"
        for line in (
            '  File "/a/b.py", line 3, in f',
            '    return connect(host="h",',
            "                   ^^^^^^^^^",
            "        password=self.password, api_key=self.token)",
            "    ...<2 lines>...",
            '  File "/a/b.py", line 9, in g',
            '    run("""',
            "        password=hunter2",
            '    """)',
            "ValueError: no",
            "    password=self.password",
        )
    )
    hidden = redactor().text("password=self.password")
    assert hidden != "password=self.password"

    found = redactor().trace(text, 100_000)

    assert found == text.replace(
        "password=hunter2", redactor().text("password=hunter2")
    ).replace(f"{margin}    password=self.password\n", f"{margin}    {hidden}\n")


@pytest.mark.parametrize(
    "before", ["Bearer ", "Authorization: Bearer \r\n", "no bearer\n", "BEARER%20"]
)
@pytest.mark.parametrize(
    "known",
    [known for known in SECRETS if known.rule == "named_secret"],
    ids=lambda known: known.text[:16],
)
def test_a_secrets_name_behind_bearer_is_no_token(known: Secret, before: str) -> None:
    """Its mark would take the name away, and leave the value where it is."""
    assert known.secret not in redactor().text(before + known.text)


def test_a_token_that_has_a_sign_behind_it_is_one() -> None:
    """What it is padded with, the quote of JSON, or a colon of a sentence."""
    for token in "dGVzdGluZzEyMzQ1Ng==", "aB3dEf5hIjKlMnOp":
        for behind in "", "'", '", "x": 1', ": refused", "=", " = 1":
            assert token not in redactor().text(f"Bearer {token}{behind}")
    assert "AdminToken" not in redactor().text("Bearer AdminToken\n")


@pytest.mark.parametrize(
    "behind", [": denied", "=", "%3A+hunter2", '": "hunter2"', "://x", "=hunter2"]
)
@pytest.mark.parametrize(
    ("token", "name"),
    [
        ("correct-horse-7-", "password"),
        ("aB3dEf5hIjKlMnOp+", "api_key"),
        ("aB3dEf5hIjKlMnOp", "AccessKey"),
        ("aB3dEf5hIjKlMnOp.", "password-digest"),
        ("aB3dEf5hIjKlMnOp~", "client_secret_2"),
        ("my-Production-", "token"),
        ("aB3dEf5hIj7", "jwt"),
    ],
)
def test_a_token_that_ends_in_a_secrets_name_is_hidden(
    token: str, name: str, behind: str
) -> None:
    """And so is what may be the value of that."""
    for before in "Bearer ", "bearer%20", "Bearer+", "no bearer\t":
        found = redactor().text(f"{before}{token}{name}{behind}")

        assert token[-8:] not in found
        assert "hunter2" not in found


@pytest.mark.parametrize("before", ["Bearer \r\n", "Bearer \\r\\n", "bearer\n\n"])
def test_the_next_headers_name_is_whole(before: str) -> None:
    """It is on a line of its own: where the token is empty, it comes next."""
    for name in "X-Api-Key", "Set-Cookie", "OAUTH2_CLIENT_SECRET", "API_KEY_2":
        found = redactor().text(f"{before}{name}: hunter2")

        assert found.startswith(f"{before}{name}: [redacted:named_secret:")
