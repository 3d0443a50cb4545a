"""
Sampling: some failures are not recorded, on purpose, and all are counted.

For applications that fail so often, and so much alike, that a part of the records tells
all.  Off by default.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeGuard

from tokenpak.telemetry.capture.interrupt import is_interrupt
from tokenpak.telemetry.capture.sanitise import class_name
from tokenpak.telemetry.settings import Sample

ALL_OTHERS: Final = "*"


class Sampler:
    """
    Decides which errors are recorded.  Any thread; takes no lock.

    Args:
        sample: see Sample; checked.
        failed: told of what a callable raised or returned that is no rate.  Its error
            is recorded.

    """

    def __init__(self, sample: Sample, failed: Callable[[str], None]) -> None:
        self._failed = failed
        self._choose: Callable[[BaseException, Any], object] | None = None
        self._rates: dict[str, float] = {}
        self._rate = 1.0
        if callable(sample):
            self._choose = sample
        elif isinstance(sample, Mapping):
            self._rates = dict(sample)
            self._rate = self._rates.pop(ALL_OTHERS, 1.0)
        else:
            self._rate = float(sample)
        self.reset()

    def reset(self) -> None:
        """Draw other numbers than the parent: in a forked child."""
        # Not those of the module: who seeds them wants them for himself.
        self._draw = random.Random().random  # noqa: S311  no secret

    def takes(self, error: BaseException, context: object) -> bool:
        """Return whether *error* is to be recorded."""
        rate: object = self._rate
        if self._choose is not None:
            rate = self._ask(self._choose, error, context)
        elif self._rates:
            rate = self._rates.get(class_name(type(error)), self._rate)
        if rate is True or rate == 1:
            return True
        if not rate:
            return False
        assert isinstance(rate, int | float)
        return self._draw() < rate

    def _ask(
        self,
        choose: Callable[[BaseException, Any], object],
        error: BaseException,
        context: object,
    ) -> object:
        try:
            rate = choose(error, context)
        except BaseException as reason:  # the caller's code
            # Ctrl-C while it runs; or what another signal's handler raises.
            if isinstance(reason, KeyboardInterrupt) or is_interrupt(reason):
                raise
            self._failed(f"raised {class_name(type(reason))}")
            return True
        if _is_rate(rate):
            return float(rate)
        self._failed(f"returned {class_name(type(rate))}, not a bool or a rate")
        return True


def _is_rate(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and 0 <= value <= 1


__all__ = ["ALL_OTHERS", "Sampler"]
