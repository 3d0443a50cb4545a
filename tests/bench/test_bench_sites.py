"""What is measured is what is meant: call sites that differ, and peers alone."""

from __future__ import annotations

import subprocess
import sys
import traceback
from typing import TYPE_CHECKING

import pytest

from bench.adapters import PEERS
from bench.harness import ROOT
from bench.scenarios import all_scenarios
from bench.sites import make_sites

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("frames", [3, 10, 100])
def test_each_site_fails_from_frames_of_its_own(tmp_path: Path, frames: int) -> None:
    """
    As many frames as asked for, none of them another site's, and their lines are found.
    """
    sites = make_sites(str(tmp_path), 3, frames)
    seen = []
    for fail in sites:
        summary = traceback.extract_tb(fail().__traceback__)
        assert len(summary) == frames
        assert all(frame.line for frame in summary)
        seen.append({(frame.filename, frame.lineno) for frame in summary[1:]})

    assert len(set.union(*seen)) == 3 * (frames - 1)


def test_a_site_may_raise_a_chain(tmp_path: Path) -> None:
    """
    Four exceptions, each from the one before, out of ten frames.
    """
    (fail,) = make_sites(str(tmp_path), 1, 10, chained=3)
    error: BaseException | None = fail()
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__

    assert len(chain) == 4
    text = "".join(traceback.format_exception(chain[0]))
    assert len({line for line in text.splitlines() if line.startswith("  File")}) >= 10


def test_the_process_of_a_peer_does_not_hold_our_modules() -> None:
    """
    What our import does to a process (hooks at a fork, say) is no peer's burden.
    """
    names = [s.name for s in all_scenarios() if set(s.measurements) & set(PEERS)]
    program = (
        "import sys\n"
        "from bench.scenarios import find_scenario\n"
        f"for name in {names!r}: find_scenario(name)\n"
        "print([m for m in sys.modules if m.partition('.')[0] == 'tokenpak'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )

    assert len(names) > 5
    assert done.stdout.strip() == "[]"
