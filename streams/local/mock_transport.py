"""The transport for the embedded broker, which answers an empty fetch only when the time to wait is over.

Kafka answers as soon as a record comes (`fetch.min.bytes`), librdkafka's mock cluster (2.16) does not: with Faust's own
wait, 1.5 s, a record that comes after a pause would lie there for up to that long.
"""

from typing import Any, Final

from streams.delivery.committed_reads import CommittedReads
from streams.delivery.strict import StrictConsumer, StrictTransport

FETCH_WAIT_MS: Final = 10


class _ShortFetchThread(CommittedReads):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - Faust passes a constant; read at the start
        return consumer


class _ShortFetchConsumer(StrictConsumer):
    def _new_consumer_thread(self) -> _ShortFetchThread:
        return _ShortFetchThread(self, loop=self.loop, beacon=self.beacon)


class MockTransport(StrictTransport):
    """The strict transport with short fetches."""

    Consumer = _ShortFetchConsumer
