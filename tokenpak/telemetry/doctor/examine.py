"""
All checks, in the order in which a person would ask.

They create nothing but a temporary file, which they remove, and change nothing: a
directory that is missing stays missing, and spools are looked at, not adopted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from tokenpak.telemetry.doctor.configuration import check_settings, settings_in_force
from tokenpak.telemetry.doctor.dates import check_clock
from tokenpak.telemetry.doctor.directory import (
    check_directory,
    check_file_system,
    check_probe,
    check_spool_place,
)
from tokenpak.telemetry.doctor.fates import fates
from tokenpak.telemetry.doctor.finding import Diagnosis
from tokenpak.telemetry.doctor.machine import check_python, check_system
from tokenpak.telemetry.doctor.permissions import check_permissions
from tokenpak.telemetry.doctor.room import check_descriptors, check_space
from tokenpak.telemetry.doctor.scene import Scene
from tokenpak.telemetry.doctor.spools import check_spools, look_at_spools


def examine(
    log_dir: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    now: float | None = None,
) -> Diagnosis:
    """
    Examine this machine and *log_dir*, for a logger that this user would run.

    Works on a directory that is missing, read-only or another user's, and says then
    what could not be checked.

    Args:
        log_dir: None: ``$TOKENPAK_LOG_DIR``, else ``~/.tokenpak/logs``.
        environ: instead of ``os.environ``.
        now: seconds since the epoch, instead of the clock's.

    Raises:
        SettingError: *log_dir* is no path.

    """
    environ = os.environ if environ is None else environ
    given = None if log_dir is None else os.fspath(log_dir)
    settings = settings_in_force(given, environ)
    scene = Scene(
        settings.log_dir, settings, environ, time.time() if now is None else now
    )
    spools = look_at_spools(scene)
    findings = (
        *check_directory(scene),
        *check_file_system(scene),
        *check_spool_place(scene),
        *check_probe(scene),
        *check_permissions(scene),
        *check_space(scene),
        *check_clock(scene),
        *check_spools(spools, scene),
        *check_settings(settings, environ),
        *check_descriptors(scene),
        *check_python(),
        *check_system(),
    )
    return Diagnosis(
        scene.log_dir,
        findings,
        tuple(fates(scene)),
        tuple(spools),
        settings,
        scene.spool_place,
    )


__all__ = ["examine"]
