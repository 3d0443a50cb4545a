"""A verification reports each kind of damage with its place, and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.queue.rig import make_line
from tests.queue.test_recovery import make_orphan
from tests.read.log_making import (
    as_lines,
    make_record,
    make_records,
    read_all,
    write_log,
)
from tests.read.test_damage import EDITS, damage, record_of
from tokenpak.telemetry.queue.recovery import recover
from tokenpak.telemetry.read import Finding, MalformedLine, Verification, scan
from tokenpak.telemetry.read.strays import find_strays
from tokenpak.telemetry.store.files import OsFiles
from tokenpak.telemetry.store.held_locks import HeldLocks
from tokenpak.telemetry.store.spool import SpoolFile


@pytest.fixture
def nobody_appends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is to be waited for: no process is in the middle of a line."""
    monkeypatch.setattr(scan, "_PAUSE", 0)


def find(log_dir: Path, *, exposed: bool = False) -> list[Finding]:
    """Return the findings; the modes of the tests' own files are no matter."""
    found = Verification(log_dir)
    return [f for f in found if exposed or f.kind != "exposed"]


def kinds(log_dir: Path) -> list[tuple[str, str]]:
    return [(f.kind, os.path.relpath(f.file, log_dir)) for f in find(log_dir)]


def test_an_intact_log_has_no_findings(tmp_path: Path) -> None:
    """And what was read is counted: both streams, archives too."""
    write_log(tmp_path, as_lines(make_records(3)))
    write_log(tmp_path, b'{"n":1}\n', stream="events")
    write_log(tmp_path, as_lines(make_records(2)), archived=True, compressed=True)
    check = Verification(tmp_path)

    assert [f for f in check if f.kind != "exposed"] == []
    assert (check.files, check.records, check.pending) == (3, 6, 0)
    assert not check.damaged


@settings(max_examples=200)
@given(count=st.integers(1, 5), edits=EDITS)
@pytest.mark.usefixtures("nobody_appends")
def test_r1_what_a_reader_skips_is_what_is_found(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    edits: list[tuple[int, int, bytes]],
) -> None:
    """The same places, lengths and reasons, in the same order."""
    data, _ = damage(as_lines([record_of(n) for n in range(count)]), edits)
    log_dir = tmp_path_factory.mktemp("logs")
    path = write_log(log_dir, data)
    records, reports = read_all(log_dir)
    check = Verification(log_dir)

    found = [f for f in check if f.kind in {"malformed", "unreadable"}]

    assert found == [
        Finding("malformed", str(path), r.offset, r.length, r.reason)
        for r in reports
        if isinstance(r, MalformedLine)
    ]
    assert check.records == len(records)
    assert check.damaged == bool(reports or check.counts["misplaced"])


def test_r1_a_cut_archive_and_a_corrupt_one_are_found(tmp_path: Path) -> None:
    """With the offset in what was uncompressed to there."""
    data = as_lines([make_record(n, message=os.urandom(500).hex()) for n in range(20)])
    cut = write_log(tmp_path, data, "2026-03-24", archived=True, compressed=True)
    bad = write_log(tmp_path, data, "2026-03-25", archived=True, compressed=True)
    cut.write_bytes(cut.read_bytes()[:-3000])
    bad.write_bytes(bad.read_bytes()[:-8] + bytes(8))

    findings = [f for f in find(tmp_path) if f.kind != "misplaced"]

    assert [(f.kind, f.file, f.length) for f in findings[1:]] == [
        ("unreadable", str(cut), None),
        ("unreadable", str(bad), None),
    ]
    torn, at_cut, at_end = findings
    assert torn.kind == "malformed"
    assert torn.offset is not None
    assert torn.length is not None
    assert at_cut.offset == torn.offset + torn.length
    assert at_end.offset == len(data)
    assert at_end.reason.startswith("the archive is damaged: ")


@pytest.mark.parametrize(
    ("stamp", "day"),
    [
        ("2026-03-25T00:00:00.000000Z", "2026-03-25"),
        ("2026-03-23T23:59:59.999999Z", "2026-03-23"),
        ("2026-03-24T00:30:00+02:00", "2026-03-23"),
        ("2026-03-24T23:30:00-02:00", "2026-03-25"),
        ("2026-03-25", "2026-03-25"),
        ("2026-03-24T23:59:59.999999Z", None),
        ("2026-03-25T00:30:00+02:00", None),
        ("2026-03-24T12:00:00", None),
        ("yesterday", None),
        (17, None),
        (None, None),
    ],
)
def test_s3_a_record_in_the_file_of_another_day_is_found(
    tmp_path: Path, stamp: Any, day: str | None
) -> None:
    """By its own timestamp, in UTC; one that cannot be read says nothing."""
    first = as_lines(make_records(1))
    second = as_lines([make_record(1, timestamp=stamp)])
    path = write_log(tmp_path, first + second)

    findings = find(tmp_path)

    if day is None:
        assert findings == []
    else:
        reason = f"a record of {day}, in the file of 2026-03-24"
        assert findings == [
            Finding("misplaced", str(path), len(first), len(second) - 1, reason)
        ]
        assert findings[0].damage


@pytest.mark.parametrize("looks", [1, 5])
def test_r1_a_line_that_is_being_appended_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    """Its writer was interrupted in the middle, perhaps repeatedly; it is no damage."""
    data = as_lines(make_records(3))
    begun = len(data) - 50
    path = write_log(tmp_path, data[:begun])
    parts = [
        data[begun:][n * 50 // looks : (n + 1) * 50 // looks] for n in range(looks)
    ]

    def sleep(_seconds: float) -> None:
        with open(path, "ab") as file:
            file.write(parts.pop(0))

    monkeypatch.setattr(time, "sleep", sleep)
    check = Verification(tmp_path)

    assert [f for f in check if f.kind != "exposed"] == []
    assert check.records == 3
    assert parts == []


@pytest.mark.usefixtures("nobody_appends")
def test_r1_a_line_that_stays_unfinished_is_found(tmp_path: Path) -> None:
    """Its writer is dead."""
    data = as_lines(make_records(2))
    write_log(tmp_path, data[:-50])

    (finding,) = find(tmp_path)

    assert finding.kind == "malformed"
    assert finding.reason.startswith("unfinished: ")


def test_spools_that_wait_are_found_with_what_they_hold(tmp_path: Path) -> None:
    """Of a dead process, and of one that lives; it is no damage."""
    dead, _ = make_orphan(tmp_path, [make_line("1"), make_line("2")])
    dead.release()
    living, _ = make_orphan(tmp_path, [make_line("3")], "events")
    empty, _ = make_orphan(tmp_path, [])
    check = Verification(tmp_path)

    findings = {f.file: f for f in check if f.kind == "pending"}
    living.remove()
    empty.remove()

    assert set(findings) == {dead.path, living.path}
    assert findings[str(dead.path)].reason.startswith(
        f"2 records of errors of process {os.getpid()}"
    )
    assert findings[str(living.path)].reason == (
        f"1 record of events of process {os.getpid()}, which is alive and will append "
        "them"
    )
    assert check.pending == 3
    assert not check.damaged


@pytest.mark.parametrize(
    ("lives", "words"),
    [
        (True, "which is alive"),
        (False, "which is dead"),
        (None, "whether it lives cannot be told"),
    ],
)
def test_whether_the_owner_lives_is_told_as_far_as_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lives: bool | None, words: str
) -> None:
    """From inside a container, the locks of others are not seen."""
    make_orphan(tmp_path, [make_line("1")])[0].release()
    monkeypatch.setattr(HeldLocks, "has", lambda _self, _identity: lives)

    (finding,) = find(tmp_path)

    assert words in finding.reason


def test_an_empty_spool_is_nothing_to_tell(tmp_path: Path) -> None:
    """Each process that ends in peace leaves one, and the next deletes it."""
    make_orphan(tmp_path, [])[0].release()

    assert find(tmp_path) == []


def test_the_kernel_tells_who_holds_a_lock(tmp_path: Path) -> None:
    """Without trying to take it; None where it does not tell."""
    spool, _ = make_orphan(tmp_path, [])
    status = os.stat(str(spool.path))
    identity = status.st_dev, status.st_ino
    held = HeldLocks().has(identity)
    missing = HeldLocks(locks=str(tmp_path / "none")).has(identity)
    spool.release()

    assert held is True
    assert missing is None
    assert HeldLocks().has(identity) in {False, None}
    assert HeldLocks(namespace=str(tmp_path)).has(identity) is None


def test_r1_verifying_disturbs_no_recovery_and_changes_nothing(tmp_path: Path) -> None:
    """Whoever is at work goes on: not a lock is taken, not a byte changed."""
    # The one that lives has no writer: one that runs does its own chores in its own
    # time, and would recover what the dead one left.
    write_log(tmp_path, as_lines(make_records(1)))
    living, segment = make_orphan(tmp_path, [make_line("1")], "events")
    dead, _ = make_orphan(tmp_path, [make_line("2"), make_line("3")])
    dead.release()

    def state() -> list[tuple[str, bytes]]:
        files = (path for path in sorted(tmp_path.rglob("*")) if path.is_file())
        return [(path.name, path.read_bytes()) for path in files]

    def can_be_adopted(spool: SpoolFile) -> bool:
        adopted = SpoolFile.adopt(OsFiles(), str(spool.path))
        if adopted is not None:
            adopted.release()
        return adopted is not None

    before = state()
    during = [
        (can_be_adopted(living), can_be_adopted(dead)) for _ in Verification(tmp_path)
    ]
    after = state()
    segment.write(make_line("4"))
    recovered = recover(str(tmp_path))
    living.remove()

    assert after == before
    assert set(during) == {(False, True)}
    assert (recovered.spools, recovered.records) == (1, 2)


def test_files_that_do_not_belong_are_found(tmp_path: Path) -> None:
    """In the directory, its archive and its spools; each with a reason."""
    write_log(tmp_path, as_lines(make_records(1)))
    (tmp_path / "archive").mkdir()
    (tmp_path / "spool").mkdir(0o700)
    young = tmp_path / "spool" / ".new-errors-1.spool"
    old = tmp_path / "spool" / ".new-errors-2.spool"
    for path in (
        tmp_path / "errors-2026-03-24.jsonl.bak",
        tmp_path / "errors-2026-02-31.jsonl",
        tmp_path / "archive" / ".errors-2026-03-23.jsonl.gz.tmp",
        tmp_path / "archive" / "notes.txt",
        tmp_path / "spool" / "notes.txt",
        young,
        old,
    ):
        path.write_text("")
    os.utime(old, (1, 1))

    assert kinds(tmp_path) == [
        ("stray", "errors-2026-02-31.jsonl"),
        ("stray", "errors-2026-03-24.jsonl.bak"),
        ("stray", "archive/.errors-2026-03-23.jsonl.gz.tmp"),
        ("stray", "archive/notes.txt"),
        ("stray", "spool/.new-errors-2.spool"),
        ("stray", "spool/notes.txt"),
    ]
    assert all(finding.reason and not finding.damage for finding in find(tmp_path))


def test_s5_what_stands_where_a_file_should_be_is_damage(tmp_path: Path) -> None:
    """Symbolic links, pipes and directories are not read: their records are missing."""
    path = write_log(tmp_path, as_lines(make_records(1)))
    (tmp_path / "errors-2026-03-25.jsonl").symlink_to(path)
    os.mkfifo(tmp_path / "errors-2026-03-26.jsonl")
    (tmp_path / "errors-2026-03-27.jsonl").mkdir()
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "errors-1.spool").write_text("no spool")
    (tmp_path / "archive").write_text("no directory")

    assert kinds(tmp_path) == [
        ("unreadable", "archive"),
        ("unreadable", "errors-2026-03-25.jsonl"),
        ("unreadable", "errors-2026-03-26.jsonl"),
        ("unreadable", "errors-2026-03-27.jsonl"),
        ("unreadable", "spool/errors-1.spool"),
        ("stray", "archive"),
    ]


@pytest.mark.parametrize(
    ("mode", "group", "words"),
    [
        (0o600, False, None),
        (0o640, False, "the group may use it: mode 0640"),
        (0o644, False, "everybody may use it: mode 0644"),
        (0o660, True, None),
        (0o664, True, "everybody may use it: mode 0664"),
    ],
)
def test_s5_files_that_others_can_read_are_found(
    tmp_path: Path, mode: int, group: bool, words: str | None
) -> None:
    """Unless the group may, by the setting."""
    log_dir = tmp_path / "logs"
    path = write_log(log_dir, b"")
    log_dir.chmod(0o700)
    path.chmod(mode)

    found = list(find_strays(str(log_dir), [], group_access=group))

    assert [(f.kind, f.file, f.reason) for f in found] == (
        [("exposed", str(path), words)] if words else []
    )


def test_progress_is_told_of_all_bytes(tmp_path: Path) -> None:
    """Of compressed files, those on the disk."""
    write_log(tmp_path, as_lines(make_records(3000)))
    write_log(tmp_path, as_lines(make_records(3000)), archived=True, compressed=True)
    told: list[int] = []
    check = Verification(tmp_path, on_progress=told.append)

    assert len(list(check)) >= 0
    assert sum(told) == check.size


def test_a_directory_that_is_not_there_raises_at_once(tmp_path: Path) -> None:
    """Not at the first finding."""
    with pytest.raises(FileNotFoundError):
        Verification(tmp_path / "nowhere")
