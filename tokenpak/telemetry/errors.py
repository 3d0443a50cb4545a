"""
The exceptions that this package raises, all at construction or on the command line.

A logging call never raises (C1).  Each class derives from the builtin that a caller
would catch anyway, carries its facts as attributes, and survives pickling.
"""

from __future__ import annotations


class TelemetryError(Exception):
    """The root of all exceptions of this package."""


class SettingError(TelemetryError, ValueError):
    """
    A setting has a value that cannot be used.

    Attributes:
        setting: the name of the setting.
        value: what was given.
        expected: what would have been right, in words.

    """

    def __init__(self, setting: str, value: object, expected: str) -> None:
        super().__init__(setting, value, expected)
        self.setting = setting
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.setting}={self.value!r}: expected {self.expected}"


class SpoolError(TelemetryError, OSError):
    """
    A file is not a spool, or one of another version.

    Attributes:
        path: the file.
        reason: what is wrong with it.

    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


__all__ = ["SettingError", "SpoolError", "TelemetryError"]
