"""A copy of all visitor states of a changelog on the local disk, for tools that have to see the latest of each."""

import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rocksdict import Options, Rdict

from schemas.state import is_mark, mark_key, whole_state
from streams.cluster.topic_reader import TopicReader
from streams.state.fencing import ChangelogFences

_PARTITION: Final = struct.Struct(">I")
_TOLD_EVERY: Final = 1000


class StateCopies:
    """States and marks by partition and key, in a temporary folder (`TMPDIR`) that goes when the `with` block ends."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="insession-states-")
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        self._database = Rdict(str(Path(self._folder.name) / "states"), options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.close()
        self._folder.cleanup()

    def load(
        self, reader: TopicReader, changelog: str, bounds: Mapping[int, range], advance: Callable[[int], None]
    ) -> None:
        """Read a changelog as a recovery does; `advance` hears of records read, now and then."""
        read, fences = 0, ChangelogFences()
        for read, record in enumerate(reader.read(changelog, bounds), 1):
            partition = record.position.partition
            counts = fences.keeps(partition, record.key, record.headers)
            if counts and record.key is not None and record.value is not None:
                self.put(partition, record.key, record.value)
            elif counts and record.key is not None:
                self.drop(partition, record.key)
            if read % _TOLD_EVERY == 0:
                advance(_TOLD_EVERY)
        advance(read % _TOLD_EVERY)

    def get(self, partition: int, key: bytes) -> bytes | None:
        """Read a state."""
        value: bytes | None = self._database.get(_PARTITION.pack(partition) + key)
        return value

    def put(self, partition: int, key: bytes, value: bytes) -> None:
        """Write a state."""
        self._database[_PARTITION.pack(partition) + key] = value

    def drop(self, partition: int, key: bytes) -> None:
        """Remove a state, if it is there."""
        self._database.delete(_PARTITION.pack(partition) + key)

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Return the states of a partition, in the order of their keys; what is written meanwhile may be left out.

        Each is whole: the mark beside it is put into it.
        """
        prefix = _PARTITION.pack(partition)
        for key, value in self._database.items(from_key=prefix):
            if not key.startswith(prefix):
                return
            visitor = key.removeprefix(prefix)
            if not is_mark(visitor):
                yield visitor, whole_state(value, self.get(partition, mark_key(visitor)))
