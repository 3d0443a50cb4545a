"""
The workers as their parent sees them: started, watched, killed, waited for.

Whatever happens, leaving the ``with`` block has ended and reaped each of them.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Self

from tokenpak.demo.workers import Job, start_worker
from tokenpak.telemetry.errors import TelemetryError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from tokenpak.demo.acks import AckTable

_START_TIMEOUT: Final = 120.0
_END_TIMEOUT: Final = 180.0
"""More than a worker waits for its log, so that it is the worker who says so."""
_POLL: Final = 0.01
_LAST_WORDS: Final = 2_000


class DemoError(TelemetryError, RuntimeError):
    """The demo could not be run to its end; the message says why."""


@dataclass(frozen=True, slots=True)
class _Member:
    job: Job
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    @property
    def last_words(self) -> str:
        self.output.seek(0)
        text = self.output.read().decode(errors="replace").strip()
        return text[-_LAST_WORDS:] or "(nothing)"


class Crew:
    """The worker processes of one run.  Its methods raise DemoError."""

    def __init__(self, table: AckTable) -> None:
        self._table = table
        self._members: list[_Member] = []
        self._killed: set[int] = set()

    def start(self, job: Job, base_url: str, acks_path: str) -> None:
        """Start one worker, and return at once; the arguments are start_worker()'s."""
        # A file, since a pipe that nobody reads blocks who writes to it when it is
        # full; without a name, so that there is nothing to tidy up.
        output = tempfile.TemporaryFile()  # noqa: SIM115  (closed by __exit__)
        try:
            process = start_worker(job, base_url, acks_path, output)
        except BaseException:
            output.close()
            raise
        self._members.append(_Member(job, process, output))

    def wait_until_all_log(self) -> None:
        """Return when each worker has had a record accepted."""
        deadline = time.monotonic() + _START_TIMEOUT
        for member in self._members:
            while True:
                # In this order: a worker may log and end between the two.
                ended = member.process.poll() is not None
                if self._table.read(member.job.index).accepted:
                    break
                if ended:
                    raise _failure(member, "ended before its first record")
                if time.monotonic() > deadline:
                    raise _failure(member, f"logged nothing in {_START_TIMEOUT:.0f} s")
                time.sleep(_POLL)

    def kill(self, moments: Mapping[int, float]) -> None:
        """Kill workers with SIGKILL: by index, how many seconds from now."""
        begin = time.monotonic()
        for index, moment in sorted(moments.items(), key=lambda item: item[1]):
            time.sleep(max(0.0, begin + moment - time.monotonic()))
            member = self._members[index]
            if member.process.poll() is not None:
                raise _failure(member, "ended before it was killed")
            member.process.kill()
            member.process.wait()
            self._killed.add(index)

    def wait_for_the_rest(self) -> None:
        """Return when the workers that were not killed have come to their end."""
        for member in self._members:
            if member.job.index in self._killed:
                continue
            try:
                status = member.process.wait(member.job.seconds + _END_TIMEOUT)
            except subprocess.TimeoutExpired:
                raise _failure(member, "did not come to its end") from None
            if status != 0:
                raise _failure(member, f"ended with exit status {status}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for member in self._members:
            if member.process.returncode is None:
                member.process.kill()
                member.process.wait()
            member.output.close()


def _failure(member: _Member, what: str) -> DemoError:
    return DemoError(
        f"Worker {member.job.index} of the demo {what}.  Its log directory is "
        f"{member.job.log_dir}: is it writable, and is there space?  "
        f"The worker's last words: {member.last_words}"
    )


__all__ = ["Crew", "DemoError"]
