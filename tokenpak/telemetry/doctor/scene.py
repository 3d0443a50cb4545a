"""
What all checks look at: the directory, the settings, where spools go, the time.

Nothing is made here, and nothing raises: what cannot be found out is a fact, too.
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from tokenpak.telemetry.doctor.probe import Probe, probe
from tokenpak.telemetry.settings import Settings
from tokenpak.telemetry.store import places
from tokenpak.telemetry.store.modes import why_not_private

NETWORK: Final = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre"),
        *("gfs2", "ocfs2", "beegfs", "gpfs", "vboxsf", "virtiofs", "glusterfs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.ceph"),
        *("fuse.juicefs", "fuse.mergerfs", "fuse.rclone", "prl_fs", "fuse.vmhgfs-fuse"),
    }
)
"""File systems that other machines may write to at the same time."""
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True)
class Scene:
    """The facts that more than one check needs.  Found out when first asked for."""

    log_dir: str
    settings: Settings
    environ: Mapping[str, str]
    now: float
    """Seconds since the epoch."""

    @functools.cached_property
    def status(self) -> os.stat_result | OSError:
        """What the log directory is, or why that cannot be found out."""
        try:
            return os.stat(self.log_dir)
        except OSError as error:
            return error

    @functools.cached_property
    def exists(self) -> bool:
        """Whether there is a directory of that name."""
        return not isinstance(self.status, OSError) and stat.S_ISDIR(
            self.status.st_mode
        )

    @functools.cached_property
    def writable(self) -> bool:
        """Whether this process may make files in it; root may unless read-only."""
        return self.exists and os.access(self.log_dir, os.R_OK | os.W_OK | os.X_OK)

    @functools.cached_property
    def today(self) -> date | None:
        """The UTC day; None: the clock says what is in no calendar."""
        try:
            return datetime.fromtimestamp(self.now, UTC).date()
        except (OverflowError, OSError, ValueError):
            return None

    @functools.cached_property
    def user(self) -> int:
        """Who is taken to log here: this user; the owner, if root asks."""
        if not hasattr(os, "geteuid"):
            return 0
        user = os.geteuid()
        if user == 0 and not isinstance(self.status, OSError):
            return self.status.st_uid
        return user

    @property
    def as_root(self) -> bool:
        """Whether root looks at the directory of another user."""
        return hasattr(os, "geteuid") and self.user != os.geteuid()

    @property
    def foreign(self) -> bool:
        """Whether it is another user's, and this one may not log to it."""
        return (
            not isinstance(self.status, OSError)
            and self.status.st_uid != self.user
            and not self.writable
        )

    @functools.cached_property
    def file_system(self) -> str:
        """The type of the file system that the log directory is, or will be, on."""
        return places.file_system_of(self.log_dir)

    @functools.cached_property
    def probe(self) -> Probe | None:
        """What a temporary file in the log directory shows; None: none may be made."""
        return probe(self.log_dir) if self.writable else None

    @functools.cached_property
    def spool_places(self) -> list[str]:
        """Where spools may be, the place for new ones first."""
        return places.spool_directories(self.log_dir, self.settings.spool_dir)

    @functools.cached_property
    def refusals(self) -> dict[str, str]:
        """Why no spool can be made in each of these places; empty: it can."""
        return {place: self._refusal(place) for place in self.spool_places}

    @property
    def spool_place(self) -> str | None:
        """Where a logger puts new spools; None: into memory."""
        for place, reason in self.refusals.items():
            if not reason:
                return place
        return None

    def _refusal(self, place: str) -> str:
        if not hasattr(os, "posix_fallocate"):
            return "this system cannot reserve space for a spool"
        if self.foreign:
            return ""  # not to be known
        base = existing(place)
        if base == place and (reason := self._why_not_private(place)):
            return f"it {reason}"
        if not os.access(base, os.R_OK | os.W_OK | os.X_OK):
            return f"{base} cannot be written"
        own = base in {place, self.log_dir}
        # A directory that is not the logger's gets no name from us.
        found = (
            self.probe if base == self.log_dir else probe(base, named=own, ask=False)
        )
        if found is None or (own and found.failed is not None):
            return f"no file can be made in {base}"
        return found.space or found.mapping

    def _why_not_private(self, place: str) -> str | None:
        """Why no spool would be made in *place*, for what others may do to it."""
        shared = self.settings.group_access and places.is_shared(place)
        try:
            status = os.lstat(place)
            if (
                shared
                and stat.S_ISDIR(status.st_mode)
                and status.st_uid == self.user
                and not status.st_mode & stat.S_IWOTH
            ):
                return None  # what the group lacks, the logger gives to its own one
            return why_not_private(place, shared=shared, user=self.user)
        except OSError as error:
            return f"cannot be looked at: {error.strerror}"

    @property
    def spool_file_system(self) -> str:
        """The type of the file system of the place for new spools."""
        place = self.spool_place
        return "memory" if place is None else places.file_system_of(place)

    @property
    def usual_spool_place(self) -> bool:
        """Whether new spools go into the log directory itself."""
        place = self.spool_place
        return place is not None and os.path.dirname(place) == self.log_dir


def existing(path: str) -> str:
    """Return *path*, or the nearest directory above it that exists."""
    while not os.path.isdir(path):
        parent = os.path.dirname(path)
        if parent == path:
            break
        path = parent
    return path


def size_text(count: float) -> str:
    """Return a number of bytes as a person reads it, e.g. ``1.5 GiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{f'{count:,.1f}'.removesuffix('.0')} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


__all__ = ["IN_MEMORY", "NETWORK", "Scene", "existing", "size_text"]
