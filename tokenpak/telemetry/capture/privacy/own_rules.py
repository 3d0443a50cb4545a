"""Whether the rules of redaction that an application brings along can be used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tokenpak.telemetry.capture.privacy.redactor import OwnRule
from tokenpak.telemetry.errors import SettingError


def checked_rules(rules: Mapping[str, OwnRule] | None) -> dict[str, OwnRule]:
    """
    Return *rules*, by name; None: there are none.

    Raises:
        SettingError: a name or a rule cannot be used.

    """
    given: Mapping[Any, Any] = rules or {}
    for name, rule in given.items():
        if not isinstance(name, str) or not re.fullmatch("[a-z0-9_]+", name):
            expected = "rules with names of lower-case letters, digits and _"
            raise SettingError("redaction_rules", name, expected)
        if isinstance(rule, str):
            try:
                re.compile(rule)
            except re.error as error:
                expected = f"a regular expression that compiles ({error})"
                raise SettingError("redaction_rules", rule, expected) from None
        elif not isinstance(rule, re.Pattern) and not callable(rule):
            expected = "regular expressions or functions"
            raise SettingError("redaction_rules", rule, expected)
    return dict(given)


__all__ = ["checked_rules"]
