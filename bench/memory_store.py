"""A table's partitions in RocksDB with the worker's options, without Faust."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final
from zlib import crc32

from faust.stores.rocksdb import RocksDBOptions

from streams.records import Delivery, delivered
from streams.settings import StreamSettings

PARTITIONS: Final = 8


class DiskStore:
    """The partitions of a table as Faust opens them; a visitor's partition is that of the key."""

    def __init__(self, folder: Path, partitions: int = PARTITIONS) -> None:
        cache_bytes = StreamSettings().rocksdb_cache_bytes
        options = RocksDBOptions(use_rocksdict=True, block_cache_size=cache_bytes, write_buffer_size=cache_bytes // 2)
        self._partitions = [options.open(folder / f"{number}.db") for number in range(partitions)]

    def get(self, partition: int, key: bytes) -> bytes | None:
        """Read a value of a partition."""
        return self._partitions[partition].get(key)  # type: ignore[no-any-return]

    def following(self, partition: int, key: bytes | None, count: int) -> list[tuple[bytes, bytes]]:
        """Read the next values behind `key`."""
        return list(islice((item for item in self._partitions[partition].items(from_key=key) if item[0] != key), count))

    def put(self, partition: int, key: bytes, value: bytes) -> Delivery:
        """Write a value."""
        self._partitions[partition].put(key, value)
        return delivered()

    def drop(self, partition: int, key: bytes) -> Delivery:
        """Remove a value."""
        self._partitions[partition].delete(key)
        return delivered()

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Read all of a partition."""
        yield from self._partitions[partition].items()

    def close(self) -> None:
        """Let go of the files."""
        for partition in self._partitions:
            partition.close()


def partition_of(key: bytes, partitions: int = PARTITIONS) -> int:
    """Return the partition of a visitor."""
    return crc32(key) % partitions
