"""The audit finds what it is there to find; else its zeros would mean nothing."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from bench.ledger import Acks, Ledger, Verdict, count_lines

if TYPE_CHECKING:
    from pathlib import Path


def line(request_id: str) -> str:
    """
    Return a line of the log.
    """
    record = {"timestamp": "2026-03-24T17:35:22.123456Z", "request_id": request_id}
    return json.dumps(record, separators=(",", ":")) + "\n"


def audit(tmp_path: Path, text: str, acked: int) -> Verdict:
    """
    Audit a log that holds *text*, where *acked* records of series ``a`` are expected.
    """
    (tmp_path / "errors-2026-03-24.jsonl").write_text(text)
    ledger = Ledger()
    ledger.expect("a", acked)
    return ledger.audit(str(tmp_path))


def test_a_log_with_each_record_once_is_clean(tmp_path: Path) -> None:
    """
    What is acknowledged, once and in order, and the one under way: nothing to say.
    """
    text = "".join(line(f"a:{n}") for n in (1, 2, 3, 4))

    assert audit(tmp_path, text, acked=3) == Verdict(accepted=3)


@pytest.mark.parametrize(
    ("text", "fate"),
    [
        (line("a:1") + line("a:3"), "lost"),
        (line("a:1") + line("a:2"), "lost"),
        (line("a:1") + line("a:2") + line("a:3") + line("a:2"), "doubled"),
        (line("a:2") + line("a:1") + line("a:3"), "misordered"),
        (line("a:1") + '{"timestamp":"20' + line("a:2") + line("a:3"), "merged"),
        (line("a:1") + line("a:2") + line("a:3") + '{"timest\n', "torn"),
        ("".join(line(f"a:{n}") for n in (1, 2, 3, 5)), "unexpected"),
        ("".join(line(f"a:{n}") for n in (1, 2, 3)) + line("b:1"), "unexpected"),
        ("".join(line(f"a:{n}") for n in (1, 2, 3)) + "[1]\n", "unexpected"),
    ],
)
def test_each_kind_of_damage_is_counted(tmp_path: Path, text: str, fate: str) -> None:
    """
    One thing is wrong in each log, and it is found under its name.
    """
    verdict = audit(tmp_path, text, acked=3)

    assert verdict.figures()[fate] == 1


def test_the_log_of_one_series_may_be_in_several_files(tmp_path: Path) -> None:
    """
    Days are read one after the other, so a series that goes on at midnight is whole.
    """
    (tmp_path / "errors-2026-03-25.jsonl").write_text(line("a:3"))

    assert audit(tmp_path, line("a:1") + line("a:2"), acked=3) == Verdict(accepted=3)


def test_verdicts_add_up() -> None:
    """
    A block of children with a loss is not hidden by one without.
    """
    total = Verdict(accepted=5, torn=1)
    total.add(Verdict(accepted=7, lost=2))

    assert total == Verdict(accepted=12, lost=2, torn=1)


def test_an_acknowledgement_outlives_its_process() -> None:
    """
    What a child stored before it died at once is what its parent reads.
    """
    acks = Acks(3)
    pid = os.fork()
    if not pid:
        acks.counts[2] = 2**40
        os._exit(0)
    os.waitpid(pid, 0)

    assert list(acks.counts[:3]) == [0, 0, 2**40]


def test_only_whole_lines_of_log_files_are_counted(tmp_path: Path) -> None:
    """
    A torn tail is no line, and other files are no log.
    """
    (tmp_path / "errors-2026-03-24.jsonl").write_bytes(b"1\n2\n3")
    (tmp_path / "notes.txt").write_bytes(b"1\n")

    assert count_lines(str(tmp_path)) == 2
