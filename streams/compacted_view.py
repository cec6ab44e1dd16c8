"""A process's own view of a compacted topic: a thread that follows it from its beginning, without a consumer group."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from schemas.errors import without_input
from streams.cluster.admin import explained
from streams.cluster.topic_reader import input_record
from streams.metrics import ViewMetrics
from streams.rare_log import RareLog
from streams.records import InputRecord

log = structlog.get_logger(__name__)

_POLL_SECONDS: Final = 0.2
_PAUSE_SECONDS: Final = 1.0
"""After a failure of the view itself."""
_METADATA_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 30.0
"""Between two looks for partitions that were added to the topic."""


class CompactedView:
    """Reads one topic, every partition, in the order of each, and hands on what it reads until it is stopped.

    take: given every record on the view's thread; where it raises, the record is passed over, logged and counted.
    let_go: ends what `take` may be waiting for, when the view is to stop.
    """

    def __init__(
        self,
        topic: str,
        client_config: Mapping[str, Any],
        take: Callable[[InputRecord], None],
        metrics: ViewMetrics,
        *,
        let_go: Callable[[], None] | None = None,
    ) -> None:
        self._topic = topic
        self._take = take
        self._let_go = let_go
        self._metrics = metrics
        self._log = RareLog(log)
        self._config = {
            "log_level": 2,  # what librdkafka meets is told below, in lines of ours
            **client_config,
            "group.id": f"{topic}-view",  # never joined; yet librdkafka asks for its coordinator, and an ACL may say no
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
        self._stopping = threading.Event()
        self._caught_up = threading.Event()
        self._next_offsets: dict[int, int] = {}
        self._thread = threading.Thread(target=self._follow, name=topic, daemon=True)

    def start(self) -> None:
        """Start to read the topic from its beginning."""
        self._metrics.caught_up.set(0)  # an earlier view of this process may have said more
        self._thread.start()

    @property
    def has_caught_up(self) -> bool:
        """Return whether every partition's end was reached once."""
        return self._caught_up.is_set() and not self._stopping.is_set()

    def wait_until_caught_up(self, timeout_seconds: float) -> bool:
        """Wait until every partition's end was reached once; False after the timeout, or at a stop."""
        return self._caught_up.wait(timeout_seconds) and not self._stopping.is_set()

    def stop(self) -> None:
        """Stop reading and wait for the thread."""
        self._stopping.set()
        self._caught_up.set()  # a thread that waits would keep the process until its timeout
        if self._let_go is not None:
            self._let_go()
        if self._thread.ident is not None:
            self._thread.join()

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follow the topic meanwhile, for those who have no event loop."""
        self.start()
        try:
            yield
        finally:
            self.stop()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                self._read()
            except Exception as error:  # noqa: BLE001 - whatever it is: a view that stands still makes all lists stale
                if self._stopping.is_set():
                    return  # whoever waits was told
                self._caught_up.clear()
                self._metrics.caught_up.set(0)
                self._log.warning(
                    "view_broke",
                    reason=type(error).__name__,
                    topic=self._topic,
                    error=str(error),
                    remedy="goes on where it was; what it holds may be old until then",
                )
                self._stopping.wait(_PAUSE_SECONDS)

    def _read(self) -> None:
        """Read from where the view has come to, until it is stopped."""
        consumer = Consumer(self._config)
        try:
            partitions = self._assign(consumer)
            unread, looked = set(partitions), time.monotonic()
            while not self._stopping.is_set():
                if time.monotonic() - looked >= LOOK_SECONDS:
                    partitions, looked = self._with_added(consumer, partitions), time.monotonic()
                message = consumer.poll(_POLL_SECONDS)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    self._hand_on(message)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's public constant
                    unread.discard(message.partition())
                    if not unread:
                        self._caught_up.set()
                        self._metrics.caught_up.set(1)
                else:
                    self._log.warning("view_read_failed", reason=error.name(), topic=self._topic, error=error.str())
        finally:
            consumer.close()

    def _hand_on(self, message: Any) -> None:
        self._next_offsets[message.partition()] = message.offset() + 1
        try:
            record = input_record(message)
            self._metrics.last_record.set(record.time_ms / 1000)
            self._take(record)
        except Exception as error:  # noqa: BLE001 - a bug with one record: what comes after it counts all the same
            self._metrics.failed_records.inc()
            self._log.warning(
                "view_record_failed",
                reason=type(error).__name__,
                topic=self._topic,
                partition=message.partition(),
                offset=message.offset(),
                error=without_input(error),
                remedy="passed over; what its key said before stays",
            )

    def _assign(self, consumer: Any) -> list[int]:
        """Assign every partition of the topic, as soon as the brokers show it; [] = told to stop before."""
        while not self._stopping.is_set():
            partitions = self._partitions(consumer)
            if partitions:
                consumer.assign(self._positions(partitions))
                return partitions
            self._stopping.wait(_METADATA_SECONDS)
        return []

    def _positions(self, partitions: Sequence[int]) -> list[TopicPartition]:
        """Return where each partition is to be read on."""
        offsets = self._next_offsets
        return [TopicPartition(self._topic, one, offsets.get(one, OFFSET_BEGINNING)) for one in partitions]

    def _with_added(self, consumer: Any, partitions: list[int]) -> list[int]:
        """Read partitions that were added, too, from their beginning: a key may lie there from now on."""
        added = sorted(set(self._partitions(consumer)) - set(partitions))
        if added:
            log.info("view_partitions_added", topic=self._topic, partitions=added)
            consumer.assign(self._positions([*partitions, *added]))
        return [*partitions, *added]

    def _partitions(self, consumer: Any) -> list[int]:
        try:
            topic = consumer.list_topics(self._topic, timeout=_METADATA_SECONDS).topics.get(self._topic)
        except KafkaException as error:
            self._log.warning(
                "view_brokers_do_not_answer",
                reason=error.args[0].name(),
                topic=self._topic,
                error=explained(error),
                remedy="asks again",
            )
            return []
        if topic is None or topic.error is not None or not topic.partitions:
            refused = None if topic is None else topic.error
            if refused is None or refused.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                why = "there is none: run `insession topics create`"
            else:
                why = explained(KafkaException(refused))
            self._log.warning("view_topic_missing", reason=why, topic=self._topic, remedy="asks again")
            return []
        return sorted(topic.partitions)


@asynccontextmanager
async def following(*views: CompactedView, patience_seconds: float = 0.0) -> AsyncIterator[list[bool]]:
    """Follow topics meanwhile; gives of each whether its end was reached within so many seconds.

    They are waited for together: the seconds are those of all, not of each.
    """
    for view in views:
        view.start()
    try:
        yield await asyncio.gather(*(asyncio.to_thread(view.wait_until_caught_up, patience_seconds) for view in views))
    finally:
        await asyncio.gather(*(asyncio.to_thread(view.stop) for view in views))
