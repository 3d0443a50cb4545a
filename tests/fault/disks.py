"""File systems of a test's own: small ones, on a loop device or in memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SIZES = {"ext4": 300, "xfs": 300}
"""MiB, sparse; less than that mkfs.xfs refuses."""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run *command* to its end."""
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60
    )


def need(*tools: str) -> None:
    """Skip the test unless it is root's, and *tools* are there."""
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(missing or tools)}")


class LoopDisk:
    """A file system in a file, which can be mounted, cut off and mounted again."""

    def __init__(self, place: Path, kind: str) -> None:
        need(f"mkfs.{kind}", "mount", "umount", "xfs_io")
        self.image = place / f"{kind}.img"
        self.at = place / "mounted"
        self.at.mkdir()
        with self.image.open("wb") as file:
            file.truncate(SIZES[kind] * 2**20)
        made = run(f"mkfs.{kind}", "-q", str(self.image))
        if made.returncode != 0:
            pytest.skip(f"mkfs.{kind}: {made.stderr}")

    def mount(self) -> None:
        """Mount it; the journal is replayed, as after a power failure."""
        mounted = run("mount", "-o", "loop", str(self.image), str(self.at))
        if mounted.returncode != 0:
            pytest.skip(f"a loop device cannot be mounted here: {mounted.stderr}")

    def cut(self) -> None:
        """Let nothing more come to the disk, not even what the journal has pending."""
        cut = run("xfs_io", "-x", "-c", "shutdown", str(self.at))
        assert cut.returncode == 0, cut.stderr

    def unmount(self) -> None:
        """Unmount it, as soon as nobody has a file of it open."""
        for _ in range(200):
            done = run("umount", str(self.at))
            if done.returncode == 0 or not self.at.is_mount():
                return
            time.sleep(0.05)
        run("umount", "--lazy", str(self.at))
        raise AssertionError(done.stderr)


@contextmanager
def tmpfs(place: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of *size*, e.g. ``1m``, below *place*."""
    need("mount", "umount")
    at = place / "tmpfs"
    at.mkdir()
    mounted = run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(at))
    if mounted.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr}")
    try:
        yield at
    finally:
        run("umount", "--lazy", str(at))


def fill(path: Path) -> None:
    """Write zeros to *path* until its disk is full."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for size in (65_536, 4_096, 1):
            try:
                while os.write(fd, bytes(size)) == size:
                    pass
            except OSError:
                pass
    finally:
        os.close(fd)
