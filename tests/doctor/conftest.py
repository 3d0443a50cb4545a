"""What all tests of the doctor need."""

from __future__ import annotations

import pytest

from tokenpak.telemetry.doctor import probe


@pytest.fixture(autouse=True)
def _child_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is asked is tested, not how soon it answers on a busy machine."""
    monkeypatch.setattr(probe, "_PATIENCE", 240.0)
