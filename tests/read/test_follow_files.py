"""Files are followed while the archiver takes any of its steps between two polls."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from tests.queue.rig import make_line, name_of
from tests.read.log_making import DAY, write_log
from tests.store.archiving import BEFORE, FaultyEntries, close_all
from tests.store.fakes import Died
from tokenpak.telemetry.read import follow_files
from tokenpak.telemetry.read.follow_files import FollowedFiles
from tokenpak.telemetry.read.records import UnreadableFile
from tokenpak.telemetry.store.archive import Archiver
from tokenpak.telemetry.store.files import OsFiles

DAYS = (DAY, "2026-03-25")

OPERATION = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 1), st.integers(1, 3)),
    st.tuples(st.just("tear"), st.integers(0, 1), st.integers(1, 40)),
    st.tuples(st.just("poll"), st.just(0), st.just(0)),
    # Number of the archiver's steps from one poll to the next, and to its death.
    st.tuples(st.just("archive"), st.integers(1, 12), st.integers(1, 120)),
)


class Log:
    """A directory that is written to and archived, and who follows it."""

    def __init__(self, place: Path, *, before: int = 2) -> None:
        self.place = place
        place.mkdir(exist_ok=True)
        self.written: Counter[str] = Counter()
        self.problems: list[UnreadableFile] = []
        self.count = 0
        self.append(0, before)
        self.already = set(self.written)
        self.seen: Counter[str] = Counter()
        self.files = FollowedFiles(
            str(place), ["errors"], lambda _: True, self.problems.append
        )

    def append(self, day: int, count: int) -> None:
        path = self.place / f"errors-{DAYS[day]}.jsonl"
        data = path.read_bytes() if path.exists() else b""
        if data and not data.endswith(b"\n"):
            path.write_bytes(data + b"\n")  # closes a torn tail
        for _ in range(count):
            self.count += 1
            line = make_line(str(self.count), day=DAYS[day])
            with path.open("ab") as file:
                file.write(line)
            self.written[name_of(line)] += 1

    def tear(self, day: int, size: int) -> None:
        self.append(day, 0)
        path = self.place / f"errors-{DAYS[day]}.jsonl"
        with path.open("ab") as file:
            file.write(make_line("torn", day=DAYS[day])[:size])

    def poll(self) -> None:
        for file, block in self.files.poll():
            assert file.stream == "errors"
            for line in block.lines:
                if line.endswith(b"}"):
                    self.seen[name_of(line)] += 1

    def archive(self, each: int, last: int) -> None:
        """Archive, with a poll before some steps; others wait in turn."""
        files = OsFiles()
        disk = FaultyEntries(files, last, "die before")

        def between(_: str) -> None:
            if len(disk.calls) % each == 0:
                self.poll()

        disk.between = between
        try:
            archiver = Archiver(disk, files, str(self.place), before=BEFORE)
            for _ in archiver.steps():
                pass
        except Died:
            pass
        finally:
            close_all(files)

    def check(self) -> None:
        for _ in range(4):  # what two listings miss is believed to be gone
            self.poll()
        new = {name: 1 for name in self.written if name not in self.already}
        assert dict(self.seen) == new
        assert self.problems == []
        self.files.close()


@pytest.fixture(autouse=True)
def _listings_are_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_files, "_SHARE", 0)


@pytest.mark.parametrize("held", [0, 1, 64])
@given(operations=st.lists(OPERATION, max_size=8))
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)
def test_s4_each_line_comes_once_whatever_the_archiver_does(
    operations: list[tuple[str, int, int]],
    held: int,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Appended, torn, archived in steps, by archivers that die: in any order."""
    monkeypatch.setattr(follow_files, "HELD", held)
    log = Log(tmp_path_factory.mktemp("log"))
    for name, first, second in operations:
        getattr(log, name)(*([first, second] if name != "poll" else []))
    log.check()


@pytest.mark.parametrize("held", [0, 64])
def test_s4_appended_after_the_last_poll_and_archived_before_the_next(
    tmp_path: Path, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was appended meanwhile comes, and what was read before does not."""
    monkeypatch.setattr(follow_files, "HELD", held)
    log = Log(tmp_path / "log")
    log.poll()
    log.append(0, 3)
    log.archive(10_000, 10_000)
    assert not list(log.place.glob("*.jsonl"))
    log.check()


def test_s4_born_and_archived_between_two_polls(tmp_path: Path) -> None:
    """The first part is the file that was followed, the second one is new."""
    log = Log(tmp_path / "log")
    log.archive(10_000, 10_000)
    log.append(0, 2)
    log.archive(10_000, 10_000)
    assert len(list(log.place.glob("archive/*.gz"))) == 2
    log.check()


def test_s4_more_files_than_are_held_are_looked_at_in_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late record in one of many old files is found."""
    monkeypatch.setattr(follow_files, "HELD", 2)
    monkeypatch.setattr(follow_files, "_IN_TURN", 3)
    for day in range(1, 20):
        write_log(tmp_path / "log", b"", f"2026-02-{day:02d}")
    log = Log(tmp_path / "log")
    path = log.place / "errors-2026-02-07.jsonl"
    path.write_bytes(make_line("late"))
    for _ in range(10):
        log.poll()

    assert dict(log.seen) == {"late": 1}
    log.files.close()


def test_r1_a_file_that_somebody_cut_is_told_of_and_followed_on(tmp_path: Path) -> None:
    """It is no file of ours any more; what comes then is shown."""
    log = Log(tmp_path / "log", before=5)
    path = log.place / f"errors-{DAY}.jsonl"
    path.write_bytes(make_line("1"))
    log.poll()
    with path.open("ab") as file:
        file.write(make_line("new"))
    log.poll()

    assert dict(log.seen) == {"new": 1}
    assert [problem.reason for problem in log.problems] == [
        "it has become shorter: somebody else has written to it"
    ]
    log.files.close()


def test_s1_a_line_comes_when_it_is_whole(tmp_path: Path) -> None:
    """Not a part of it, and once; if only its newline is missing, it comes."""
    log = Log(tmp_path / "log")
    path = log.place / f"errors-{DAY}.jsonl"
    line = make_line("slow")
    seen = []
    for size in range(1, len(line) + 1):
        with path.open("ab") as file:
            file.write(line[size - 1 : size])
        log.poll()
        seen.append(log.seen["slow"])

    assert seen == [0] * (len(line) - 2) + [1, 1]
    log.files.close()


def test_r1_a_directory_that_vanishes_is_waited_for(tmp_path: Path) -> None:
    """What somebody makes under its name is followed."""
    log = Log(tmp_path / "log")
    (log.place / f"errors-{DAY}.jsonl").unlink()
    log.place.rmdir()
    log.poll()
    write_log(log.place, make_line("again"))
    log.poll()

    assert dict(log.seen) == {"again": 1}
    assert log.problems == []
    log.files.close()


def test_s5_a_symbolic_link_is_told_of_and_not_followed(tmp_path: Path) -> None:
    """Told once, not four times a second."""
    log = Log(tmp_path / "log")
    other = tmp_path / "other"
    other.write_bytes(make_line("secret"))
    (log.place / f"errors-{DAYS[1]}.jsonl").symlink_to(other)
    for _ in range(3):
        log.poll()

    assert dict(log.seen) == {}
    assert len(log.problems) == 1
    log.files.close()


def test_r2_an_idle_poll_lists_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be 10,000 names in it."""
    log = Log(tmp_path / "log")
    monkeypatch.setattr(follow_files, "_SETTLED", -3600.0)
    log.poll()

    def fail(*_: Any) -> Any:
        raise AssertionError("listed")

    monkeypatch.setattr(follow_files, "list_log_files", fail)
    log.poll()
    log.files.close()
