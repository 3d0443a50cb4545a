"""The examination as a whole: what it says of a healthy place, and what it leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.doctor.places import (
    NOW,
    diagnose,
    found,
    make_healthy,
    on_file_system,
    only,
    outcomes,
)
from tokenpak.telemetry.doctor import Level, examine
from tokenpak.telemetry.doctor import probe as probing
from tokenpak.telemetry.doctor.report import format_json, format_text

CHECKS = {
    *("log directory", "file system", "spool place", "locks", "spool space"),
    *("permissions", "free space", "clock", "spools", "settings", "descriptors"),
    *("Python", "start method", "system"),
}


@pytest.fixture
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with which all is well, on ext4."""
    on_file_system(monkeypatch, "ext4")
    return make_healthy(tmp_path / "logs")


def tree(place: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, mode and size of all that is in *place*."""
    return {
        str(path.relative_to(place)): (
            path.lstat().st_ino,
            path.lstat().st_mode,
            path.lstat().st_size,
        )
        for path in sorted(place.rglob("*"))
    }


def test_all_is_well_where_all_is_well(healthy: Path) -> None:
    """Each check has looked, nothing needs to be done, and a kill costs nothing."""
    diagnosis = diagnose(healthy)

    assert {finding.check for finding in diagnosis.findings} == CHECKS
    assert diagnosis.fine, diagnosis.findings
    assert diagnosis.spool_place == str(healthy / "spool")
    assert outcomes(diagnosis) == {
        "the process is": "kept",
        "the process ends": "kept",
        "disk full": "kept",
        "power failure": "partly",
        "the machine is": "kept",
        "log files deleted": "partly",
        "bytes of a": "partly",
        "the disk fails": "lost",
    }


@pytest.mark.parametrize("nameless", [True, False])
def test_nothing_is_left_behind_or_changed(
    healthy: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool
) -> None:
    """But for a temporary file that is removed, also where it must have a name."""
    seen: list[list[str]] = []
    ask = probing._ask_child

    def asked(path: str) -> str | None:
        seen.append([name for name in os.listdir(healthy) if name.startswith(".")])
        return ask(path)

    monkeypatch.setattr(probing, "_ask_child", asked)
    if not nameless:
        monkeypatch.setattr(probing, "_open_nameless", lambda directory: None)
    fd = probing._open_nameless(str(healthy))
    possible = fd is not None
    if fd is not None:  # not on all file systems
        os.close(fd)
    before = tree(healthy)
    diagnosis = diagnose(healthy)

    assert diagnosis.fine, diagnosis.findings
    assert tree(healthy) == before
    if possible:
        assert seen == [[]]
    else:
        ((name,),) = seen
        assert name.startswith(probing.PREFIX)


def test_a_missing_directory_is_a_note_and_stays_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has logged yet; what would be there is judged by what is above it."""
    on_file_system(monkeypatch, "ext4")
    diagnosis = diagnose(tmp_path / "not" / "yet")

    assert only(diagnosis, "log directory").level == Level.NOTE
    assert "does not exist yet" in only(diagnosis, "log directory").what
    assert only(diagnosis, "spool place").what == f"will be {tmp_path}/not/yet/spool"
    assert diagnosis.fine
    assert list(tmp_path.iterdir()) == []


def test_the_default_directory_is_that_of_the_logger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the environment, or in the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    by_default = examine(environ={})
    by_variable = examine(environ={"TOKENPAK_LOG_DIR": str(tmp_path / "there")})

    assert by_default.log_dir == str(tmp_path / ".tokenpak" / "logs")
    assert by_variable.log_dir == str(tmp_path / "there")


def test_a_file_in_the_way_is_a_problem(tmp_path: Path) -> None:
    """And so is a link that leads nowhere."""
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")

    file, link = diagnose(tmp_path / "file"), diagnose(tmp_path / "link")

    assert only(file, "log directory").level == Level.PROBLEM
    assert "not a directory" in only(file, "log directory").what
    assert only(link, "log directory").level == Level.PROBLEM
    assert str(tmp_path / "nothing") in only(link, "log directory").what
    assert not file.fine
    assert not link.fine


def test_what_is_below_a_file_can_be_told_from_what_is_missing(tmp_path: Path) -> None:
    """The reason is the system's."""
    (tmp_path / "file").write_text("")
    diagnosis = diagnose(tmp_path / "file" / "logs")

    assert only(diagnosis, "log directory").level == Level.PROBLEM
    assert "Not a directory" in only(diagnosis, "log directory").what


AS_NOBODY = """
import json, os, sys
from tokenpak.telemetry.doctor import examine
from tokenpak.telemetry.doctor.report import format_json, format_text
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
diagnosis = examine(sys.argv[1], environ={}, now=float(sys.argv[2]))
format_text(diagnosis)
print(format_json(diagnosis))
"""


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="only root can become another user",
)
@pytest.mark.parametrize("mode", [0o755, 0o700, 0o711])
def test_who_may_only_read_is_told_what_could_not_be_checked(mode: int) -> None:
    """A note each, no exception, and nothing is taken for a fault of the place."""
    # Not in tmp_path, into which no other user may look.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as home:
        os.chmod(home, 0o711)
        healthy = make_healthy(Path(home) / "logs")
        healthy.chmod(mode)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(healthy), str(NOW)],
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
    assert done.stderr == ""
    said = json.loads(done.stdout)
    of_directory = [f for f in said["findings"] if f["check"] == "log directory"]

    assert [f["level"] for f in of_directory] == ["note"]
    assert "belongs to user root" in of_directory[0]["what"]
    assert [f for f in said["findings"] if f["level"] == "problem"] == []


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="only root can give a directory to another user",
)
def test_root_is_told_to_look_as_the_user_that_logs(healthy: Path) -> None:
    """What root may do says nothing; the spool directory of that user is no fault."""
    for path in (healthy, *healthy.rglob("*")):
        os.chown(path, 65534, 65534)
    diagnosis = diagnose(healthy)

    assert "run by root" in only(diagnosis, "log directory").what
    assert diagnosis.fine, diagnosis.findings
    assert diagnosis.spool_place == str(healthy / "spool")


@pytest.mark.fault
@pytest.mark.skipif(
    not shutil.which("mount") or not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="mounting needs root",
)
def test_x2_a_read_only_file_system_is_a_problem_and_is_survived(
    tmp_path: Path,
) -> None:
    """As a disk becomes that had errors: all that can be read is still judged."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        make_healthy(place / "logs")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        diagnosis = diagnose(place / "logs")
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)

    assert only(diagnosis, "log directory").level == Level.PROBLEM
    assert "read-only" in only(diagnosis, "log directory").what
    assert found(diagnosis, "locks") == []
    assert only(diagnosis, "clock").level == Level.OK


@pytest.mark.fault
@pytest.mark.skipif(
    not shutil.which("mount") or not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="mounting needs root",
)
def test_x2_a_full_disk_is_told_of(tmp_path: Path) -> None:
    """No room for a spool, and hardly any for the log."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        make_healthy(place / "logs")
        (place / "filler").write_bytes(bytes(900 * 1024))
        diagnosis = diagnose(place / "logs")
        left = sorted(path.name for path in (place / "logs").iterdir())
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)

    assert only(diagnosis, "spool space").level == Level.WARNING
    assert "No space left" in only(diagnosis, "spool space").what
    assert Level.PROBLEM in {f.level for f in found(diagnosis, "free space")}
    assert "cannot be used" in only(diagnosis, "spool place").what
    assert left == ["archive", "errors-2026-03-24.jsonl", "spool"]


def test_the_text_fits_80_columns_and_says_what_to_do(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With trouble of each kind; and narrower terminals are filled, too."""
    on_file_system(monkeypatch, "nfs4")
    (healthy / "errors-2026-03-24.jsonl").chmod(0o644)
    diagnosis = diagnose(healthy, TOKENPAK_LINGER="soon", TOKENPAK_FSYN="batch")
    text = format_text(diagnosis)

    # A path or a command is not broken, so that it can be copied.
    assert [
        line for line in text.splitlines() if len(line) > 80 and " " in line[28:]
    ] == []
    assert max(map(len, format_text(diagnosis, columns=60).splitlines()[2:])) <= 80
    for finding in diagnosis.findings:
        if finding.level >= Level.WARNING:
            assert finding.meaning
            assert finding.advice
    assert text.count("->") >= 4
    assert text.endswith("warnings: see the lines above that begin with ->.\n")


def test_a_path_can_hold_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the terminal obeys it, nor does it stop the report."""
    on_file_system(monkeypatch, "ext4")
    diagnosis = diagnose(tmp_path / "\x1b[2J\n\udcff\u202e")
    text = format_text(diagnosis)

    assert text.encode()
    assert json.loads(format_json(diagnosis))["log_dir"] == diagnosis.log_dir
    assert r"\x1b[2J\n\udcff\u202e" in text.splitlines()[0]
    assert "\x1b" not in text


def test_the_json_says_the_same(healthy: Path) -> None:
    """Level by level, and with the settings in force."""
    diagnosis = diagnose(healthy, TOKENPAK_FSYNC="batch")
    said = json.loads(format_json(diagnosis))

    assert said["log_dir"] == str(healthy)
    assert said["fine"] is True
    assert said["worst"] == "ok"
    assert said["settings"]["fsync"] == "batch"
    assert [f["check"] for f in said["findings"]] == [
        finding.check for finding in diagnosis.findings
    ]
    assert {f["outcome"] for f in said["fates"]} == {"kept", "partly", "lost"}
