"""
The demo: real processes, real failures, real kills, and an account of every record.

``server`` fails as LLM providers do, ``client`` turns its answers into exceptions,
``workers`` log them and acknowledge each accepted record in ``acks``, ``run`` kills
some of the workers and compares the log with the acknowledgements, ``report`` puts
the result into words.  Nothing here is needed to log.
"""

from __future__ import annotations

from typing import Final

MAX_WORKERS: Final = 64
MAX_SECONDS: Final = 600.0

__all__ = ["MAX_SECONDS", "MAX_WORKERS"]
