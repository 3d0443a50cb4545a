"""
Look at a machine and a log directory before something dies there.

    from tokenpak.telemetry.doctor import examine

    diagnosis = examine("/var/log/app")
    for finding in diagnosis.findings:
        print(finding.level.name, finding.check, finding.what)

``scene`` holds the facts that several checks need, ``probe`` tries them on a temporary
file; ``machine``, ``directory``, ``permissions``, ``room``, ``dates``, ``spools`` and
``configuration`` are the checks, ``fates`` says what follows from them, ``examine``
puts them in order, and ``report`` shows them.
"""

from tokenpak.telemetry.doctor.examine import examine
from tokenpak.telemetry.doctor.finding import (
    CheckResult,
    Diagnosis,
    Fate,
    Level,
    SpoolInfo,
)

__all__ = [
    "CheckResult",
    "Diagnosis",
    "Fate",
    "Level",
    "SpoolInfo",
    "examine",
]
