"""
Q1, Q3, X2 at each system call: whatever fails or kills, the law holds.

Every call of every kind that a cycle of append, rotation and archive makes fails, with
each error, once and for ever; or is the last one of the process.  The law: accepted =
written + pending + dropped by reason; nothing lost, doubled or torn; no exception in
the application; and the first append after the fault succeeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest

from tests.fault.matrix import MOST, Outcome, Runner
from tests.fault.tracing import needs_strace

pytestmark = [
    pytest.mark.fault,
    needs_strace,
]

CALLS = (
    "chmod",
    "clone3",
    "fallocate",
    "fchmod",
    "fchown",
    "fcntl",
    "flock",
    "fstatfs",
    "fsync",
    "getdents64",
    "getrandom",
    "ioctl",
    "link",
    "linkat",
    "lseek",
    "madvise",
    "mkdir",
    "mmap",
    "newfstatat",
    "openat",
    "pread64",
    "read",
    "rename",
    "unlink",
    "utimensat",
    "writev",
)
ALSO_KILLED = ("close", "munmap")
"""Made to fail by a tracer, these would just not be made."""
EVERYWHERE = "EIO"
"""The error that every Python is tested with; the others with one."""
OTHERS = ("ENOSPC", "EDQUOT", "EINTR", "EAGAIN", "EROFS", "EMFILE", "ESTALE")
AT_ONCE = 3


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleQueue[Runner]]:
    """As many as run at once."""
    place = tmp_path_factory.mktemp("matrix")
    made = [Runner(place / str(number)) for number in range(AT_ONCE)]
    free: SimpleQueue[Runner] = SimpleQueue()
    for runner in made:
        free.put(runner)
    yield free
    for runner in made:
        runner.close()


def run_all(
    runners: SimpleQueue[Runner], call: str, effects: list[tuple[str, str]]
) -> None:
    """Run *call* with each of (effect, suffix of when), for each N that there is."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        each = pool.map(lambda effect: run_one(runners, call, *effect), effects)
        outcomes = [outcome for outcomes in each for outcome in outcomes]
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    slowest = max(outcome.slowest for outcome in outcomes)
    cases = sum(outcome.injected for outcome in outcomes)
    print(f"{call}: {cases} cases, slowest call of the logger {slowest * 1e3:.2f} ms")

    assert problems == []
    assert cases >= len(effects), "the call is not made at all"


def run_one(
    runners: SimpleQueue[Runner], call: str, effect: str, suffix: str
) -> list[Outcome]:
    """Run one series."""
    outcomes: list[Outcome] = []
    runner = runners.get()
    try:
        for number in range(1, MOST):
            when = f"{number}{suffix}"
            outcome = runner.run(call, effect, when)
            if suffix and not outcome.injected and not outcome.problems:
                outcome = runner.run(call, effect, when, patient=True)
            outcome.problems = [
                f"{call} {effect} {when}: {problem}" for problem in outcome.problems
            ]
            outcomes.append(outcome)
            if not outcome.injected:
                return outcomes
    except BaseException:
        runner.start_anew()
        raise
    finally:
        runners.put(runner)
    raise AssertionError(f"{call} never ran out")


@pytest.mark.parametrize("call", CALLS)
def test_q3_the_law_holds_when_any_call_fails(
    call: str, runners: SimpleQueue[Runner]
) -> None:
    """
    With EIO, once and for ever.
    """
    run_all(runners, call, [(f"error={EVERYWHERE}", ""), (f"error={EVERYWHERE}", "+")])


@pytest.mark.heavy
@pytest.mark.parametrize("call", CALLS)
def test_q3_the_law_holds_whatever_the_error_is(
    call: str, runners: SimpleQueue[Runner]
) -> None:
    """
    With each other error, once and for ever.
    """
    effects = [(f"error={name}", suffix) for name in OTHERS for suffix in ("", "+")]
    run_all(runners, call, effects)


@pytest.mark.parametrize("call", [*CALLS, *ALSO_KILLED])
def test_q1_killed_at_any_call_nothing_is_lost_or_doubled(
    call: str, runners: SimpleQueue[Runner]
) -> None:
    """
    At each N; recovered and archived by another process.
    """
    run_all(runners, call, [("signal=KILL", "")])
