"""
Many call sites: a module made at run time, whose every chain of calls is its own.

Written to a file and imported, so that ``traceback`` finds its lines as it finds those
of an application.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import cast

from bench.workload import FRAMES, ProviderError

Fail = Callable[[], BaseException]

_HEAD = "from bench.workload import ProviderError\n"
_ENTER = """
def enter_{site}(path, size):
    return f_{site}_{frame}(path, size + {site}) + 1
"""
_FRAME = """
def f_{site}_{frame}(path, size):
    return f_{site}_{next}(path, max(size, {frame})) + len(path)
"""
_LEAF = """
def f_{site}_{frame}(path, size):
    raise ProviderError(f"Error code: {{size}} - rate limit reached at {{path}}")
"""
_CHAINED = """
def f_{site}_{frame}(path, size):
    try:
        return f_{site}_{next}(path, max(size, {frame})) + len(path)
    except ProviderError as error:
        raise ProviderError(f"gave up on {{path}}") from error
"""


def make_sites(
    directory: str, sites: int, frames: int = FRAMES, chained: int = 0
) -> list[Fail]:
    """
    Return functions each of which returns an exception from frames of its own.

    Args:
        directory: where the module is written; not one with log files.
        sites: how many.
        frames: how many frames each traceback has, the innermost one included.
        chained: how many of the frames catch the exception and raise another one
            from it, evenly among the frames.

    """
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, f"sites_{sites}_{frames}_{chained}.py")
    step = frames // (chained + 1) if chained else 0
    with open(path, "w", encoding="utf-8") as file:
        file.write(_HEAD)
        for site in range(sites):
            # fail() below is the outermost frame, enter_ the second.
            last = frames - 1
            file.write(_ENTER.format(site=site, frame=2))
            for frame in range(2, last):
                again = step and frame % step == 0 and frame < step * (chained + 1)
                form = _CHAINED if again else _FRAME
                file.write(form.format(site=site, frame=frame, next=frame + 1))
            file.write(_LEAF.format(site=site, frame=last))
    spec = importlib.util.spec_from_file_location(f"sites_{os.getpid()}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [_failing(getattr(module, f"enter_{site}")) for site in range(sites)]


def _failing(enter: object) -> Fail:
    call = cast("Callable[[str, int], int]", enter)

    def fail() -> BaseException:
        try:
            call("/v1/chat/completions", 429)
        except ProviderError as error:
            return error
        raise AssertionError("the call site did not fail")

    return fail


__all__ = ["Fail", "make_sites"]
