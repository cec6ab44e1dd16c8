import asyncio
import errno
import io
import logging
import os
import sys
from bisect import bisect_left
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from aiokafka.errors import KafkaTimeoutError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from confluent_kafka import KafkaError, KafkaException, Producer
from faust.types import Message
from mode import CrashingSupervisor
from prometheus_client import CollectorRegistry

from schemas.errors import UsageError
from streams import app as app_module
from streams.app import EXIT_ABORTED, InsessionApp, KafkaSink, create_app, raw_topic, state_table
from streams.cluster.topics import MAX_RECORD_BATCH_BYTES, TopicSettings
from streams.delivery.lease import Lease, boot_seconds
from streams.delivery.producer import RecordProducer, SendTimeoutError
from streams.delivery.runs import Run
from streams.delivery.start_guard import StalledError
from streams.delivery.strict import StrictTransport
from streams.delivery.window import DeliveryError
from streams.fakes import ListSink
from streams.metrics import DeliveryMetrics
from streams.records import OutputRecord
from streams.settings import SESSION_SEND_RATIO, StreamSettings
from streams.state.table import StateTable


@pytest.fixture
def app_of(tmp_path: Path) -> Callable[..., InsessionApp]:
    """Make an app that never connects, with these settings."""

    def make(topics: TopicSettings | None = None, **settings: Any) -> InsessionApp:
        stream_settings = StreamSettings(**{"brokers": "127.0.0.1:1", "datadir": tmp_path} | settings)
        app = create_app(stream_settings, topics or TopicSettings(), DeliveryMetrics(CollectorRegistry()))
        app.finalize()
        return app

    return make


async def test_the_app_has_strict_delivery(app_of: Callable[..., InsessionApp]) -> None:
    """Transport and table are the strict ones, every replica acknowledges, and an agent that fails ends the worker."""
    app = app_of()
    assert isinstance(app.transport, StrictTransport)
    assert isinstance(app.producer, RecordProducer)
    assert app.conf.Table is StateTable
    assert app.conf.agent_supervisor is CrashingSupervisor
    assert (app.producer_config()["acks"], app.conf.consumer_auto_offset_reset) == ("all", "earliest")
    assert app.conf.stream_wait_empty


async def test_settings_reach_faust_and_the_producer(app_of: Callable[..., InsessionApp]) -> None:
    """Times in seconds for the one, in milliseconds for the other; both name the worker alike to the brokers."""
    app = app_of(
        TopicSettings(prefix="shop."),
        group="live",
        instance_id="worker-1",
        commit_interval=timedelta(seconds=2),
        session_timeout=timedelta(seconds=36),
        send_timeout=timedelta(seconds=10),
        rebalance_timeout=timedelta(seconds=80),
        linger=timedelta(milliseconds=7),
        standby_replicas=1,
    )
    conf = app.conf
    assert (conf.broker_commit_interval, conf.broker_session_timeout, conf.broker_rebalance_timeout) == (2, 36, 80)
    assert (conf.broker_heartbeat_interval, conf.producer_request_timeout) == (6, 10)
    assert (conf.consumer_group_instance_id, conf.table_standby_replicas) == ("worker-1", 1)
    config = app.producer_config()
    assert (conf.broker_client_id, config["client.id"]) == ("shop.live", "shop.live")
    assert (config["bootstrap.servers"], config["linger.ms"]) == ("127.0.0.1:1", 7)
    assert config["delivery.timeout.ms"] > 10_000


async def test_heartbeats_come_often_enough(app_of: Callable[..., InsessionApp]) -> None:
    """With the shortest session that the settings allow, what was sent right before a pause is given up before it ends.

    The latest heartbeat may be as old as their interval then.
    """
    send_timeout = timedelta(seconds=20)
    app = app_of(send_timeout=send_timeout, session_timeout=send_timeout * SESSION_SEND_RATIO)
    given_up_seconds = app.producer_config()["delivery.timeout.ms"] / 1000
    assert given_up_seconds + app.conf.broker_heartbeat_interval < app.conf.broker_session_timeout


async def test_the_group_stands_behind_the_prefix(app_of: Callable[..., InsessionApp]) -> None:
    """Two deployments on one cluster share neither commits nor changelogs."""
    assert app_of(TopicSettings(prefix="shop."), group="live").conf.id == "shop.live"


def largest_batch_bytes(producer: Producer, key: bytes, headers: list[tuple[str, bytes]]) -> int:
    """Return the size in Kafka's log of a batch with the largest record that a producer takes."""

    def takes(size: int) -> bool:
        try:
            producer.produce("out", bytes(size), key, headers=headers)
        except KafkaException:
            return False
        finally:
            producer.purge()
            producer.poll(0)
        return True

    size = bisect_left(range(2 * MAX_RECORD_BATCH_BYTES), True, key=lambda size: not takes(size)) - 1
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=2 * MAX_RECORD_BATCH_BYTES,
    )
    builder.append(0, 1_700_000_000_000, key, bytes(size), headers)
    return len(builder.build())


@pytest.mark.parametrize("headers", [[], [("traceparent", bytes(55))] * 9])
async def test_topics_must_take_what_the_producer_sends(
    app_of: Callable[..., InsessionApp], headers: list[tuple[str, bytes]]
) -> None:
    """The check of the topics stands on the producer's own bound, with what a batch adds to a record."""
    producer = Producer(app_of().producer_config())
    assert 900_000 < largest_batch_bytes(producer, b"k", headers) <= MAX_RECORD_BATCH_BYTES


async def test_every_broker_is_known(app_of: Callable[..., InsessionApp]) -> None:
    """A list of brokers may have spaces."""
    brokers = app_of(brokers="one:9092, two:9093").conf.broker_consumer
    assert [(url.host, url.port) for url in brokers] == [("one", 9092), ("two", 9093)]


async def test_changelogs_are_replicated_as_the_topics_are(app_of: Callable[..., InsessionApp]) -> None:
    """State is as safe as its input; Faust's own default is one replica."""
    app = app_of(TopicSettings(partitions=12, replication=3))
    assert (app.conf.topic_replication_factor, app.conf.topic_partitions) == (3, 12)


async def test_state_is_not_served_over_http(app_of: Callable[..., InsessionApp]) -> None:
    """The web port listens on loopback and hands out no table."""
    app = app_of()
    assert app.BootStrategy.enable_web is False


async def test_faust_makes_no_topic(app_of: Callable[..., InsessionApp]) -> None:
    """All topics, the changelog too, are there before Faust starts: it can miss one that it made itself."""
    assert not app_of().conf.topic_allow_declare


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"send_timeout": timedelta(seconds=90)}, "send_timeout.*rebalance_timeout"),
        ({"stall_timeout": timedelta(seconds=120)}, "stall_timeout.*session_timeout.*rebalance_timeout"),
        ({"session_timeout": timedelta(seconds=25)}, "session_timeout.*at least .* kafka.send_timeout"),
        ({"window_span": 0}, "window_span"),
        ({"control_window_span": 0}, "control_window_span"),
        ({"web_port": 0}, "web_port"),
        ({"web_host": ""}, "web_host"),
        ({"brokers": " "}, "brokers: '' is no host:port"),
        ({"brokers": "a:1,,b:2"}, "brokers: '' is no host:port"),
        ({"brokers": "a:1,http://b:2"}, "brokers: 'http://b:2' is no host:port"),
        ({"brokers": "a:99999"}, "brokers"),
        ({"brokers": "a:b"}, "brokers"),
        ({"brokers": "::1"}, "brokers"),
        ({"group": "a b"}, "group"),
        ({"group": ""}, "group"),
        ({"commit_interval": timedelta(0)}, "commit_interval"),
        ({"tick_interval": timedelta(seconds=-1)}, "tick_interval"),
        ({"session_timeout": timedelta(seconds=-5)}, "session_timeout"),
        ({"linger": timedelta(seconds=-1)}, "linger"),
        ({"standby_replicas": -1}, "standby_replicas"),
        ({"rocksdb_cache_bytes": 0}, "rocksdb_cache_bytes"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any], names: str) -> None:
    """A send times out before a revocation does, a join before a stall is called one; no size is below 0."""
    with pytest.raises(UsageError, match=rf"^kafka\.{names}"):
        StreamSettings(**wrong)


@pytest.mark.parametrize("brokers", ["kafka", "k-1:9092,k-2.shop:65535", "127.0.0.1:1, 10.0.0.2:2", "[::1]:9092"])
def test_brokers_may_be_names_and_addresses(brokers: str) -> None:
    """Several are comma separated; without a port it is Kafka's own, 9092."""
    assert StreamSettings(brokers=brokers).client_config()["bootstrap.servers"] == brokers


def test_only_the_embedded_broker_is_asked_often() -> None:
    """Others answer as soon as a record comes, and hold an empty answer back for as long as librdkafka lets them."""
    others, embedded = (StreamSettings(brokers="b:1", is_mock_broker=is_mock) for is_mock in (False, True))
    assert others.view_config() == others.client_config()
    assert embedded.view_config() == {**embedded.client_config(), "fetch.wait.max.ms": 50}


async def test_topics_carry_bytes(app_of: Callable[..., InsessionApp]) -> None:
    """Decoding is ours, so that a bad record is ours to dead-letter."""
    topic = raw_topic(app_of(), "a", "b")
    assert list(topic.topics) == ["a", "b"]
    assert (topic.key_serializer, topic.value_serializer) == ("raw", "raw")


async def test_faust_hands_a_run_through(app_of: Callable[..., InsessionApp]) -> None:
    """As what the message holds, whatever is in it; what cannot be decoded would go nowhere."""
    of: Any = {"topic": "a", "partition": 0, "timestamp": 0, "timestamp_type": 0}
    run = Run([SimpleNamespace(offset=number, **of) for number in range(2)])
    message = Message("a", 0, 0, 0.0, 0, (), run.key, run.value, None)
    event = await raw_topic(app_of(), "a").decode(message, propagate=True)
    assert event.value is event.message.value is run


async def test_the_state_table_is_bounded_in_memory(app_of: Callable[..., InsessionApp]) -> None:
    """The table is the strict one, its RocksDB cache is ours, and Faust's index of keys has a limit."""
    app = app_of()
    table: Any = state_table(app, StreamSettings(rocksdb_cache_bytes=4 << 20), 4)
    assert isinstance(table, StateTable)
    options = table.data.rocksdb_options
    assert (options.block_cache_size, options.write_buffer_size) == (4 << 20, 2 << 20)
    assert table.data._key_index.limit == 1000


async def test_the_sink_sends_as_told(app_of: Callable[..., InsessionApp]) -> None:
    """The record reaches the app's producer as it is, the one that there is at that moment; its delivery comes back."""
    app = app_of()
    sink, sent = KafkaSink(app), ListSink()
    app.producer = SimpleNamespace(deliver=sent.send)
    record = OutputRecord("out", b"k", b"v", (("h", b"1"),), 3)
    delivery = sink.send(record)
    assert (sent.records, sent.deliveries) == ([record], [delivery])
    assert not delivery.is_settled


async def test_abort_ends_the_process_with_the_message(
    app_of: Callable[..., InsessionApp], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1, and the last line says why, behind what the log had held back."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr("logging.shutdown", lambda: sys.stderr.write("held back\n"))
    app_of().abort(UsageError("the topic is another one"))
    assert codes == [EXIT_ABORTED] == [1]
    assert capsys.readouterr().err.splitlines()[-1] == "insession: the topic is another one"


@pytest.mark.parametrize(
    "error",
    [
        DeliveryError("took no record"),
        StalledError("no progress"),
        KafkaTimeoutError(),
        SendTimeoutError("a claim, or a tick"),
        KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN)),
        UsageError("disk"),
    ],
)
async def test_what_a_pause_has_left_unanswered_is_told_as_a_pause(
    app_of: Callable[..., InsessionApp],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
) -> None:
    """Whichever timeout sees it first: the brokers are not to blame. Other errors stay what they are."""
    monkeypatch.setattr(os, "_exit", lambda _code: None)
    monkeypatch.setattr("logging.shutdown", lambda: None)
    app = app_of()
    assert app.lease is not None
    for sent_seconds, has_paused in (
        (boot_seconds(), False),
        (boot_seconds() - 100, not isinstance(error, UsageError)),
    ):
        app.lease = Lease(30.0)
        app.lease.renewed(sent_seconds)
        app.abort(error)
        assert ("insession: the group has not answered for 100" in capsys.readouterr().err) == has_paused


def test_one_thread_alone_tells_why_the_process_ends(
    app_of: Callable[..., InsessionApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consumer's thread and the loop's may find out at the same time; the second one waits for the end."""
    others: list[bool] = []

    def end(_code: int) -> None:
        with ThreadPoolExecutor(1) as other:
            others.append(other.submit(app_module._ENDING.acquire, blocking=False).result())

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr("logging.shutdown", lambda: None)
    app_of().abort(UsageError("why"))
    assert others == [False]


async def test_a_service_of_fausts_that_crashes_ends_the_process(
    app_of: Callable[..., InsessionApp], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once, with what to do; Faust would stop its services one after another, and print a traceback alone."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr("logging.shutdown", lambda: None)
    app = app_of()

    async def timer() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    await asyncio.wait([app.add_future(timer())])
    assert codes[0] == EXIT_ABORTED
    assert "insession: [Errno 24] Too many open files: raise the limit of open files" in capsys.readouterr().err


async def test_resources_live_from_before_the_consumer_until_after_it(app_of: Callable[..., InsessionApp]) -> None:
    """They are opened in order at start, and closed in reverse at shutdown."""
    events: list[str] = []

    @asynccontextmanager
    async def resource(name: str) -> Any:
        events.append(f"open {name}")
        yield
        events.append(f"close {name}")

    app = app_of()
    not_started = SimpleNamespace(_consumer=None)
    app.consumer = SimpleNamespace(beacon=app.beacon, _thread=not_started)  # the real one brings a thread and its loop
    app.resources = (resource("a"), resource("b"))
    await app.on_start()
    assert events == ["open a", "open b"]
    await app.on_shutdown()
    assert events == ["open a", "open b", "close b", "close a"]


async def test_a_start_that_stalls_ends_the_process(
    app_of: Callable[..., InsessionApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What must be open before the worker subscribes, and does not open, is not waited for for ever."""

    @asynccontextmanager
    async def stuck() -> Any:
        await asyncio.Event().wait()
        yield

    app = app_of()
    aborted: asyncio.Queue[BaseException] = asyncio.Queue()
    monkeypatch.setattr(app, "abort", aborted.put_nowait)
    app.resources, app.stall_timeout_seconds = (stuck(),), 0.01
    monkeypatch.setattr("streams.delivery.start_guard.LOOK_EVERY_SECONDS", 0.02)
    starting = asyncio.ensure_future(app.on_start())
    assert str(await aborted.get()).startswith("opening what the worker needs: no progress for 0.01 s")
    starting.cancel()
    await asyncio.wait([starting])


async def test_an_app_that_never_started_can_be_shut_down(app_of: Callable[..., InsessionApp]) -> None:
    """A signal that comes before the start is no error."""
    await app_of().on_shutdown()


def test_no_other_thread_logs_behind_the_last_line(
    app_of: Callable[..., InsessionApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads the log finds at its end why the process has ended."""
    app, handler, can_log = app_of(), logging.StreamHandler(io.StringIO()), list[bool]()

    def end(_code: int) -> NoReturn:
        assert handler.lock is not None
        with ThreadPoolExecutor(1) as another:
            can_log.append(another.submit(handler.lock.acquire, blocking=False).result())
        raise SystemExit

    monkeypatch.setattr(logging.root, "handlers", [handler])
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(SystemExit):
        app.abort(ValueError())
    assert can_log == [False]
