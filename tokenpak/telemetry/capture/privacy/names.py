r"""
Secrets that have no form of their own, and are known by their name.

    password=hunter2    "api_key": "…"    Cookie: a=b; c=d    \"token\": \"…\"

A name is followed by at most quotes, brackets and blanks, and then by ``:`` or ``=``.
Each has a *word* that is sought first, because to look for a word is quick.  Names are
compared in lower case, and ``api_key`` is also ``api-key``, ``api.key`` and ``apiKey``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tokenpak.telemetry.capture.privacy.rule import compiled, skeleton

_BEFORE_KEY: Final = (
    "access",
    "account",
    "admin",
    "anthropic",
    "api",
    "app",
    "auth",
    "azure",
    "cohere",
    "encryption",
    "functions",
    "gemini",
    "license",
    "master",
    "mistral",
    "openai",
    "private",
    "secret",
    "service",
    "shared",
    "signing",
    "storage",
    "subscription",
    "webhook",
)
_BEFORE_PASS: Final = (
    "admin",
    "db",
    "ftp",
    "ldap",
    "login",
    "mail",
    "mysql",
    "proxy",
    "redis",
    "root",
    "smtp",
    "sudo",
    "user",
)
"""Before ``pass`` without anything between: it is also the end of ``compass``."""
_BEFORE_PLACE: Final = ("continuation", "next", "page", "starting")
"""Before ``token``: where the next page of a list begins, ``next_page_token``."""
_BLANK: Final = r"""["'\]\) \t\r\n\\]*+"""
_GAP_ANY: Final = (
    # What may come next: most often nothing of it does, and that is told quickly.
    rf"{_BLANK}(?=[%=:,]|(?<=\\)[abfnrtv])"
    rf"(?:[abfnrtv%](?:(?<=%)2[027]|(?<=\\[abfnrtv])){_BLANK})*+"
)
"""Between name and sign, in a text that was encoded as JSON once more."""
# Not more of them: each takes as long as a word, and a word is paid for.
_GAP: Final = _GAP_ANY.removesuffix("*+") + "{0,8}+"
"""Between name and sign, also in JSON inside JSON, or in the repr of a text."""
_SIGN: Final = (
    r"(?:={1,3}>?|:(?!//)=?|%3[ad]"
    r"|,(?<=[\"'],)(?=(?:[ \t]|\\++t)*+b?\\*[\"']))"
)
"""Also in a URL inside a URL, and in ``[("cookie", "…")]``: headers as pairs."""
_NUMBER: Final = r"(?:[_-]?[0-9]{1,2})?+"
"""One of several: ``OPENAI_API_KEY_2``."""
_HASHED: Final = "(?:[_-]?(?:hash|digest))?+"
"""Of a password: who has it can try passwords by the million in a second."""
_NEXT: Final = r"(?=[\"'\]\) \t\r\n\\:=%0-9_-])"
"""What may come next: a look that spares it longer ones."""


class Name(NamedTuple):
    """
    A group of names.

    Attributes:
        word: one that is in all of them.
        pattern: from there to the name's end.
        names: for the reader of the docs.
        weak: whether it is also a word of everyday life: ``Unexpected token: else``.
        whole: whether the value goes on to the end of the line: a header.
        traces: what is left of the names in a skeleton.
        sign: what a text with one of them must have.

    """

    word: str
    pattern: str
    names: str
    traces: tuple[str, ...]
    weak: bool = False
    whole: bool = False
    sign: str = ""

    @property
    def head(self) -> str:
        """The name and the sign after it."""
        return f"(?:{self.pattern}){_GAP}{_SIGN}"

    @property
    def encoded(self) -> str:
        """Both in a text that was encoded: each tab and line end is an escape."""
        return f"(?:{self.pattern}){_GAP_ANY}{_SIGN}"

    @property
    def trace(self) -> str:
        """What is left of both in a skeleton, or more."""
        names = "|".join(self.traces)
        return rf"(?:{names})[_-]?+{_GAP_ANY}(?:[:=%]|(?<=[\"']),)"


def _word(word: str) -> str:
    r"""Return a look back: *word* is not the end of another; ``\n`` is an escape."""
    return (
        rf"(?>(?<![a-z]{word})|(?<=\\[abfnrtv]{word})"
        rf"|(?<=\\x[0-9a-f]{{2}}{word})|(?<=\\u[0-9a-f]{{4}}{word}))"
    )


def _keys() -> str:
    lengths = sorted({len(word) for word in _BEFORE_KEY})
    letters = "".join(sorted({word[-1] for word in _BEFORE_KEY}))
    ends = sorted({word[-3:] for word in _BEFORE_KEY})
    kinds = []
    for between in ("", "[-_. ]"):
        looks = [
            f"(?<={'|'.join(f'{w}{between}key' for w in _BEFORE_KEY if len(w) == n)})"
            for n in lengths
        ]
        # The looks at the last letters spare it most of the others: each costs.
        last = "|".join(f"{end}{between}key" for end in ends)
        first = f"(?<=[{letters}]{between}key)(?<={last})"
        kinds.append(f"{first}(?:{'|'.join(looks)})")
    return rf"key{_NEXT}(?>(?:{'|'.join(kinds)}){_NUMBER}|(?<=[?&;]key)(?==))"


def _tokens() -> str:
    """Return a pattern for ``token``, unless it says where a list goes on."""
    none = "".join(f"(?<!{word}token)(?<!{word}[-_.]token)" for word in _BEFORE_PLACE)
    # The one look at the letter before spares it most of the others.
    last = "".join(sorted({word[-1] for word in _BEFORE_PLACE}))
    return rf"token{_NEXT}(?>(?<![{last}_.-]token)|{none}){_NUMBER}"


def _pass() -> str:
    """Return a pattern for what follows ``pass``, a word or glued to one before it."""
    looks = "|".join(f"(?<={word}pass)" for word in _BEFORE_PASS)
    # As in _keys(): a text full of ``compass`` has most of them for nothing.
    letters = "".join(sorted({word[-1] for word in _BEFORE_PASS}))
    ends = "|".join(sorted({f"{word[-2:]}pass" for word in _BEFORE_PASS}))
    glued = f"(?<=[{letters}]pass)(?<={ends})(?:{looks})"
    return rf"{_NEXT}(?:{_word('pass')}|{glued}){_HASHED}"


_HASHES: Final = "|".join(map(skeleton, ("hash", "digest")))
_HASHED_TRACE: Final = f"(?:[_-]{{0,2}}(?:{_HASHES}))?+"
"""One sign more: there may be a number between both, which leaves no trace."""

NAMES: Final = (
    Name(
        "pass",
        rf"pass(?>(?:word|wd|phrase|code)s?{_NUMBER}{_HASHED}|{_pass()})",
        "`password`, `passwd`, `passphrase`, `passcode`, `pass`; `…pass`, where … is "
        + ", ".join(f"`{word}`" for word in _BEFORE_PASS)
        + "; these with `_hash` or `_digest`",
        (skeleton("pass") + r"(?:wor|w|phrs|o|)s?" + _HASHED_TRACE,),
    ),
    Name(
        "pwd",
        f"pwd{_NUMBER}{_HASHED}",
        "`pwd`, `pwd_hash`",
        (skeleton("pwd") + _HASHED_TRACE,),
    ),
    Name(
        "secret",
        f"secrets?{_NUMBER}",
        "`secret`, `…_secret`",
        (skeleton("secret") + "s?",),
    ),
    Name(
        "token",
        _tokens(),
        "`token`, `…_token`; but not where … is "
        + ", ".join(f"`{word}`" for word in _BEFORE_PLACE),
        (skeleton("token"),),
        weak=True,
    ),
    Name(
        "key",
        _keys(),
        "`…_key`, where … is "
        + ", ".join(f"`{word}`" for word in _BEFORE_KEY)
        + "; `?key=`",
        # With what is before it, or ``"cache_key":`` would be one.
        (
            *dict.fromkeys(skeleton(word) + "[-_. ]?ky" for word in _BEFORE_KEY),
            "[?&;]ky",
        ),
    ),
    Name(
        "auth",
        r"auth(?>orization|(?=\\*[\"'])|(?<=[?&;]auth))",
        "`authorization`, `proxy-authorization`, `auth`",
        (skeleton("authorization"), skeleton("auth")),
        whole=True,
    ),
    Name(
        "cookie",
        "cookies?",
        "`cookie`, `set-cookie`",
        (skeleton("cookie") + "s?",),
        whole=True,
    ),
    Name(
        "credential",
        "credentials?",
        "`credential`, `credentials`",
        (skeleton("credential") + "s?",),
        weak=True,
    ),
    Name("jwt", rf"jwt{_word('jwt')}", "`jwt`", ("jwt",), weak=True),
    Name(
        "sig",
        r"sig(?:nature(?==)|(?<=[?&;]sig)(?==))",
        "`signature=`, `?sig=`",
        (skeleton("signature"), "sig"),
        sign="=",
    ),
    Name(
        "sess",
        r"sess(?:ion)?id(?==)",
        "`sessionid=`, `PHPSESSID=`, `JSESSIONID=`",
        (skeleton("sessid"), skeleton("sessionid")),
        sign="id=",
    ),
)

_BEHIND: Final = ":*"
"""What may be behind a name in a key and is none of it."""
_LOWERED: Final = b"?" + bytes(range(1, 256)).lower().replace(b"?", b"\x7f")
"""What is not ASCII is a question mark after it has been encoded, and a question mark
was a null before."""
_known: dict[str, bool] = {}
_MAX_KNOWN: Final = 2_000


def lowered(text: str) -> str:
    """
    Return *text* with a to z for A to Z, to look for names.

    What is not ASCII is no part of one.  There is another character in its place, one
    for one: to search a text of wide characters takes twice as long.
    """
    if text.isascii():
        return text.lower()
    # Not by lower(), which makes two characters of some, and of the Kelvin sign a k.
    text = text.replace("\0", "\x7f").replace("?", "\0")
    data = text.encode("ascii", errors="replace")
    return data.translate(_LOWERED).decode("ascii")


def is_secret_name(key: str) -> Name | None:
    """Return whose name the context key *key* is, or ends in; None: it is harmless."""
    known = _known.get(key)
    if known is False:
        return None
    text = lowered(key)
    if text[-1:] == ")":  # ('db', 'password')
        text = text.rstrip("'\",)")
    elif text[-1:] in _BEHIND:
        text = text[:-1]
    # As it would be found in JSON.
    text += '":'
    for name in NAMES:
        if name.word in text:
            for match in compiled(name.head).finditer(text):
                if match.end() == len(text):
                    return name
    if len(_known) >= _MAX_KNOWN:
        _known.clear()
    if len(key) <= 100:
        _known[key] = False
    return None


__all__ = ["NAMES", "Name", "is_secret_name", "lowered"]
