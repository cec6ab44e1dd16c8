import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import structlog
from confluent_kafka import Consumer, KafkaError, Producer
from prometheus_client import CollectorRegistry

from streams.cluster.producers import producer_config
from streams.compacted_view import CompactedView, following
from streams.local.embedded_broker import EmbeddedBroker
from streams.metrics import ViewMetrics
from streams.records import InputRecord
from streams.settings import StreamSettings

NOBODY = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def logged() -> Any:
    """Catch the log lines."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """Run the embedded broker and give its address."""
    with EmbeddedBroker() as broker:
        yield broker.address


def produce(address: str, topic: str, *values: str) -> None:
    """Write records to a topic, each under its own value as the key."""
    producer = Producer(producer_config({"bootstrap.servers": address}, client_id="test"))
    for value in values:
        producer.produce(topic, key=value.encode(), value=value.encode())
    assert producer.flush(10) == 0


def config_of(broker: str) -> dict[str, Any]:
    """Return what a view of the embedded broker is given."""
    return StreamSettings(brokers=broker, is_mock_broker=True).view_config()


def viewed(
    topic: str,
    config: dict[str, Any],
    take: Callable[[InputRecord], None] = lambda _: None,
    registry: CollectorRegistry | None = None,
    let_go: Callable[[], None] | None = None,
) -> CompactedView:
    """Make a view."""
    metrics = ViewMetrics(registry or CollectorRegistry(), "things")
    return CompactedView(topic, config, take, metrics, let_go=let_go)


def test_every_record_from_the_beginning_is_handed_on(broker: str) -> None:
    """It is caught up when every partition's end is reached; stopped, it leaves no thread."""
    produce(broker, "things", *(f"v{number}" for number in range(50)))
    values, registry = list[bytes | None](), CollectorRegistry()
    view = viewed("things", config_of(broker), lambda record: values.append(record.value), registry)
    view.start()
    try:
        assert view.wait_until_caught_up(20)
    finally:
        view.stop()
    assert sorted(value or b"" for value in values) == sorted(f"v{number}".encode() for number in range(50))
    assert registry.get_sample_value("insession_things_caught_up") == 1
    assert (registry.get_sample_value("insession_things_last_record_timestamp_seconds") or 0) > 0
    assert "things" not in {thread.name for thread in threading.enumerate()}


def test_what_comes_later_is_handed_on_too(broker: str) -> None:
    """A view that has caught up goes on."""
    produce(broker, "growing", "first")
    come = threading.Event()

    def take(record: InputRecord) -> None:
        if record.value == b"later":
            come.set()

    view = viewed("growing", config_of(broker), take)
    view.start()
    try:
        assert view.wait_until_caught_up(20)
        produce(broker, "growing", "later")
        assert come.wait(20)
    finally:
        view.stop()


def test_a_record_that_raises_ends_nothing(broker: str, logged: list[dict[str, Any]]) -> None:
    """It is passed over, counted and logged once; those behind it count."""
    produce(broker, "odd", "good", "bad", "bad", "bad", "better")
    values, registry = list[bytes | None](), CollectorRegistry()

    def take(record: InputRecord) -> None:
        if record.value == b"bad":
            raise KeyError("bug")
        values.append(record.value)

    view = viewed("odd", config_of(broker), take, registry)
    view.start()
    try:
        assert view.wait_until_caught_up(20)
    finally:
        view.stop()
    assert sorted(value or b"" for value in values) == [b"better", b"good"]
    assert registry.get_sample_value("insession_things_failed_records_total") == 3
    assert [(entry["event"], entry["reason"], entry["topic"]) for entry in logged] == [
        ("view_record_failed", "KeyError", "odd")
    ]


def test_the_view_of_an_empty_topic_is_caught_up(broker: str) -> None:
    """A shop that has not described anything holds up no worker."""
    Producer({"bootstrap.servers": broker}).list_topics("nothing-yet", timeout=10)  # makes the topic
    view = viewed("nothing-yet", config_of(broker))
    view.start()
    try:
        assert view.wait_until_caught_up(20)
    finally:
        view.stop()


def test_the_view_survives_brokers_that_do_not_answer(logged: list[dict[str, Any]]) -> None:
    """It says so and asks again, the wait times out, and it can be stopped at any time."""
    view = viewed("things", {"bootstrap.servers": NOBODY, "log_level": 0})
    view.start()
    try:
        assert not view.wait_until_caught_up(1.5)
        assert view._thread.is_alive()
    finally:
        view.stop()
    assert not view._thread.is_alive()
    assert {entry["event"] for entry in logged} == {"view_brokers_do_not_answer"}


def test_a_stop_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the whole view hears at once that it will not come."""
    monkeypatch.setattr("streams.compacted_view.Consumer", TopiclessConsumer)
    view = viewed("things", {})
    view.start()
    view.stop()
    assert not view.wait_until_caught_up(3600)


def test_the_view_waits_for_a_topic_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, Any]]
) -> None:
    """A topic that the brokers do not have is asked for again until told to stop."""
    monkeypatch.setattr("streams.compacted_view.Consumer", TopiclessConsumer)
    view = viewed("things", {})
    view.start()
    assert TopiclessConsumer.asked.wait(10)
    view.stop()
    assert not view.wait_until_caught_up(0)
    assert {entry["event"] for entry in logged} == {"view_topic_missing"}
    assert TopiclessConsumer.closed.is_set()


def test_partitions_that_are_added_are_read_from_their_beginning(
    broker: str, monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, Any]]
) -> None:
    """And the others on from where they are: a rule that lies in a new one is obeyed, nothing comes twice."""
    produce(broker, "grown", *(f"v{number}" for number in range(200)))
    find, seen = CompactedView._partitions, list[list[int]]()

    def first_of_them(view: CompactedView, consumer: Any) -> list[int]:
        found = find(view, consumer)
        seen.append(found)
        return found[:1] if len(seen) == 1 else found

    monkeypatch.setattr("streams.compacted_view.LOOK_SECONDS", 0.0)
    monkeypatch.setattr(CompactedView, "_partitions", first_of_them)
    values, enough = list[bytes | None](), threading.Event()

    def take(record: InputRecord) -> None:
        values.append(record.value)
        if len(values) == 201:
            enough.set()

    view = viewed("grown", config_of(broker), take)
    view.start()
    try:
        assert view.wait_until_caught_up(20)
        produce(broker, "grown", "later")
        assert enough.wait(20)
    finally:
        view.stop()
    assert sorted(filter(None, values)) == sorted([*(f"v{number}".encode() for number in range(200)), b"later"])
    assert len(seen[0]) > 1
    assert [entry["partitions"] for entry in logged if entry["event"] == "view_partitions_added"] == [seen[0][1:]]


class BreakingConsumer(Consumer):
    """Fails once, after some records."""

    left = 5

    def poll(self, timeout: float) -> Any:
        """Give a record, or fail."""
        if BreakingConsumer.left == 0:
            BreakingConsumer.left = -1
            raise RuntimeError("the client is broken")
        message = super().poll(timeout)
        if message is not None and message.error() is None and BreakingConsumer.left > 0:
            BreakingConsumer.left -= 1
        return message


def test_a_view_that_breaks_goes_on_where_it_was(
    broker: str, monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, Any]]
) -> None:
    """Else it would be at rest for good with what it held then, and nobody would know: one line tells of it."""
    produce(broker, "breaking", *(f"v{number}" for number in range(50)))
    monkeypatch.setattr("streams.compacted_view.Consumer", BreakingConsumer)
    monkeypatch.setattr("streams.compacted_view._PAUSE_SECONDS", 0.0)
    values = list[bytes]()
    view = viewed("breaking", config_of(broker), lambda record: values.append(record.value or b""))
    view.start()
    try:
        assert view.wait_until_caught_up(20)
    finally:
        view.stop()
    assert sorted(values) == sorted(f"v{number}".encode() for number in range(50))
    assert [(one["event"], one["reason"]) for one in logged] == [("view_broke", "RuntimeError")]


def test_a_topic_that_may_not_be_read_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, Any]]
) -> None:
    """It is not missing."""
    monkeypatch.setattr("streams.compacted_view.Consumer", TopiclessConsumer)
    refused = SimpleNamespace(error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), partitions={})
    monkeypatch.setattr(TopiclessConsumer, "topics", {"things": refused})
    TopiclessConsumer.asked.clear()
    view = viewed("things", {})
    view.start()
    assert TopiclessConsumer.asked.wait(10)
    view.stop()
    assert "docs/security.md has the ACLs" in logged[0]["reason"]


def test_a_stop_ends_what_a_record_waits_for(broker: str) -> None:
    """A schema whose registry is away, say: who stops a worker at its start does not wait for that."""
    waits, let_go = threading.Event(), threading.Event()

    def take(_record: InputRecord) -> None:
        waits.set()
        assert let_go.wait(timeout=60)

    produce(broker, "things", "one")
    view = viewed("things", config_of(broker), take, let_go=let_go.set)
    view.start()
    assert waits.wait(timeout=20)
    view.stop()
    assert not view._thread.is_alive()


def test_a_view_that_was_never_started_can_be_stopped() -> None:
    """Stopping is safe whatever happened before."""
    viewed("things", {}).stop()


async def test_views_are_waited_for_together() -> None:
    """Each is waited for while the others are, so a start takes as long as the longest and no longer."""
    together = threading.Barrier(3)
    views = [MeetingView(together) for _ in range(3)]
    async with following(*views, patience_seconds=7.0) as complete:
        assert complete == [True] * 3
        assert [view.waited_seconds for view in views] == [7.0] * 3
        assert not any(view.is_stopped for view in views)
    assert all(view.is_stopped for view in views)


async def test_a_view_that_is_not_complete_in_time_is_followed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside one that is; at the end both are stopped."""
    monkeypatch.setattr("streams.compacted_view.Consumer", TopiclessConsumer)
    late, early = viewed("things", {}), MeetingView(threading.Barrier(1))
    async with following(late, early, patience_seconds=0.05) as complete:
        assert complete == [False, True]
        assert late._thread.is_alive()
    assert not late._thread.is_alive()
    assert early.is_stopped


class MeetingView(CompactedView):
    """A view that is complete as soon as all that meet are waited for."""

    def __init__(self, meeting: threading.Barrier) -> None:
        super().__init__("things", {}, lambda _: None, ViewMetrics(CollectorRegistry(), "things"))
        self._meeting = meeting
        self.waited_seconds = 0.0
        self.is_stopped = False

    def start(self) -> None:
        """Read nothing."""

    def wait_until_caught_up(self, timeout_seconds: float) -> bool:
        """Meet the others; fails where they do not come."""
        self.waited_seconds = timeout_seconds
        self._meeting.wait(10)
        return True

    def stop(self) -> None:
        """Note it."""
        self.is_stopped = True


class TopiclessConsumer:
    """A consumer of a cluster without the topic."""

    asked = threading.Event()
    closed = threading.Event()
    topics: ClassVar[dict[str, Any]] = {}

    def __init__(self, config: dict[str, Any]) -> None:
        assert config["enable.partition.eof"]

    def list_topics(self, _topic: str, timeout: float) -> "TopiclessConsumer":
        """Show no topic."""
        assert timeout > 0
        self.asked.set()
        return self

    def close(self) -> None:
        """Note it."""
        self.closed.set()
