"""Deletes the records of partitions before an offset, of whatever key (KIP-107)."""

from collections.abc import Mapping
from typing import Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.cluster.topics import TopicsError

_TIMEOUT_SECONDS: Final = 30.0


def delete_before(admin: AdminClient, topic: str, ends: Mapping[int, int]) -> None:
    """Delete what lies before these offsets, by partition; nobody can read it any more.

    The brokers' files follow when their segments are closed. Raises TopicsError where the brokers refuse.
    """
    wanted = [TopicPartition(topic, partition, end) for partition, end in ends.items() if end > 0]
    if not wanted:
        return
    try:
        for future in admin.delete_records(wanted, request_timeout=_TIMEOUT_SECONDS).values():
            future.result()
    except KafkaException as error:
        raise TopicsError(f"records of {topic} could not be deleted: {error.args[0].str()}") from error
