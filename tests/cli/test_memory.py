"""What a command has freed it uses again, and looks for no garbage meanwhile."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tokenpak.cli import main, memory
from tokenpak.cli.memory import keep_freed_memory

PROGRAM = """
import resource
from tokenpak.cli.memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def use_and_free():
    day = [bytes(1) * size for size in range(100_000, 1_000_000, 50_000)]
    return sum(map(len, day))

kept = keep_freed_memory()
size = use_and_free()
before = faults()
for _ in range(5):
    use_and_free()
print(kept, 5 * size // 4096, faults() - before)
"""


def _is_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, ValueError):
        return False


@pytest.mark.skipif(not _is_glibc(), reason="others keep it, or not, as they like")
def test_what_is_freed_is_used_again_without_a_page_fault() -> None:
    """In a process of its own, since it is for good."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
    )
    kept, pages, faults = done.stdout.split()

    assert kept == "True"
    assert int(faults) < int(pages) / 10


def note_what_is_tuned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    tuned: list[str] = []
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: tuned.append("heap"))
    monkeypatch.setattr(gc, "freeze", lambda: tuned.append("garbage"))
    return tuned


def test_a_program_that_calls_an_export_goes_on_with_its_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its garbage is found afterwards, and its heap is its own business."""
    tuned = note_what_is_tuned(monkeypatch)
    words = ["telemetry", "export", "--log-dir", str(tmp_path)]
    assert gc.isenabled()

    for odd in ((), ("--fields", "a,a")):
        CliRunner().invoke(main, [*words, *odd])

        assert gc.isenabled()
    assert tuned == []


def test_a_command_of_its_own_process_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes its arguments from the process, and ends it."""
    tuned = note_what_is_tuned(monkeypatch)
    words = ["tokenpak", "telemetry", "export", "--log-dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*words, "--output", str(tmp_path / "out")])

    main(standalone_mode=False)
    assert tuned == []
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 0
    assert tuned == ["garbage", "heap"]


def test_where_there_is_no_glibc_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the system says to the question."""

    def unknown(_name: str) -> str:
        raise ValueError("unrecognized configuration name")

    for answer in (lambda _name: "", unknown):
        monkeypatch.setattr(os, "confstr", answer)

        assert keep_freed_memory() is False
