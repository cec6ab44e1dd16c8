"""Which records of a changelog count: those of the owner that its partition had when they were written.

The brokers take a record of a worker that was paused, and whose partition another one has, like any other. So every
record of the changelog carries its writer: an epoch, which grows with every change of the owner, and an id of the
process. A reader in offset order passes over what an earlier owner wrote after a later one had begun (a fencing token:
Kleppmann, "How to do distributed locking", 2016; the threads: KAFKA-12693, apache/kafka#13667).

An owner begins with a claim: a record that holds nothing but its epoch, one above all that it has read. What it wrote
before the claim is acknowledged would not count for those who read another's claim of the same epoch first.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

_HEADER: Final = "o"  # short: it is in every record
_FORMAT: Final = struct.Struct(">I8s")
WORKER_BYTES: Final = 8

RESERVED: Final = b"__insession\0"
"""How the keys begin that are no visitor's, in the changelog and in the local tables."""
CLAIM_KEY: Final = RESERVED + b"owner"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who writes a changelog partition.

    epoch: 1 for its first owner, below 2^32. worker: WORKER_BYTES random bytes, new for every process.
    """

    epoch: int
    worker: bytes

    def encode(self) -> bytes:
        """Write it as in the header."""
        return _FORMAT.pack(self.epoch, self.worker)

    @classmethod
    def decode(cls, content: bytes) -> Self | None:
        """Read what `encode` wrote; None where it is something else."""
        return cls(*_FORMAT.unpack(content)) if len(content) == _FORMAT.size else None

    def headers(self) -> list[tuple[str, bytes]]:
        """Return the headers of a record of this owner."""
        return [(_HEADER, self.encode())]


def owner_of(headers: Iterable[tuple[str, bytes | None]] | Mapping[str, bytes | None] | None) -> Owner | None:
    """Read who wrote a record; None where it does not say: an older version, or a tool that keeps no headers."""
    pairs: Any = headers.items() if isinstance(headers, Mapping) else headers or ()
    return next((Owner.decode(content) for name, content in pairs if name == _HEADER and content is not None), None)


@dataclass(slots=True)
class Fence:
    """The owner of one partition as far as its changelog is read; None = nobody has claimed it."""

    owner: Owner | None = None

    def keeps(self, writer: Owner | None) -> bool:
        """Take in the writer of the next record; False where it had lost the partition when it wrote.

        A record without a writer is kept always: while versions are mixed, or after a return to an older one, its
        owner is a rightful one that knows nothing of fences.
        """
        if writer is None or writer == self.owner:
            return True
        if self.owner is not None and writer.epoch <= self.owner.epoch:
            return False
        self.owner = writer
        return True

    def next_owner(self, worker: bytes) -> Owner:
        """Make the owner that `worker` becomes by its claim."""
        return Owner((0 if self.owner is None else self.owner.epoch) + 1, worker)


class ChangelogFences:
    """The fences of all partitions, for whoever reads a changelog from its beginning."""

    def __init__(self) -> None:
        self._fences: dict[int, Fence] = {}
        self.stale = 0

    def keeps(self, partition: int, key: bytes | None, headers: Iterable[tuple[str, bytes | None]] | None) -> bool:
        """Take in the next record of a partition, in offset order; False where it is no state: stale, or a claim."""
        fence = self._fences.setdefault(partition, Fence())
        if fence.keeps(owner_of(headers)):
            return key is None or not key.startswith(RESERVED)
        self.stale += 1
        return False


def visible(entries: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Leave out what is no visitor's of the entries of a local table."""
    return ((key, value) for key, value in entries if not key.startswith(RESERVED))
