import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Producer
from faust.types import TP

from streams.cluster.producers import producer_config
from streams.delivery.committed_reads import CommittedReads
from streams.local.embedded_broker import EmbeddedBroker

CLICKS = TP("clicks", 0)


def reads(states: dict[TP, Any] | None) -> Any:
    """Stand for the thread over aiokafka's consumer, whose partitions have these states; None = in a rebalance."""
    assignment = None if states is None else SimpleNamespace(state_value=states.get)
    consumer = SimpleNamespace(_subscription=SimpleNamespace(subscription=SimpleNamespace(assignment=assignment)))
    return SimpleNamespace(_ensure_consumer=lambda: consumer)


@pytest.mark.parametrize(("lso", "end"), [(7, 7), (-1, 9), (None, 9)])
def test_what_may_be_read_ends_at_the_last_stable_offset(lso: int | None, end: int) -> None:
    """Brokers that know of none have all readable."""
    state = SimpleNamespace(lso=lso, highwater=9)
    assert CommittedReads.highwater(reads({CLICKS: state}), CLICKS) == end


@pytest.mark.parametrize("states", [None, {}], ids=["in a rebalance", "gone"])
def test_a_partition_that_goes_away_has_no_end(states: dict[TP, Any] | None) -> None:
    """Health and ticks ask from another thread, at any moment of a rebalance; that must not end the worker."""
    assert CommittedReads.highwater(reads(states), CLICKS) is None


def produce(address: str, *values: bytes) -> None:
    """Write records to the partition."""
    producer = Producer(producer_config({"bootstrap.servers": address}, client_id="test"))
    for value in values:
        producer.produce(CLICKS.topic, value=value, partition=CLICKS.partition)
    assert producer.flush(10) == 0


@pytest.mark.parametrize("flow_active", [False, True], ids=["flow stopped", "partition paused"])
def test_what_a_fetch_brings_that_outlives_its_flow_is_fetched_again(flow_active: bool) -> None:
    """Faust would throw it away, and a recovery would never see it: the position is moved back to its beginning."""

    async def fetch_across_a_rebalance(address: str) -> tuple[dict[TP, list[Any]], list[bytes]]:
        consumer = AIOKafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest", enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign([CLICKS])
            consumer.seek(CLICKS, 1)
            thread = object.__new__(CommittedReads)
            thread.consumer = SimpleNamespace(flow_active=True)
            active = {CLICKS}
            outliving = asyncio.ensure_future(thread._fetch_records(consumer, active, timeout=30))
            await asyncio.sleep(0)  # it waits for records now
            active.clear()
            thread.consumer.flow_active = flow_active
            await asyncio.to_thread(produce, address, b"b", b"c")
            brought = await outliving
            thread.consumer.flow_active = True
            after = await thread._fetch_records(consumer, {CLICKS}, timeout=5)
            return brought, [record.value for record in after.get(CLICKS, [])]
        finally:
            await consumer.stop()

    with EmbeddedBroker() as broker:
        produce(broker.address, b"a")
        brought, after = asyncio.run(fetch_across_a_rebalance(broker.address))
    assert (brought, after[:1]) == ({}, [b"b"])
