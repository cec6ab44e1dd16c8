"""The settings that every confluent-kafka producer of ours shares."""

from collections.abc import Mapping
from typing import Any


def producer_config(
    broker: Mapping[str, Any], *, client_id: str, linger_ms: float = 2.0, idempotent: bool = True
) -> dict[str, Any]:
    """Return librdkafka's settings for a producer whose keys land where Faust's tables expect them.

    `broker` says how to reach the cluster (`bootstrap.servers`, TLS, SASL). librdkafka's own default partitioner is
    CRC32; aiokafka's, Faust's and the Java client's is murmur2: with the default, records of a visitor would reach a
    partition that does not hold the visitor's state. `linger_ms` is added to every record's latency and buys batches.
    `idempotent=False` is for brokers that cannot number producers.
    """
    return {
        **broker,
        "client.id": client_id,
        "partitioner": "murmur2_random",
        "acks": "all",
        "enable.idempotence": idempotent,
        "linger.ms": linger_ms,
        "delivery.timeout.ms": 30_000,
    }
