"""Writes records for the tools, and knows of each whether the brokers have it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaException, Producer

from schemas.errors import InsessionError
from streams.cluster.producers import producer_config
from streams.records import OutputRecord

FLUSH_SECONDS: Final = 40.0
"""Above the producer's delivery timeout: whatever is on its way is then either acknowledged or refused."""
_POLL_SECONDS: Final = 0.1


class SendError(InsessionError):
    """The brokers refused a record or did not take it in time."""


class Sender:
    """A producer by whose partitioner keys land where the tables expect them; idempotent as in `producer_config`.

    acknowledged: records that every in-sync replica has. Raises SendError from any call after the first refusal.
    """

    def __init__(self, client_config: Mapping[str, Any], *, client_id: str, idempotent: bool = True) -> None:
        broker = {"log_level": 2, **client_config}
        config = producer_config(broker, client_id=client_id, linger_ms=5.0, idempotent=idempotent)
        self._producer = Producer(config)
        self._failure: str | None = None
        self.acknowledged = 0

    def send(self, record: OutputRecord, *, time_ms: int | None = None) -> None:
        """Hand a record over; waits while the producer is full. time_ms: its timestamp, Unix ms; None = now."""
        while True:
            self.poll(0)
            try:
                self._produce(record, time_ms)
            except BufferError:
                self.poll(_POLL_SECONDS)
            except KafkaException as error:
                raise SendError(f"{record.topic} takes no record: {error.args[0].str()}") from error
            else:
                return

    def poll(self, seconds: float) -> None:
        """Take in what the brokers said, for at most `seconds`."""
        self._producer.poll(seconds)
        if self._failure is not None:
            raise SendError(self._failure)

    def flush(self, advance: Callable[[int], None] | None = None) -> None:
        """Wait until everything is acknowledged; `advance` hears of the count that is, now and then."""
        for _ in range(round(FLUSH_SECONDS / _POLL_SECONDS)):
            left = self._producer.flush(_POLL_SECONDS)
            self.poll(0)
            if advance is not None:
                advance(self.acknowledged)
            if not left:
                return
        raise SendError(f"the brokers did not acknowledge {left} records within {FLUSH_SECONDS:g} s")

    def _produce(self, record: OutputRecord, time_ms: int | None) -> None:
        where = {} if record.partition is None else {"partition": record.partition}
        moment = {} if time_ms is None else {"timestamp": time_ms}
        self._producer.produce(
            record.topic,
            key=record.key,
            value=record.value,
            headers=list(record.headers),
            on_delivery=self._delivered,
            **where,
            **moment,
        )

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None:
            self.acknowledged += 1
        elif self._failure is None:
            self._failure = f"{message.topic()} took no record: {error.str()}; what was sent before it is there"
