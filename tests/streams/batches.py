"""Record batches as producers write them, and as no Python producer would."""

import asyncio
import struct
from collections.abc import Sequence
from typing import Final

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer import message_accumulator
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.util import calc_crc32c

from streams.delivery.codecs import CODECS

ODD_NAME: Final = b"\xff\xfe-origin"
TIME_MS: Final = 1_700_000_000_000
HEADER_BYTES: Final = 61
_CRC_AT: Final = 17
_CRC_OF: Final = 21

Headers = Sequence[tuple[str, bytes | None]]


class OddName(str):
    """A header name that is ODD_NAME in Kafka, where the builder is the one in Python."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        """Return what is no UTF-8."""
        return ODD_NAME


def batch(
    *records: tuple[bytes | None, bytes | None, Headers], first: int = 0, codec: str = "none", producer_id: int = -1
) -> bytes:
    """Encode records of key, value and headers from offset `first`; with a producer id, in a transaction."""
    number = CODECS.get(codec, 0)
    builder = _DefaultRecordBatchBuilderPy(2, number, producer_id >= 0, producer_id, 0, 0, 1 << 20)
    for offset, (key, value, headers) in enumerate(records):
        builder.append(offset, TIME_MS + offset, key, value, headers)
    return struct.pack(">q", first) + bytes(builder.build())[8:]


def sealed(encoded: bytes) -> bytes:
    """Return a batch the length and the checksum of what is in it."""
    encoded = encoded[:8] + struct.pack(">i", len(encoded) - 12) + encoded[12:]
    return encoded[:_CRC_AT] + struct.pack(">I", calc_crc32c(encoded[_CRC_OF:])) + encoded[_CRC_OF:]


def send(brokers: str, topic: str, *records: tuple[bytes | None, bytes | None, Headers], codec: str = "none") -> None:
    """Write records in one batch to partition 0, by the builder that takes an OddName."""
    asyncio.run(_send(brokers, topic, records, codec))


async def _send(
    brokers: str, topic: str, records: Sequence[tuple[bytes | None, bytes | None, Headers]], codec: str
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=brokers, compression_type=None if codec == "none" else codec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_accumulator, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
        await producer.start()
        builder = producer.create_batch()
        for key, value, headers in records:
            assert builder.append(key=key, value=value, timestamp=None, headers=list(headers)) is not None
        await (await producer.send_batch(builder, topic, partition=0))
        await producer.stop()
