"""What is opened to count is closed, also where it is of no use."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import pytest

from tokenpak.telemetry.metrics import saved
from tokenpak.telemetry.store import totals
from tokenpak.telemetry.store.files import OsFiles


def opened_below(directory: Path) -> list[str]:
    """Return what this process has open there; other threads open and close, too."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return [path for path in found if path.startswith(f"{directory}/")]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_what_cannot_be_given_to_its_owner_costs_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is asked each quarter of a minute would have none left in a day."""

    def give(_fd: int, directory: str) -> None:
        raise FileNotFoundError(errno.ENOENT, "was deleted meanwhile", directory)

    for module in saved, totals:
        monkeypatch.setattr(module, "give_to_owner", give)
    counts = saved.SavedCounts(str(tmp_path))

    with counts.locked(0) as held:
        assert not held
    with pytest.raises(FileNotFoundError):
        totals.Totals(OsFiles(), str(tmp_path)).fold([], ended=True)

    assert opened_below(tmp_path) == []
    with open(tmp_path / "any", "wb"):
        assert opened_below(tmp_path) == [str(tmp_path / "any")]
    assert not counts.descriptors
