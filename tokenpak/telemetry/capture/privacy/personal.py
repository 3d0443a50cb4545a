"""
Personal data: for the setting ``redact="personal"``, beside the credentials.

E-mail addresses are not sought by an expression that begins with what comes before the
``@``: of a long text without one it would try each end from each beginning.  What is
found of numbers is taken as a whole, once, and then looked at by its digits.

Imported where the setting asks for it alone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from tokenpak.telemetry.capture.privacy.rule import Rule, compiled

_HARMLESS_IPS: Final = frozenset({"127.0.0.1", "0.0.0.0", "255.255.255.255"})  # noqa: S104
_LONGEST_CARD: Final = 40
"""Digits and signs; what is longer is replaced without being looked at."""


def is_card(text: str) -> bool:
    """Return whether digits at the boundaries of *text*'s groups are a card number."""
    if len(text) > _LONGEST_CARD:
        return not text.isdecimal()  # one long number is no card
    groups = text.replace("-", " ").split(" ")
    return any(
        13 <= len(digits := "".join(groups[first:last])) <= 19 and luhn(digits)
        for first in range(len(groups))
        for last in range(first + 1, len(groups) + 1)
    )


def luhn(digits: str) -> bool:
    """Return whether the last of *digits* is the right check digit (ISO/IEC 7812)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0 and digits.strip("0") != ""


def is_ipv4(text: str) -> bool:
    """Return whether *text*, digits and points, is the address of another machine."""
    if len(text) > 15 or text in _HARMLESS_IPS:
        return False
    parts = text.split(".")
    return len(parts) == 4 and all(len(p) <= 3 and int(p) <= 255 for p in parts)


def is_ipv6(text: str) -> bool:
    """Return whether *text*, of hex digits, colons and points, is an address."""
    if len(text) > 45 or text.count(":") < 2 or text in {"::", "::1"}:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


_LOCAL: Final = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-'!#$&*/=?^`{|}~"
)

PERSONAL: Final = (
    Rule(
        "email",
        "e-mail addresses",
        ("@",),
        # From the sign on; what is before it is at most 64 characters long.
        r"@(?<=[A-Za-z0-9_%+-]@)[A-Za-z0-9][A-Za-z0-9-]{0,62}"
        r"(?:\.[A-Za-z0-9-]{1,63}){1,8}",
        "https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1",
        before=_LOCAL,
    ),
    Rule(
        "card_number",
        "card numbers of 13 to 19 digits whose check digit is right",
        (),
        r"[0-9](?<![0-9A-Za-z][0-9])(?:[ -]?[0-9]){12,}(?![0-9A-Za-z])",
        "https://www.iso.org/standard/70484.html",
        check=is_card,
    ),
    Rule(
        "phone_number",
        "telephone numbers with `+`",
        ("+",),
        r"\+[0-9](?:[ ().-]{0,2}[0-9]){6,14}",
        "https://www.itu.int/rec/T-REC-E.164",
    ),
    Rule(
        "phone_number",
        "those of North America: three, three and four digits",
        (),
        r"[2-9](?<![0-9A-Za-z.+-][2-9])[0-9]{2}\)?[ .-][2-9][0-9]{2}[ .-][0-9]{4}"
        r"(?![0-9A-Za-z-])",
        "https://nationalnanpa.com/about_us/abt_nanp.html",
    ),
    Rule(
        "ip_address",
        "IP addresses, but for those that mean the machine itself",
        (),
        r"[0-9](?<![0-9A-Za-z.][0-9])(?:\.?[0-9]){3,}(?![A-Za-z])",
        "https://www.rfc-editor.org/rfc/rfc791",
        check=is_ipv4,
    ),
    Rule(
        "ip_address",
        "the same, version 6",
        (":",),
        r"[0-9A-Fa-f:](?<![0-9A-Za-z:.][0-9A-Fa-f:])[0-9A-Fa-f:.]+(?<![:.])",
        "https://www.rfc-editor.org/rfc/rfc4291#section-2.2",
        check=is_ipv6,
        inside=True,
    ),
)


_DIGITS: Final = b"0123456789"


def personal_in(text: str) -> list[Rule]:
    """Return the rules that might find something in *text*."""
    data = text.encode(errors="replace")
    digits = len(data) - len(data.translate(None, _DIGITS))
    return [
        rule
        for rule, possible in zip(
            PERSONAL,
            (
                "@" in text,
                digits >= 13,
                digits >= 7 and "+" in text,
                digits >= 10,
                digits >= 4 and "." in text,
                "::" in text or text.count(":") >= 7,
            ),
            strict=True,
        )
        if possible
    ]


def may_be_personal(text: str) -> bool:
    """Return whether *text*, encoded JSON, may hold personal data."""
    return any(
        any(rule.check is None or rule.check(found[0]) for found in finds(rule, text))
        for rule in personal_in(text)
    )


def finds(rule: Rule, text: str) -> Iterator[re.Match[str]]:
    """Return what the pattern of *rule* finds."""
    return compiled(rule.pattern).finditer(text)


__all__ = ["PERSONAL", "may_be_personal", "personal_in"]
