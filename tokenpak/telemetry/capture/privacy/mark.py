"""
What stands in the place of a secret: ``[redacted:openai_key:3f9a2c01]``.

The last part is a keyed hash of the secret.  Two records that hold the same secret have
the same mark, which tells that it is one key that is refused, or two; but only who has
the directory's key can test a guess, and secrets that can be guessed (a short password,
a telephone number) must be kept from those.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

HASH_BYTES: Final = 4
MARK: Final = r"\[redacted:[a-z0-9_]+(?::[0-9a-f]{8})?\]"


class Marks:
    """
    Makes marks.  Any thread.

    Args:
        key: returns the key of the hash, 16 to 64 bytes; called with the first secret,
            and once.  What it raises is a mark without a hash.

    """

    def __init__(self, key: Callable[[], bytes]) -> None:
        self._key = key
        self._hash: dict[str, Callable[[], Any]] = {}

    @property
    def ready(self) -> bool:
        """Whether a mark can be made without reading a file."""
        return bool(self._hash)

    def prepare(self) -> None:
        """Get the key, which the first secret would have to wait for."""
        key = self._key()
        # A copy of one that has taken the key: that is half of the work.
        self._hash.setdefault("it", blake2b(digest_size=HASH_BYTES, key=key).copy)

    def make(self, name: str, secret: str) -> str:
        """Return the mark for *secret*, which the rule *name* has found."""
        try:
            if not self._hash:
                self.prepare()
            digest = self._hash["it"]()
            digest.update(secret.encode(errors="surrogatepass"))
            return f"[redacted:{name}:{digest.hexdigest()}]"
        except Exception:
            # No key: the secret is kept from the log all the same.
            return f"[redacted:{name}]"


__all__ = ["HASH_BYTES", "MARK", "Marks"]
