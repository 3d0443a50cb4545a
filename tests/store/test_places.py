"""Where spools are, and on what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tokenpak.telemetry.store import places
from tokenpak.telemetry.store.places import RELIABLE, file_system_of, spool_directories

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
23 22 0:20 / /proc rw,nosuid - proc proc rw
24 22 0:30 / /data rw,noatime shared:5 master:1 - nfs4 server:/data rw,vers=4.2
25 24 0:31 / /data/local rw - xfs /dev/sdb rw
26 22 0:32 / /with\\040space\\134odd rw - btrfs /dev/sdc rw
27 22 0:33 / /twice rw - ext4 /dev/sdd rw
28 22 0:34 / /twice rw - tmpfs tmpfs rw
29 22 0:35 / /many rw shared:1 master:2 propagate_from:3 - fuse.sshfs me@there: rw
"""


@pytest.fixture
def mounts(tmp_path: Path) -> str:
    """Return the path of a table of mounts."""
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return str(path)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/srv/logs", "ext4"),
        ("/data", "nfs4"),
        ("/data/logs", "nfs4"),
        ("/database", "ext4"),
        ("/data/local", "xfs"),
        ("/data/local/deep/er", "xfs"),
        ("/data/locality", "nfs4"),
        ("/with space\\odd/logs", "btrfs"),
        ("/twice/logs", "tmpfs"),
        ("/many/logs", "fuse.sshfs"),
    ],
)
def test_the_longest_mount_point_says_the_file_system(
    mounts: str, path: str, kind: str
) -> None:
    """
    Of those above the path; of equal ones the last, which is mounted over the others.
    """
    assert file_system_of(path, mounts) == kind


@pytest.mark.parametrize("text", ["", "nonsense\n", "1 2 3\n", "\n"])
def test_a_table_that_cannot_be_understood_says_nothing(
    tmp_path: Path, text: str
) -> None:
    """
    Then nothing is promised for the file system.
    """
    path = tmp_path / "mountinfo"
    path.write_text(text)

    assert file_system_of("/logs", str(path)) == "unknown"
    assert file_system_of("/logs", str(tmp_path / "missing")) == "unknown"
    assert "unknown" not in RELIABLE


def spools_on(
    kind: str, monkeypatch: pytest.MonkeyPatch, *settings: str | None
) -> list[str]:
    monkeypatch.setattr(places, "file_system_of", lambda path: kind)
    monkeypatch.setattr(places, "_local_directory", lambda path: "/local/user/tag")
    return spool_directories(*settings)  # type: ignore[arg-type]


def test_spools_are_in_the_log_directory_where_that_is_reliable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Else in a local directory; all places are looked at for orphans.
    """
    assert spools_on("ext4", monkeypatch, "/logs") == ["/logs/spool", "/local/user/tag"]
    assert spools_on("nfs4", monkeypatch, "/logs") == ["/local/user/tag", "/logs/spool"]


def test_a_spool_directory_that_was_set_comes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    With a part of its own for each log directory.
    """
    one = spools_on("ext4", monkeypatch, "/logs", "/fast")
    other = spools_on("ext4", monkeypatch, "/other", "/fast")

    assert os.path.dirname(one[0]) == os.path.dirname(other[0]) == "/fast"
    assert one[0] != other[0]
    assert one[1:] == ["/logs/spool", "/local/user/tag"]


def test_all_processes_find_the_same_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Also if one of them knows the log directory by a symbolic link.
    """
    logs, link = tmp_path / "logs", tmp_path / "link"
    logs.mkdir()
    link.symlink_to(logs)

    assert (
        spool_directories(str(logs), "/fast")[0]
        == spool_directories(str(link), "/fast")[0]
    )
    assert places._local_directory(str(logs)) == places._local_directory(str(link))


def test_s5_a_local_directory_that_others_may_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    In a place like /dev/shm somebody else may have made it first, and fill it for us.
    """
    user = tmp_path / "tokenpak-0"
    monkeypatch.setattr(places, "_local_directory", lambda path: f"{user}/tag")
    before = spool_directories("/logs")
    user.mkdir()
    user.chmod(0o777)
    open_to_all = spool_directories("/logs")
    user.chmod(0o700)

    assert f"{user}/tag" in before
    assert f"{user}/tag" not in open_to_all
    assert f"{user}/tag" in spool_directories("/logs")
