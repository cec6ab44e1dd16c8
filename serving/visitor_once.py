"""Has a visitor done this before: an answer from bounded memory."""

from array import array
from hashlib import blake2b
from typing import Final

SLOTS: Final = 1 << 17
"""Of 8 bytes each: 1 MiB."""


class VisitorOnce:
    """A direct-mapped table of 8-byte hashes: what was seen is found until another one takes its slot.

    So a visitor may count again where very many do the same, and is never left out: two different acts are taken for
    one by a collision of 64 bits only.
    """

    def __init__(self, slots: int = SLOTS) -> None:
        self._seen = array("Q", bytes(8 * slots))

    def is_first(self, *act: str) -> bool:
        """Return whether the act is new, and remember it."""
        fingerprint = int.from_bytes(blake2b("\0".join(act).encode(), digest_size=8).digest())
        slot = fingerprint % len(self._seen)
        if self._seen[slot] == fingerprint:
            return False
        self._seen[slot] = fingerprint
        return True
