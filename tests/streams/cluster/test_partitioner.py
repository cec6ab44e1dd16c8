import pytest

from schemas.state import InputPosition
from streams.cluster.partitioner import Placement, crc32_partition, murmur2_partition, placement
from streams.records import InputRecord


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        # org.apache.kafka.common.utils.UtilsTest#testMurmur2, with the sign bit cleared as the partitioner does.
        (b"21", -973_932_308),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
    ],
)
def test_keys_hash_as_in_java(key: bytes, hashed: int) -> None:
    """The values are Kafka's own."""
    assert murmur2_partition(key, 1 << 31) == hashed & 0x7FFFFFFF


def test_crc32_is_librdkafkas() -> None:
    """The check value of CRC-32 (ISO-HDLC)."""
    assert crc32_partition(b"123456789", 1 << 32) == 0xCBF43926


def test_records_are_counted_by_who_put_them_there() -> None:
    """Records without a key belong anywhere and are not counted."""
    by_murmur2, by_crc32 = murmur2_partition(b"k", 8), crc32_partition(b"k", 8)
    assert by_murmur2 != by_crc32
    neither = next(number for number in range(8) if number not in {by_murmur2, by_crc32})
    places = [(b"k", by_murmur2), (b"k", by_crc32), (b"k", neither), (None, 0), (b"", 0)]
    records = [InputRecord(InputPosition("t", partition, 0), key, None, 0) for key, partition in places]
    assert placement(records, 8) == Placement(keyed=3, misplaced=2, by_crc32=1)
