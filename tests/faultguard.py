"""
Counts the fault tests of a run in CI, and fails it if too few of them ran.

A tool that cannot be had (strace, a mount, rsyslog) is a skip, and skips are quiet: a
machine on which nothing can be injected would call everything tested.  So in CI, when
the whole suite is run, the skips are printed with their reasons, and fewer than LEAST
fault tests that ran make the run fail.

A run of some files, or by ``-k``, says nothing of the whole and is left alone; so is a
run outside of CI.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Final

import pytest

LEAST: Final = 25
WHOLE: Final = ("", "not heavy")
"""Values of ``-m`` with which a run counts as one of the whole suite."""


def is_whole(config: pytest.Config, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this is a run of the whole suite, in CI."""
    option = config.option
    return (
        bool(environ.get("CI"))
        and config.args_source == pytest.Config.ArgsSource.TESTPATHS
        and option.markexpr in WHOLE
        and not option.keyword
        and not option.collectonly
        and not getattr(option, "lf", False)
    )


class FaultGuard:
    """The plugin.  Register an instance with pytest's plugin manager."""

    def __init__(self, config: pytest.Config) -> None:
        self._active = is_whole(config)
        self.ran = 0
        self.skipped: Counter[str] = Counter()

    @property
    def too_few(self) -> bool:
        """Whether the run must fail."""
        return self._active and self.ran < LEAST

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a fault test that ran, or why it did not."""
        if "fault" not in report.keywords:
            return
        if report.skipped:
            where = report.longrepr
            reason = where[2] if isinstance(where, tuple) else str(where)
            self.skipped[reason.removeprefix("Skipped: ")] += 1
        elif report.when == "call":
            self.ran += 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run."""
        if self.too_few and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        """Print the counts."""
        if not self._active:
            return
        write = terminalreporter.write_line
        terminalreporter.section("fault tests", bold=True)
        write(f"{self.ran} ran, {self.skipped.total()} were skipped")
        for reason, count in self.skipped.most_common():
            write(f"  {count} skipped: {reason}")
        if self.too_few:
            write(
                f"ERROR: fewer than {LEAST} fault tests ran, so this run says too "
                "little; install what they need (see .ci/run)",
                red=True,
            )


__all__ = ["LEAST", "FaultGuard", "is_whole"]
