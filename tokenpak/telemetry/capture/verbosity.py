"""
Which encoder a logger has: the usual one, unless its settings ask for more or less.

What is needed for more is imported then, and the usual hot path knows nothing of it.
"""

from __future__ import annotations

from typing import NamedTuple

from tokenpak.telemetry.capture.encode import Encoder
from tokenpak.telemetry.capture.parts import NO_BOUNDS, Parts
from tokenpak.telemetry.capture.privacy.redactor import Redactor
from tokenpak.telemetry.settings import Settings


class Verbosity(NamedTuple):
    """What is asked for beyond, or short of, the usual; see OPTIONS."""

    parts: Parts = NO_BOUNDS
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    frames: int = 0
    fields: tuple[str, ...] = ()


def make_encoder(settings: Settings, redactor: Redactor) -> Encoder:
    """Return the encoder for *settings*."""
    wanted = Verbosity(
        Parts(
            settings.max_message_bytes,
            settings.max_stack_bytes,
            settings.max_context_bytes,
        ),
        settings.context_allow,
        settings.context_deny,
        settings.locals_frames,
        settings.fields,
    )
    limit, facts = settings.max_line_bytes, settings.exception_facts
    if wanted == Verbosity():
        return Encoder(limit, facts=facts, redactor=redactor)
    from tokenpak.telemetry.capture.verbose import VerboseEncoder  # noqa: PLC0415

    return VerboseEncoder(limit, wanted, facts=facts, redactor=redactor)


__all__ = ["Verbosity", "make_encoder"]
