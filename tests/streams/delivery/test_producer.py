"""The producer over a stand-in for librdkafka's, in a time of its own."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from confluent_kafka import KafkaError, KafkaException, Producer
from prometheus_client import CollectorRegistry

from schemas.errors import InsessionError
from schemas.secret import Secret
from streams.app import InsessionApp, create_app
from streams.cluster.topics import TopicSettings
from streams.delivery import producer as producer_module
from streams.delivery.endings import explained
from streams.delivery.producer import (
    IDLE_POLL_SECONDS,
    POLL_SECONDS,
    ProducerFullError,
    RecordProducer,
    SendTimeoutError,
    record_producer_config,
)
from streams.metrics import DeliveryMetrics
from streams.records import Delivery, OutputRecord
from streams.security import SecuritySettings
from streams.settings import StreamSettings

SETTINGS = StreamSettings(brokers="127.0.0.1:1")
TIMEOUT_SECONDS = SETTINGS.send_timeout.total_seconds()
RECORD = OutputRecord("out", b"k", b"v")


@dataclass
class Produced:
    """A record as it was handed to librdkafka."""

    topic: str
    value: bytes | None
    key: bytes | None
    partition: int
    on_delivery: Callable[[KafkaError | None, Any], None]
    headers: Sequence[tuple[str, bytes]] | None = None


class Client:
    """Stands in for librdkafka's producer: it reports what the test says, when it is polled.

    refusal: what `produce` raises instead of taking a record.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.produced: list[Produced] = []
        self.polls = 0
        self.refusal: Exception | None = None
        self.fatal: KafkaError | None = None
        self._unsettled: deque[Produced] = deque()
        self._reports: deque[tuple[Produced, KafkaError | None, int]] = deque()

    def __len__(self) -> int:
        return len(self._unsettled) + len(self._reports)

    def produce(self, *given: Any, **headers: Any) -> None:
        """Take a record."""
        if self.refusal is not None:
            raise self.refusal
        self.produced.append(Produced(*given, **headers))
        self._unsettled.append(self.produced[-1])

    def report(self, error: int | None = None, *, offset: int = 0) -> None:
        """Know what became of the oldest record."""
        self._reports.append((self._unsettled.popleft(), None if error is None else KafkaError(error), offset))

    def poll(self, timeout: float) -> int:
        """Report, up to a callback that raises; raises what is `fatal`."""
        assert timeout == 0
        self.polls += 1
        if self.fatal is not None:
            raise KafkaException(self.fatal)
        count = 0
        while self._reports:
            produced, error, offset = self._reports.popleft()
            count += 1
            produced.on_delivery(error, SimpleNamespace(offset=lambda offset=offset: offset))
        return count


class Sending:
    """A producer that has started, its client, and the loop's time, which stands still until it is moved on."""

    def __init__(self, app: InsessionApp, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self.now_seconds = loop.time()
        monkeypatch.setattr(loop, "time", lambda: self.now_seconds)
        self.asked: list[int] = []
        self.lease_error: Exception | None = None
        monkeypatch.setattr(app, "require_lease", self._require_lease)
        self.app = app
        producer: Any = app.producer
        assert isinstance(producer, RecordProducer)
        self.producer = producer

    @property
    def client(self) -> Client:
        """Return the client that was made."""
        return self.producer._client  # type: ignore[no-any-return]

    def _require_lease(self) -> None:
        self.asked.append(len(self.client.produced))
        if self.lease_error is not None:
            raise self.lease_error

    def send(self, record: OutputRecord = RECORD) -> Delivery:
        """Send a record."""
        return self.producer.deliver(record)

    async def passes(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""
        self.now_seconds += seconds
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InsessionApp:
    """Make an app whose producer has the stand-in."""
    monkeypatch.setattr(producer_module, "Producer", Client)
    app = create_app(replace(SETTINGS, datadir=tmp_path), TopicSettings(), DeliveryMetrics(CollectorRegistry()))
    app.finalize()
    return app


@pytest.fixture
async def sending(app: InsessionApp, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sending]:
    """Start a producer."""
    sending = Sending(app, monkeypatch)
    await sending.producer.on_start()
    yield sending
    if sending.producer._polling is not None:
        sending.producer._polling.cancel()


async def test_a_record_reaches_librdkafka_as_it_is(sending: Sending) -> None:
    """In the very call, in order; without a partition the key decides."""
    sending.send(OutputRecord("out", b"k", b"v", (("h", b"1"),), 3))
    sending.send(OutputRecord("out", None, None))
    first, second = sending.client.produced
    assert (first.topic, first.key, first.value, first.partition) == ("out", b"k", b"v", 3)
    assert first.headers == [("h", b"1")]
    assert (second.key, second.value, second.partition, second.headers) == (None, None, -1, None)


async def test_records_cost_no_task(sending: Sending) -> None:
    """Thousands of them lie in librdkafka, and one timer asks what became of them."""
    before = asyncio.all_tasks()
    sent = [sending.send() for _ in range(1000)]
    for number in range(1000):
        sending.client.report(offset=number)
    await sending.passes(POLL_SECONDS)
    assert [one.offset for one in sent] == list(range(1000))
    assert (asyncio.all_tasks(), sending.client.polls) == (before, 2)
    assert not sending.producer._sent


@pytest.mark.parametrize("idle_seconds", [0.0, IDLE_POLL_SECONDS / 2, 10 * IDLE_POLL_SECONDS])
async def test_a_report_is_heard_at_the_next_poll(sending: Sending, idle_seconds: float) -> None:
    """Which comes soon, however long nothing was sent; the delivery then has the offset."""
    await sending.passes(idle_seconds)
    delivery = sending.send()
    assert (delivery.topic, delivery.key, delivery.offset) == ("out", b"k", -1)
    sending.client.report(offset=7)
    await sending.passes(0.0)
    assert not delivery.is_settled
    await sending.passes(POLL_SECONDS)
    assert (delivery.is_settled, delivery.error, delivery.offset) == (True, None, 7)


async def test_a_report_is_heard_whenever_it_comes(sending: Sending) -> None:
    """The producer asks on while a record is on its way, at short intervals."""
    delivery = sending.send()
    for _ in range(20):
        await sending.passes(POLL_SECONDS)
    assert sending.client.polls == 21
    sending.client.report()
    await sending.passes(POLL_SECONDS)
    await delivery


async def test_records_that_follow_each_other_closely_do_not_put_off_the_poll(sending: Sending) -> None:
    """Under load the first of them hears as soon as a single one would."""
    delivery = sending.send()
    sending.client.report()
    for _ in range(4):
        await sending.passes(POLL_SECONDS / 4)
        sending.send()
    assert delivery.is_settled


async def test_an_idle_producer_is_polled_now_and_then(sending: Sending) -> None:
    """So that librdkafka can ask for a new token; and no more often than that."""
    sending.send()
    sending.client.report()
    await sending.passes(POLL_SECONDS)
    polls = sending.client.polls
    await sending.passes(IDLE_POLL_SECONDS / 2)
    assert sending.client.polls == polls
    for further in range(1, 4):
        await sending.passes(IDLE_POLL_SECONDS)
        assert sending.client.polls == polls + further


FAILURES = [
    (KafkaError._MSG_TIMED_OUT, f"not acknowledged within {TIMEOUT_SECONDS:g} s (kafka.send_timeout); check the brok"),
    (KafkaError._UNKNOWN_TOPIC, "insession topics check"),
    (KafkaError._UNKNOWN_PARTITION, "insession topics check"),
    (KafkaError.UNKNOWN_TOPIC_OR_PART, "insession topics check"),
    (KafkaError.MSG_SIZE_TOO_LARGE, "raise max.message.bytes of the topic"),
    (KafkaError.TOPIC_AUTHORIZATION_FAILED, "allow this user Read, Write and Describe"),
    (KafkaError.NOT_ENOUGH_REPLICAS, "too few replicas are in sync"),
    (KafkaError.INVALID_RECORD, "look at the log of the brokers"),
    (KafkaError._ALL_BROKERS_DOWN, "The brokers did not answer"),
    (KafkaError._AUTHENTICATION, "The brokers refused the user"),
]


@pytest.mark.parametrize(("code", "words"), FAILURES)
async def test_a_record_that_fails_says_what_to_do(sending: Sending, code: int, words: str) -> None:
    """In the words of the list of endings, as every other error of the brokers; the others are not touched."""
    failed, other = sending.send(), sending.send()
    sending.client.report(code)
    sending.client.report(offset=1)
    await sending.passes(POLL_SECONDS)
    assert failed.error is not None
    assert words in explained(failed.error)
    assert "a bug" not in explained(failed.error)
    assert (failed.offset, other.error, other.offset) == (-1, None, 1)


@pytest.mark.parametrize(("code", "words"), FAILURES)
async def test_a_record_that_is_not_taken_says_what_to_do(sending: Sending, code: int, words: str) -> None:
    """At the hand-over, in the same words; nothing is on its way then."""
    sending.client.refusal = KafkaException(KafkaError(code))
    with pytest.raises(Exception, match=r".") as raised:
        sending.send()
    assert words in explained(raised.value)
    assert "a bug" not in explained(raised.value)
    assert not sending.producer._sent


async def test_a_producer_that_is_full_says_so(sending: Sending) -> None:
    """Whoever sends ends the process: the brokers are slower than the worker."""
    sending.client.refusal = BufferError("Local: Queue full")
    with pytest.raises(ProducerFullError, match=r"wait to be sent.*See that they answer") as raised:
        sending.send()
    assert explained(raised.value) == str(raised.value)
    assert not sending.producer._sent


async def test_a_record_that_nobody_acknowledges_fails_in_time(sending: Sending) -> None:
    """Though librdkafka says nothing, and goes on trying; what it says later is of no account."""
    early = sending.send()
    await sending.passes(TIMEOUT_SECONDS / 2)
    late = sending.send()
    await sending.passes(TIMEOUT_SECONDS / 2)
    assert not early.is_settled
    await sending.passes(2 * POLL_SECONDS)
    assert isinstance(early.error, SendTimeoutError)
    assert f"within {TIMEOUT_SECONDS:g} s (kafka.send_timeout)" in explained(early.error)
    assert not late.is_settled
    for _ in range(2):
        sending.client.report(offset=7)
    await sending.passes(POLL_SECONDS)
    assert isinstance(early.error, SendTimeoutError)
    assert (late.error, late.offset) == (None, 7)


async def test_one_that_is_stuck_is_found_among_those_that_got_through(sending: Sending) -> None:
    """A partition without a leader holds up its own records only."""
    sent = [sending.send() for _ in range(3)]
    client = sending.client
    client._unsettled.rotate(-1)  # the first one is the last to be reported
    for _ in range(2):
        client.report()
    await sending.passes(POLL_SECONDS)
    assert [one.is_settled for one in sent] == [False, True, True]
    await sending.passes(TIMEOUT_SECONDS)
    assert [type(one.error) for one in sent] == [SendTimeoutError, type(None), type(None)]


async def test_a_report_that_waited_with_the_process_counts(sending: Sending) -> None:
    """After a pause what librdkafka knows comes first: a record that is safe is not overdue."""
    delivery = sending.send()
    sending.client.report(offset=7)
    await sending.passes(10 * TIMEOUT_SECONDS)
    assert (delivery.error, delivery.offset) == (None, 7)


async def test_the_lease_is_asked_for_before_every_record(sending: Sending) -> None:
    """Each record anew, before librdkafka has it."""
    for _ in range(3):
        sending.send()
    assert sending.asked == [0, 1, 2]


async def test_nothing_is_sent_without_the_lease(sending: Sending) -> None:
    """Another worker may have the partitions."""
    sending.lease_error = InsessionError("over")
    with pytest.raises(InsessionError, match="over"):
        sending.send()
    assert (sending.client.produced, len(sending.producer._sent)) == ([], 0)


async def test_a_callback_that_raises_does_not_stop_the_polling(sending: Sending) -> None:
    """The loop tells of it; the other records are heard of at the next poll."""
    told: list[Mapping[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))

    def fail(_: Delivery) -> None:
        raise ValueError("a bug")

    first, second = sending.send(), sending.send()
    first.then(fail)
    for _ in range(2):
        sending.client.report()
    await sending.passes(POLL_SECONDS)
    assert [str(context["exception"]) for context in told] == ["a bug"]
    await sending.passes(POLL_SECONDS)
    assert (first.is_settled, second.is_settled) == (True, True)
    third = sending.send()
    sending.client.report()
    await sending.passes(POLL_SECONDS)
    assert third.is_settled


async def test_a_producer_that_can_send_no_more_ends_the_worker_with_the_brokers_reason(
    sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that may not number its records, say: of the records themselves librdkafka tells only that they are gone."""
    ends: list[BaseException] = []
    monkeypatch.setattr(sending.app, "abort", ends.append)
    sending.send()
    sending.client.fatal = KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED, "no", fatal=True)
    await sending.passes(POLL_SECONDS)
    (end,) = ends
    assert explained(end).startswith("the brokers do not let this user do it ([Error 31] Cluster")
    assert "docs/security.md" in explained(end)


async def test_whoever_is_told_may_send(sending: Sending) -> None:
    """In the very call: what waits for a write that is safe goes out at once."""
    sent: list[Delivery] = []
    sending.send().then(lambda _: sent.append(sending.send()))
    sending.client.report()
    await sending.passes(POLL_SECONDS)
    sending.client.report()
    await sending.passes(POLL_SECONDS)
    assert [one.is_settled for one in sent] == [True]


async def test_a_stop_waits_for_what_is_on_its_way(sending: Sending) -> None:
    """What is heard meanwhile counts; then nothing is polled any more."""
    delivery = sending.send()
    stopping = asyncio.ensure_future(sending.producer.on_stop())
    await sending.passes(POLL_SECONDS)
    assert not stopping.done()
    sending.client.report(offset=7)
    await sending.passes(2 * POLL_SECONDS)
    await stopping
    assert (delivery.error, delivery.offset) == (None, 7)
    polls = sending.client.polls
    await sending.passes(10 * IDLE_POLL_SECONDS)
    assert sending.client.polls == polls


async def test_a_stop_waits_no_longer_than_a_record_may_take(sending: Sending) -> None:
    """Whatever is left then is read again by the next owner."""
    delivery = sending.send()
    stopping = asyncio.ensure_future(sending.producer.on_stop())
    await sending.passes(0.0)
    await sending.passes(0.9 * TIMEOUT_SECONDS)
    assert not stopping.done()
    await sending.passes(0.2 * TIMEOUT_SECONDS)
    await stopping
    assert isinstance(delivery.error, SendTimeoutError)


async def test_a_producer_without_records_stops_at_once(sending: Sending, app: InsessionApp) -> None:
    """So does one that never started."""
    await sending.producer.on_stop()
    await RecordProducer(app.transport).on_stop()


async def test_nobody_waits_for_a_flush(sending: Sending) -> None:
    """Faust asks for one before each commit; what is committed is acknowledged."""
    sending.send()
    await sending.producer.flush()


async def test_the_client_is_made_with_the_apps_settings(sending: Sending) -> None:
    """At the start, when a token may have to be fetched, and no sooner."""
    assert sending.client.config == sending.app.producer_config()
    assert sending.client.config["client.id"] == sending.app.conf.broker_client_id


@pytest.mark.parametrize("is_mock_broker", [True, False])
def test_librdkafka_knows_every_setting(*, is_mock_broker: bool) -> None:
    """It refuses to begin otherwise, and where two contradict each other."""
    Producer(record_producer_config(replace(SETTINGS, is_mock_broker=is_mock_broker), client_id="worker"))


def test_a_mock_broker_numbers_no_producer() -> None:
    """Everything else is as with real ones."""
    config = record_producer_config(SETTINGS, client_id="worker")
    mocked = record_producer_config(replace(SETTINGS, is_mock_broker=True), client_id="worker")
    assert mocked == config | {"enable.idempotence": False}


def test_records_are_neither_lost_nor_doubled_nor_overtaken() -> None:
    """All replicas have a record that is acknowledged, and what is tried again keeps its place."""
    config = record_producer_config(SETTINGS, client_id="worker")
    assert (config["acks"], config["enable.idempotence"]) == ("all", True)
    assert config["partitioner"] == "murmur2_random"


def test_librdkafka_gives_up_after_us() -> None:
    """It would send what comes behind a record that it has given up: the process must have ended by then."""
    for seconds in (0.5, 10, 20):
        settings = replace(SETTINGS, send_timeout=timedelta(seconds=seconds))
        given_up_ms = record_producer_config(settings, client_id="worker")["delivery.timeout.ms"]
        assert given_up_ms > seconds * 1000 + 2 * POLL_SECONDS * 1000


def test_times_are_milliseconds() -> None:
    """The linger may be a fraction of one."""
    for linger, milliseconds in ((timedelta(0), 0.0), (timedelta(microseconds=2500), 2.5), (timedelta(seconds=1), 1e3)):
        assert record_producer_config(replace(SETTINGS, linger=linger), client_id="w")["linger.ms"] == milliseconds


def test_tls_and_sasl_reach_librdkafka(tmp_path: Path) -> None:
    """As they reach every other client of ours."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    security = SecuritySettings(
        protocol="sasl_ssl",
        mechanism="SCRAM-SHA-512",
        username="u",
        password=Secret("p"),
        ca_file=tmp_path / "ca.pem",
    )
    settings = replace(SETTINGS, security=security)
    config = record_producer_config(settings, client_id="worker")
    assert config.items() >= settings.client_config().items()
    assert (config["security.protocol"], config["sasl.password"]) == ("sasl_ssl", "p")
    assert config["ssl.ca.location"] == f"{tmp_path}/ca.pem"
