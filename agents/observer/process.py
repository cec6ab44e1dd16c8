"""The observer as a process: it waits for the topics and for its turn, then counts until it ends or the turn is over.

Of several observers one is active: the owner of partition 0 of `observer-state`, by the group protocol, under which
nothing is ever committed. One that is slow to see that its turn is over harms nothing: see `TrendingFold.restore`.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from agents.encodings import Encodings
from agents.observer.availability import AvailabilityWatch, watching
from agents.observer.metrics import ObserverMetrics
from agents.observer.observer import Observer
from agents.settings import Settings
from agents.web.pages import ProbePages
from agents.web.port import WebPort
from agents.web.pulse import Probe
from schemas.errors import InsessionError
from streams.cluster.topic_reader import TopicReader, input_record
from streams.cluster.topics import Topic, TopicsError
from streams.rare_log import RareLog
from streams.tools.sender import Sender

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 5.0
"""Between two tries, where topics are missing or brokers are away."""
LOOK_SECONDS: Final = 20.0
"""Between two looks at the ends of the topics."""
CHECK_SECONDS: Final = 0.2
"""Between two looks whether a list holds what is gone."""
STUCK_AFTER_SECONDS: Final = 120.0
CAUGHT_UP_RECORDS: Final = 10_000
"""With more records to read than this nothing is published."""
_POLL_SECONDS: Final = 0.2
_NO_USE: Final = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - the library's public constants
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
}
_REFUSED: Final = {
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,  # noqa: SLF001 - as above
}
_BATCH: Final = 500


class TurnOverError(Exception):
    """Another observer has the turn now."""


class Beat:
    """How the observer is, for the web port's thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: tuple[float, bool, str] = (clock(), False, "starting")

    def note(self, *, is_ready: bool, what: str) -> None:
        """Note that it moves, and what it does."""
        self._last = (self._clock(), is_ready, what)

    def alive(self) -> Probe:
        """Return whether it moves."""
        silent_seconds = self._clock() - self._last[0]
        return silent_seconds <= STUCK_AFTER_SECONDS, f"{self._last[2]}, {silent_seconds:.0f} s ago"

    def ready(self) -> Probe:
        """Return whether it counts, or another one does."""
        _, is_ready, what = self._last
        return is_ready and self.alive()[0], what


class Turn:
    """Whose turn it is, by the membership in a group: that of the owner of partition 0 of `topic`.

    The owner keeps it when others join or come back: each change of turns reads the state again.
    """

    def __init__(self, settings: Settings, topic: str) -> None:
        self._topic = topic
        self.is_ours = False
        self._consumer = Consumer(
            {
                "log_level": 2,
                **settings.kafka.client_config(),
                "group.id": f"{settings.topics.prefix}{settings.kafka.group}-observer",
                "client.id": "insession-observer",
                "enable.auto.commit": False,
                "partition.assignment.strategy": "cooperative-sticky",  # range may give a newcomer what another one has
                "session.timeout.ms": int(settings.kafka.session_timeout.total_seconds() * 1000),
            }
        )
        self._consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def poll(self, seconds: float = 0.0) -> bool:
        """Take part in the group for at most `seconds`; return whether it is our turn.

        Raises KafkaException where the brokers let us take no part.
        """
        found = self._consumer.poll(seconds)  # its partitions are paused: nothing ever comes but errors
        if found is not None and is_refusal(found.error()):
            raise KafkaException(found.error())
        return self.is_ours

    def close(self) -> None:
        """Leave the group, so that another one has its turn at once."""
        self._consumer.close()

    def _assigned(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)
        self.is_ours |= any(one.partition == 0 for one in partitions)

    def _revoked(self, _consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        self.is_ours &= all(one.partition != 0 for one in partitions)


def is_refusal(error: KafkaError) -> bool:
    """Return whether the brokers do not let us take part in the group: no other observer need be there, then."""
    return error.fatal() or error.code() in _REFUSED


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverProcess:
    """Runs observers, one turn after the other, until `stopping` is set; the metrics go through all turns."""

    settings: Settings
    metrics: ObserverMetrics
    stopping: threading.Event
    beat: Beat

    def run(self) -> None:
        """Wait, count and wait again; what fails is a log line, and tried again."""
        rare_log = RareLog(log)
        while not self.stopping.is_set():
            try:
                self._take_part()
            except TurnOverError:
                log.info("observer_turn_over", next="waits for its turn")
            except (InsessionError, KafkaException) as error:
                rare_log.warning(
                    "observer_waits", reason=type(error).__name__, error=str(error), retry_seconds=RETRY_SECONDS
                )
                self.beat.note(is_ready=False, what=f"waits: {error}")
                self.stopping.wait(RETRY_SECONDS)
            finally:
                self.metrics.active.set(0)

    def _take_part(self) -> None:
        topics = self.settings.topics
        state = topics.name(Topic.OBSERVER_STATE)
        with TopicReader(self.settings.kafka.client_config()) as reader:
            for topic in (Topic.RECOMMENDATIONS, Topic.TRENDING, Topic.OBSERVER_STATE):
                reader.bounds(topics.name(topic))  # raises where it is not there
            turn = Turn(self.settings, state)
            try:
                self.beat.note(is_ready=True, what="another observer counts, this one waits")
                while not turn.poll(_POLL_SECONDS):
                    if self.stopping.is_set():
                        return
                    self.beat.note(is_ready=True, what="another observer counts, this one waits")
                self._count(turn, reader)
            finally:
                turn.close()

    def _count(self, turn: Turn, reader: TopicReader) -> None:
        """Count while it is our turn; what is counted and not stored when it ends is counted again by the next one."""
        settings = self.settings
        is_idempotent = not settings.kafka.is_mock_broker  # which cannot number producers
        sender = Sender(settings.kafka.client_config(), client_id="insession-observer", idempotent=is_idempotent)
        encodings = Encodings(settings)
        encodings.register()
        with watching(settings, encodings, self.metrics) as watch:
            observer = Observer(
                trending=settings.topics.name(Topic.TRENDING),
                state=settings.topics.name(Topic.OBSERVER_STATE),
                send=sender.send,
                secret=settings.clickstream.pseudonym_secret.reveal().encode(),
                metrics=self.metrics,
                places=settings.locations,
                watch=watch,
                max_items=settings.trending.max_items,
                max_places=settings.trending.max_places,
                encode=encodings.encode,
                decode=None if settings.outputs.encoding == "json" else encodings.decode_output,
            )
            self.beat.note(is_ready=False, what="reads its state")
            state, trending = (settings.topics.name(topic) for topic in (Topic.OBSERVER_STATE, Topic.TRENDING))
            observer.restore(*(reader.read(topic, reader.bounds(topic)) for topic in (state, trending)))
            self._await_catalog(watch, turn)
            with followed(settings, reader, observer.fold.read) as following:  # and notes where it begins
                counting = _Counting(self, turn, reader, sender, observer, following)
                counting.run()

    def _await_catalog(self, watch: AvailabilityWatch, turn: Turn) -> None:
        """Wait until the catalog is read, for `catalog.start_timeout` at most: lists before that are not looked at."""
        patience = self.settings.catalog.start_timeout
        deadline = time.monotonic() + patience.total_seconds()
        while not watch.is_complete:
            if self.stopping.is_set():
                return
            if time.monotonic() >= deadline:
                log.warning(
                    "catalog_incomplete",
                    timeout_seconds=patience.total_seconds(),
                    detail="lists are not held against it until it is read",
                )
                return
            self.beat.note(is_ready=False, what="reads the catalog")
            if not turn.poll(_POLL_SECONDS):
                raise TurnOverError


@dataclass(slots=True)
class _Counting:
    """One turn: reads on, publishes, stores, and looks at the ends of the topics, each in its time."""

    process: ObserverProcess
    turn: Turn
    reader: TopicReader
    sender: Sender
    observer: Observer
    following: Consumer
    published_seconds: float = 0.0
    stored_seconds: float = 0.0
    looked_seconds: float = -LOOK_SECONDS
    checked_seconds: float = -CHECK_SECONDS
    unread: dict[int, int] = field(default_factory=dict)

    def run(self) -> None:
        """Count until the process is told to end; raises TurnOverError."""
        settings, process = self.process.settings.trending, self.process
        self.published_seconds = self.stored_seconds = time.monotonic()
        process.metrics.active.set(1)
        log.info("observer_counts", places=len(self.observer.fold.places))
        while not process.stopping.is_set():
            self._read_on()
            now = time.monotonic()
            if now - self.checked_seconds >= CHECK_SECONDS and self._has_caught_up():
                self.checked_seconds = now
                self.observer.drop_gone(datetime.now(UTC))
            if now - self.looked_seconds >= LOOK_SECONDS:
                self.looked_seconds = now
                self._look()
            lag = self._lag()
            process.metrics.lag.set(lag)
            process.beat.note(is_ready=True, what=f"counts, {lag} records behind")
            if now - self.published_seconds >= settings.publish_interval.total_seconds() and self._has_caught_up():
                self.published_seconds = now
                self.observer.publish(datetime.now(UTC), now)
                self.sender.flush()
            if now - self.stored_seconds >= settings.store_interval.total_seconds():
                self.stored_seconds = now
                self.store()
        self.store()

    def store(self) -> None:
        """Store what has changed, and then, when it is safe, how far the fold has come; raises TurnOverError."""
        self._own_turn()
        self.observer.store(datetime.now(UTC))
        self.sender.flush()
        self._own_turn()
        self.observer.store_progress()
        self.sender.flush()

    def _read_on(self) -> None:
        messages = self.following.consume(_BATCH, timeout=_POLL_SECONDS)
        self._own_turn()
        for message in messages:
            error = message.error()
            if error is None:
                self.observer.take(input_record(message))
            elif error.fatal() or error.code() in _NO_USE:
                raise KafkaException(error)
        self.observer.settle()
        self.sender.poll(0)

    def _own_turn(self) -> None:
        if not self.turn.poll():
            raise TurnOverError

    def _look(self) -> None:
        """Learn the ends: how much there is to read, partitions that are new, and clickstreams that were made anew."""
        settings = self.process.settings
        bounds = self.reader.bounds(settings.topics.name(Topic.RECOMMENDATIONS))
        if bounds.keys() - self.unread.keys() and self.unread:
            raise TurnOverError  # more partitions: begin again, from what is stored
        self.unread = {partition: held.stop for partition, held in bounds.items()}
        try:
            ends = {
                f"{topic}-{partition}": held.stop
                for topic in settings.clickstreams
                for partition, held in self.reader.bounds(topic).items()
            }
        except TopicsError as error:
            log.warning("clickstream_not_looked_at", error=str(error), detail="one made anew would not be noticed")
        else:
            self.observer.forget_beyond(ends)

    def _lag(self) -> int:
        read = self.observer.fold.read
        return sum(max(0, end - read.get(partition, 0)) for partition, end in self.unread.items())

    def _has_caught_up(self) -> bool:
        """Return whether the lists are of now: those of a fold that reads an old log would be old as well."""
        return self._lag() <= CAUGHT_UP_RECORDS


@contextmanager
def followed(settings: Settings, reader: TopicReader, read: dict[int, int]) -> Iterator[Consumer]:
    """Follow `recommendations` from the offsets in `read`; where one is not there any more, from the beginning.

    read: takes where it begins, by partition.
    """
    topic = settings.topics.name(Topic.RECOMMENDATIONS)
    consumer = Consumer(
        {
            "log_level": 2,
            **settings.kafka.client_config(),
            "group.id": f"{topic}-observer",  # never joined; yet librdkafka asks for its coordinator
            "client.id": "insession-observer",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",  # what was read may be gone by now
        }
    )
    try:
        for partition, held in reader.bounds(topic).items():
            start = read.get(partition, held.start)
            if not held.start <= start <= held.stop:
                why = "made anew" if start > held.stop else "deleted by retention"
                log.warning("recommendations_missing", partition=partition, wanted=start, found=held.start, why=why)
                start = held.start
            read[partition] = start
        consumer.assign([TopicPartition(topic, partition, start) for partition, start in read.items()])
        yield consumer
    finally:
        consumer.close()


def run_observer(settings: Settings, stopping: threading.Event) -> None:
    """Run an observer with its pages until `stopping` is set; raises WebPortError where the port cannot be had."""
    registry, beat = CollectorRegistry(), Beat()
    metrics = ObserverMetrics(registry)
    ProcessCollector(registry=registry)
    pages, trending = ProbePages(registry, beat), settings.trending
    with WebPort(trending.web_host, trending.web_port, pages.add_to, section="trending").running_beside():
        ObserverProcess(settings=settings, metrics=metrics, stopping=stopping, beat=beat).run()
