"""The worker's one producer: librdkafka's, which the event loop polls; it takes answers, states, ticks and the rest.

librdkafka sends from a thread of its own, in C. Its delivery reports wait until they are polled, so every callback runs
in the loop's thread, and a record costs neither a task nor a future (docs/performance.md has the figures).

A record that is not acknowledged in time is found here, and ends the process. librdkafka would give it up and send what
comes behind it: the answers of a visitor would overtake each other. Its own limit lies above ours, and is for a process
that was paused: before librdkafka sends again it drops what is older, and the session lasts longer than that limit.

The lease is asked for when a record is handed over. A state that arrives when it is over carries its owner, and is
passed over (streams/state/fencing.py).
"""

import asyncio
from collections import deque
from datetime import timedelta
from typing import Any, Final

from aiokafka import errors
from confluent_kafka import KafkaError, KafkaException, Producer
from faust.transport.producer import Producer as FaustProducer

from schemas.errors import InsessionError
from streams.cluster.producers import producer_config
from streams.cluster.topics import MAX_RECORD_BATCH_BYTES
from streams.records import Delivery, OutputRecord
from streams.settings import StreamSettings

POLL_SECONDS: Final = 0.005
"""Between two looks at the reports while records are on their way: an acknowledgement waits for so long at most."""
IDLE_POLL_SECONDS: Final = 1.0
"""While none is: librdkafka asks for new tokens, and tells of its errors, when it is polled."""
_NO_TOPIC: Final = frozenset({KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})  # noqa: SLF001 - so they are named
_MAX_RECORDS: Final = 1_000_000
_BATCH_BYTES: Final = 128 * 1024
_BATCH_HEADER_BYTES: Final = 100
"""More than a batch takes beside its records, which librdkafka does not count."""
_GIVEN_UP_AFTER: Final = 1.08
"""Send timeouts after which librdkafka gives a record up by itself."""
_LOG_LEVEL: Final = 2  # syslog's "critical": what goes wrong comes with a report


class SendTimeoutError(InsessionError):
    """The brokers did not acknowledge a record within `kafka.send_timeout`."""


class ProducerFullError(InsessionError):
    """More records wait to be sent than the producer holds."""


class RecordProducer(FaustProducer):  # type: ignore[misc]
    """A `RecordSink` in the place of Faust's producer, over its transport's app.

    Idempotent where the brokers can number producers, and acks=all: records of a partition lie there in the order in
    which they were sent, whatever is tried again. A record that is not acknowledged within the send timeout fails.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop | None = None, **kwargs: Any) -> None:
        super().__init__(transport, loop=loop, **kwargs)
        self._timeout_seconds: float = self.app.conf.producer_request_timeout
        self._client: Any = None
        self._polling: asyncio.TimerHandle | None = None
        self._is_busy = False
        self._sent: deque[tuple[float, Delivery]] = deque()

    async def on_start(self) -> None:
        """Begin to send."""
        await super().on_start()
        self._client = Producer(self.app.producer_config())
        self._poll()

    async def on_stop(self) -> None:
        """Send what is there, within the send timeout."""
        await super().on_stop()
        if self._client is None:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeout_seconds
        while len(self._client) and loop.time() < until:  # noqa: ASYNC110 - `_poll` goes on, and no event tells of it
            await asyncio.sleep(POLL_SECONDS)
        if self._polling is not None:
            self._polling.cancel()

    async def flush(self) -> None:
        """Wait for nothing: Faust flushes before it commits, and what is acknowledged here, the brokers have."""

    def deliver(self, record: OutputRecord) -> Delivery:
        """Send a record; see `RecordSink`.

        Raises ProducerFullError, or what is wrong with the record: one that is too large, a topic that is not there.
        """
        self.app.require_lease()
        delivery = Delivery(record.topic, record.key)

        def reported(error: KafkaError | None, message: Any) -> None:
            if error is None:
                delivery.offset = message.offset()
                delivery.settle()
            else:
                delivery.settle(self._failure(error))

        partition = -1 if record.partition is None else record.partition
        try:
            if record.headers:
                self._client.produce(
                    record.topic, record.value, record.key, partition, reported, headers=list(record.headers)
                )
            else:
                self._client.produce(record.topic, record.value, record.key, partition, reported)
        except BufferError:
            raise ProducerFullError(
                "too many records wait to be sent: the brokers take fewer than this worker makes. See that they answer "
                "and start again"
            ) from None
        except KafkaException as error:
            raise self._failure(error.args[0]) from None
        self._sent.append((asyncio.get_running_loop().time(), delivery))
        if not self._is_busy:
            self._poll_in(POLL_SECONDS)
        return delivery

    def _failure(self, error: KafkaError) -> Exception:
        """Return the error in the terms of streams/delivery/endings.py."""
        if error.code() == KafkaError._MSG_TIMED_OUT:  # noqa: SLF001 - as above
            return self._late()
        if error.code() in _NO_TOPIC:
            missing: Exception = errors.UnknownTopicOrPartitionError(error.str())
            return missing
        if error.code() > 0:  # the brokers', or one that they would give
            named: Exception = errors.for_code(error.code())(error.str())
            return named
        other: Exception = KafkaException(error)
        return other

    def _late(self) -> SendTimeoutError:
        return SendTimeoutError(
            f"the record was not acknowledged within {self._timeout_seconds:g} s (kafka.send_timeout); check the "
            "brokers and start again"
        )

    def _poll_in(self, seconds: float) -> None:
        if self._polling is not None:
            self._polling.cancel()
        self._is_busy = seconds < IDLE_POLL_SECONDS
        self._polling = asyncio.get_running_loop().call_later(seconds, self._poll)

    def _poll(self) -> None:
        """Take in the reports, and find what is overdue."""
        try:
            self._client.poll(0)
            sent, before = self._sent, asyncio.get_running_loop().time() - self._timeout_seconds
            while sent and (sent[0][1].is_settled or sent[0][0] < before):
                _, delivery = sent.popleft()
                if not delivery.is_settled:
                    delivery.settle(self._late())
        except KafkaException as error:
            if not error.args[0].fatal():
                raise
            # It sends nothing from here on; the records that wait would only say that they were thrown away.
            self.app.abort(self._failure(error.args[0]))
        finally:
            self._poll_in(POLL_SECONDS if len(self._client) else IDLE_POLL_SECONDS)


def record_producer_config(settings: StreamSettings, *, client_id: str) -> dict[str, Any]:
    """Return librdkafka's settings. Raises TokenError."""
    shared = producer_config(
        settings.client_config(),
        client_id=client_id,
        linger_ms=settings.linger / timedelta(milliseconds=1),
        idempotent=not settings.is_mock_broker,  # which cannot number producers
    )
    return {
        **shared,
        "delivery.timeout.ms": round(settings.send_timeout * _GIVEN_UP_AFTER / timedelta(milliseconds=1)),
        "queue.buffering.max.messages": _MAX_RECORDS,
        "batch.size": _BATCH_BYTES,
        "message.max.bytes": MAX_RECORD_BATCH_BYTES - _BATCH_HEADER_BYTES,
        "socket.nagle.disable": True,
        "log_level": _LOG_LEVEL,
    }
