import asyncio
from contextlib import nullcontext
from pathlib import Path
from threading import get_ident
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Producer
from faust.types import TP
from prometheus_client import CollectorRegistry

from streams.app import create_app
from streams.cluster.producers import producer_config
from streams.cluster.topics import TopicSettings
from streams.delivery.committed_reads import CommittedReads
from streams.local.embedded_broker import EmbeddedBroker
from streams.metrics import DeliveryMetrics
from streams.settings import StreamSettings

CLICKS, CHANGELOG = TP("clicks", 0), TP("changelog", 0)


class FakeFetcher:
    """aiokafka's, which has these records."""

    def __init__(self, records: dict[TP, list[Any]]) -> None:
        self._closed = False
        self._records = records
        self._subscriptions = SimpleNamespace(fetch_context=nullcontext)

    async def fetched_records(self, _partitions: set[TP], **_: Any) -> dict[TP, list[Any]]:
        """Return them."""
        return dict(self._records)


def reads(states: dict[TP, Any] | None) -> Any:
    """Stand for the service over aiokafka's consumer, whose partitions have these states; None = in a rebalance."""
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


class WithoutBrokers(CommittedReads):
    """The service, with no consumer to start."""

    async def on_start(self) -> None:
        """Note who starts it."""
        self.started_in = get_ident()


async def test_the_consumer_runs_in_the_loop_of_the_clicks(tmp_path: Path) -> None:
    """What it is asked for is done at once, in the thread that asks; its end is not that of the loop's other tasks."""
    app = create_app(StreamSettings(datadir=tmp_path), TopicSettings(), DeliveryMetrics(CollectorRegistry()))
    reads = WithoutBrokers(app.consumer, loop=asyncio.get_running_loop(), beacon=app.beacon)
    other = asyncio.ensure_future(asyncio.Event().wait())
    await reads.start()
    with pytest.raises(StopIteration, match=str(get_ident())):
        reads.call_thread(get_ident).send(None)
    assert await reads.call_thread(asyncio.sleep, 0, "awaited") == "awaited"
    await reads.stop()
    assert reads.started_in == get_ident()
    assert not other.done()
    other.cancel()


class EndsBadly(WithoutBrokers):
    """The service, whose end fails."""

    async def on_thread_stop(self) -> None:
        """Fail as aiokafka may."""
        raise RuntimeError("the coordinator has gone")


async def test_a_consumer_whose_end_fails_holds_nobody_up(tmp_path: Path) -> None:
    """It is told at once, and who stops it does not wait for a minute."""
    app = create_app(StreamSettings(datadir=tmp_path), TopicSettings(), DeliveryMetrics(CollectorRegistry()))
    reads = EndsBadly(app.consumer, loop=asyncio.get_running_loop(), beacon=app.beacon)
    await reads.start()
    with structlog.testing.capture_logs() as logged:
        await asyncio.wait_for(reads.stop(), reads.shutdown_timeout / 4)
    assert [entry["event"] for entry in logged] == ["consumer_ended_badly"]


async def test_inputs_come_in_runs_and_changelogs_as_records() -> None:
    """A hole ends a run; Faust applies a changelog record by record."""
    clicks, states = (
        [SimpleNamespace(**tp._asdict(), offset=offset, timestamp=0, timestamp_type=0) for offset in found]
        for tp, found in ((CLICKS, (5, 6, 8)), (CHANGELOG, (5, 8)))
    )
    fetcher = FakeFetcher({CLICKS: clicks, CHANGELOG: states})
    thread = object.__new__(CommittedReads)
    thread.consumer = SimpleNamespace(flow_active=True, is_source=lambda tp: tp == CLICKS)
    consumer = SimpleNamespace(_closed=False, _fetcher=fetcher)
    fetched = await thread._fetch_records(consumer, {CLICKS, CHANGELOG}, timeout=1, max_records=500)
    assert [run.records for run in fetched[CLICKS]] == [clicks[:2], clicks[2:]]
    assert [(run.topic, run.partition, run.offset) for run in fetched[CLICKS]] == [(*CLICKS, 5), (*CLICKS, 8)]
    assert fetched[CHANGELOG] is states


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
            thread.consumer = SimpleNamespace(flow_active=True, is_source=lambda _tp: True)
            active = {CLICKS}
            outliving = asyncio.ensure_future(thread._fetch_records(consumer, active, timeout=30))
            await asyncio.sleep(0)  # it waits for records now
            active.clear()
            thread.consumer.flow_active = flow_active
            await asyncio.to_thread(produce, address, b"b", b"c")
            brought = await outliving
            thread.consumer.flow_active = True
            after = await thread._fetch_records(consumer, {CLICKS}, timeout=5)
            return brought, [record.value for run in after.get(CLICKS, []) for record in run.records]
        finally:
            await consumer.stop()

    with EmbeddedBroker() as broker:
        produce(broker.address, b"a")
        brought, after = asyncio.run(fetch_across_a_rebalance(broker.address))
    assert (brought, after[:1]) == ({}, [b"b"])
