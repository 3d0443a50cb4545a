"""Things that are no regular files, where one should be."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest


def put_in_the_way(kind: str, path: Path) -> None:
    """Put something that is no regular file at *path*; skip if that is not allowed."""
    if kind == "link":
        (path.parent / "target").write_bytes(b"precious")
        path.symlink_to(path.parent / "target")
    elif kind == "dangling":
        path.symlink_to(path.parent / "gone")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            here = os.getcwd()
            os.chdir(path.parent)  # the path of a socket must be short
            try:
                listener.bind(path.name)
            finally:
                os.chdir(here)
    else:
        try:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))  # as /dev/null
        except PermissionError:
            pytest.skip("only root can make a device")
