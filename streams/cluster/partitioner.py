"""Which partition a key belongs on, and who put a record elsewhere."""

from binascii import crc32
from collections.abc import Iterable
from dataclasses import dataclass

from aiokafka.partitioner import murmur2

from streams.records import InputRecord


@dataclass(frozen=True, slots=True)
class Placement:
    """How many keyed records lie where Faust, aiokafka and the Java client put them.

    misplaced: elsewhere. by_crc32: those of them that lie where librdkafka's default partitioner puts them.
    """

    keyed: int
    misplaced: int
    by_crc32: int


def murmur2_partition(key: bytes, partitions: int) -> int:
    """Return the partition of `key` by the Java client's default partitioner."""
    hashed: int = murmur2(key)
    return (hashed & 0x7FFFFFFF) % partitions


def crc32_partition(key: bytes, partitions: int) -> int:
    """Return the partition of `key` by librdkafka's default partitioner, `consistent_random`."""
    return crc32(key) % partitions


def placement(records: Iterable[InputRecord], partitions: int) -> Placement:
    """Hold the partition of each keyed record against that of its key."""
    keyed = misplaced = by_crc32 = 0
    for record in records:
        if not record.key:  # a null or empty key goes anywhere
            continue
        keyed += 1
        partition = record.position.partition
        if partition != murmur2_partition(record.key, partitions):
            misplaced += 1
            by_crc32 += partition == crc32_partition(record.key, partitions)
    return Placement(keyed, misplaced, by_crc32)
