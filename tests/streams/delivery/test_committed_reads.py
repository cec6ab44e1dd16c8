import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from threading import get_ident
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Producer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from prometheus_client import CollectorRegistry

from streams.app import create_app
from streams.cluster.producers import producer_config
from streams.cluster.topics import TopicSettings
from streams.delivery import committed_reads
from streams.delivery.committed_reads import PARTIAL_WAIT_MS, CommittedReads
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


class FakeFetches:
    """aiokafka's fetcher, of which a request is for both partitions but those whose records nobody has taken yet.

    A fetch takes a hundred seconds, and tells the end of what it asks for if it does not fail.
    """

    def __init__(self, passed: Callable[[float], None]) -> None:
        self._passed = passed
        self._records: dict[TP, Any] = {}
        self.is_failing = False

    def _select_read_replica(self, _tp: TP) -> int:
        return 1

    def _get_actions_per_node(self, _assignment: Any) -> tuple[list[tuple[int, Any]], int]:
        asked = [(tp.topic, [(tp.partition, 0, 1024)]) for tp in (CLICKS, CHANGELOG) if tp not in self._records]
        return [(node, SimpleNamespace(_max_wait_ms=1500, topics=asked)) for node in (1, 2)], 0

    async def _proc_fetch_request(self, assignment: Any, _node: int, request: Any) -> bool:
        self._passed(100.0)
        for topic, partitions in request.topics:
            for partition, *_ in partitions:
                if not self.is_failing:
                    state = assignment.state_value(TP(topic, partition))
                    state.timestamp = (state.timestamp or 0) + 1
        return not self.is_failing


class Fetching:
    """A service over such a fetcher, at a time that the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_seconds = 1.0
        self.fetches = FakeFetches(self.pass_time)
        self.states = {tp: SimpleNamespace(timestamp=None, paused=False) for tp in (CLICKS, CHANGELOG)}
        self.assignment = SimpleNamespace(state_value=self.states.get)
        self.thread = object.__new__(CommittedReads)
        self.thread.app = SimpleNamespace(lease=None)
        self.thread.consumer = SimpleNamespace(is_source=lambda tp: tp == CLICKS)
        self.thread._told = {}
        self.thread._consumer = SimpleNamespace(_fetcher=self.fetches)
        monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_start", self._started)
        monkeypatch.setattr(committed_reads, "boot_seconds", lambda: self.now_seconds)

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.now_seconds += seconds

    async def fetch(self) -> None:
        """Send a request, and take its answer."""
        ((node, request), _), _ = self.fetches._get_actions_per_node(self.assignment)
        await self.fetches._proc_fetch_request(self.assignment, node, request)

    def waits_ms(self) -> list[int]:
        """Build requests to two brokers; gives how long each may hold them."""
        requests, _ = self.fetches._get_actions_per_node(self.assignment)
        return [request._max_wait_ms for _, request in requests]

    async def _started(self) -> None:
        """Start nothing: there are no brokers."""


@pytest.fixture
async def fetching(monkeypatch: pytest.MonkeyPatch) -> Fetching:
    """Start the service."""
    fetching = Fetching(monkeypatch)
    await fetching.thread.on_start()
    return fetching


async def test_an_end_is_as_old_as_the_fetch_that_told_it(fetching: Fetching) -> None:
    """However late its answer is read; an answer that told nothing of a partition makes nothing newer."""
    assert fetching.thread.end_age_seconds(CLICKS) is None
    await fetching.fetch()
    assert (fetching.thread.end_age_seconds(CLICKS), fetching.thread.end_age_seconds(CHANGELOG)) == (100.0, None)
    fetching.fetches.is_failing = True
    await fetching.fetch()
    assert fetching.thread.end_age_seconds(CLICKS) == 200.0
    fetching.fetches.is_failing = False
    await fetching.fetch()
    assert fetching.thread.end_age_seconds(CLICKS) == 100.0


def test_a_fetch_that_leaves_out_clicks_is_short(fetching: Fetching) -> None:
    """Its broker is asked for nothing else meanwhile; another one may hold its own. What is paused waits for longer."""
    assert fetching.waits_ms() == [1500, 1500]
    fetching.fetches._records[CHANGELOG] = None  # what came after the recovery: nobody ever takes it
    assert fetching.waits_ms() == [1500, 1500]
    fetching.fetches._records[CLICKS] = None
    assert fetching.waits_ms() == [PARTIAL_WAIT_MS, 1500]
    fetching.states[CLICKS].paused = True
    assert fetching.waits_ms() == [1500, 1500]


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
