"""
A directory for what is temporary, of which nothing is left, whatever interrupts.

A signal may raise between any two steps.  Whoever gives a directory away before all of
it is deleted, or takes note of it when it was made, leaves it there then, as
``tempfile.TemporaryDirectory`` does; and in it is a copy of the log.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

_TRIES: Final = 10
"""How often it is tried to delete what somebody still writes to."""


class Scratch:
    """
    A directory of its user's alone (0700, as the log has it), until delete().

    A context manager, which deletes it.  It is also deleted when nobody has the object
    any more, and at the end of the interpreter.

    Args:
        prefix: how its name begins.

    Attributes:
        name: its path.

    Raises:
        OSError: there is no place for it.

    """

    def __init__(self, prefix: str) -> None:
        self.name = os.path.join(
            tempfile.gettempdir(), f"{prefix}{os.urandom(8).hex()}"
        )
        # Before there is anything to delete, and until all of it is deleted.
        self._finalizer = weakref.finalize(self, _delete, self.name)
        try:
            os.mkdir(self.name, 0o700)
        except OSError:
            self._finalizer.detach()  # it is another's, or nobody's
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.delete()

    def delete(self) -> None:
        """Delete it, as far as that is possible.  Idempotent."""
        if self._finalizer.alive:
            _delete(self.name)
            self._finalizer.detach()


def _delete(path: str) -> None:
    # Who still writes there may make a file when all others are deleted.  Where there
    # is no directory any more, he makes none.
    for _ in range(_TRIES):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            break


__all__ = ["Scratch"]
