"""
A file that is replaced as a whole, so that nobody reads half of it.

For node exporter's textfile collector, which may be another user: mode 0644.
"""

from __future__ import annotations

import os
import stat
import tempfile


def replace_file(path: str, body: bytes) -> None:
    """
    Replace the file *path* as a whole; raises OSError.

    A symbolic link is followed; a pipe or device is written to as it is.
    """
    path = os.path.realpath(path)
    try:
        replaceable = stat.S_ISREG(os.stat(path).st_mode) or os.path.isdir(path)
    except FileNotFoundError:
        replaceable = True
    if not replaceable:
        with open(path, "wb") as file:
            file.write(body)
        return
    directory, name = os.path.split(path)
    fd, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
    try:
        with open(fd, "wb") as file:
            file.write(body)
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


__all__ = ["replace_file"]
