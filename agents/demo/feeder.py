"""Puts events into the clickstream: in time with their own clock, and never further ahead than the answers allow."""

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final

from confluent_kafka import Producer

from agents.demo.scoreboard import Place, SentInput
from agents.demo.shapes import FedRecord
from schemas.errors import InsessionError
from streams.cluster.producers import producer_config

MAX_IN_FLIGHT: Final = 64
"""Inputs without a record at a time: the mock broker drops the oldest beyond 5 MiB a partition."""
MAX_WAITING_MS: Final = 200
"""While an input waits longer than that no more is fed: a slow machine gives few good answers, not many late ones."""
_POLL_SECONDS: Final = 0.002
_FLUSH_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Clock:
    """Where the source's own clock is: at `first_ms` when the wall's was at `started_ms`, both Unix milliseconds."""

    first_ms: int
    started_ms: int
    speed: float

    def wall_ms(self, moment_ms: int) -> int:
        """Return when a moment of the source's clock is due, Unix milliseconds."""
        return self.started_ms + int((moment_ms - self.first_ms) / self.speed)


@dataclass(frozen=True, slots=True)
class Backlog:
    """How far the answers are.

    n_recorded: with those that are to have none. oldest_ms: timestamp of the longest waiting input, Unix milliseconds.
    """

    n_recorded: int
    oldest_ms: int | None


class Feeder:
    """A thread that produces until the events end, the time is over or it is told to stop.

    speed: of the events' own clock; infinite = as fast as answers come.
    held_back_seconds: how long due events waited for the answers to earlier ones.
    """

    def __init__(self, brokers: str, topic: str, *, speed: float, seconds: float) -> None:
        self.delivered: SimpleQueue[SentInput] = SimpleQueue()
        self._producer = embedded_producer(brokers)
        self._topic = topic
        self._speed = speed
        self._seconds = seconds
        self.n_sent = 0
        self.held_back_seconds = 0.0
        self.clock: Clock | None = None
        """None before the first event."""
        self._stopping = threading.Event()
        self._failure: InsessionError | None = None
        self._thread: threading.Thread | None = None

    def start(self, records: Iterable[FedRecord], backlog: Callable[[], Backlog]) -> None:
        """Begin to feed; `backlog` says how far the answers are."""
        self._thread = threading.Thread(target=self._run, args=(records, backlog), name="feeder", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """True once every event was fed and acknowledged; raises InsessionError where the broker refused one."""
        if self._failure is not None:
            raise self._failure
        return self._thread is not None and not self._thread.is_alive()

    def stop(self) -> None:
        """Stop feeding, and wait until what was fed is acknowledged."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, records: Iterable[FedRecord], backlog: Callable[[], Backlog]) -> None:
        try:
            self._feed(records, backlog)
            if self._producer.flush(_FLUSH_SECONDS):
                raise InsessionError("the embedded broker does not acknowledge events; run the demo again")  # noqa: TRY301
        except InsessionError as error:
            self._failure = error

    def _feed(self, records: Iterable[FedRecord], backlog: Callable[[], Backlog]) -> None:
        started = time.monotonic()
        for record in records:
            if self.clock is None:
                self.clock = Clock(record.due_ms, time.time_ns() // 1_000_000, self._speed)
            due = 0.0 if math.isinf(self._speed) else (record.due_ms - self.clock.first_ms) / 1000 / self._speed
            if due > self._seconds:
                return
            while (now := time.monotonic()) < started + due or self._is_too_far_ahead(backlog()):
                if self._is_over(started):
                    return
                self._producer.poll(_POLL_SECONDS)
                if now >= started + due:
                    self.held_back_seconds += time.monotonic() - now
            if self._is_over(started):
                return
            self._send(record)

    def _is_too_far_ahead(self, backlog: Backlog) -> bool:
        is_slow = backlog.oldest_ms is not None and time.time() * 1000 - backlog.oldest_ms > MAX_WAITING_MS
        return is_slow or self.n_sent - backlog.n_recorded >= MAX_IN_FLIGHT

    def _is_over(self, started: float) -> bool:
        return self._stopping.is_set() or time.monotonic() > started + self._seconds or self._failure is not None

    def _send(self, record: FedRecord) -> None:
        now_ms = time.time_ns() // 1_000_000

        def on_delivery(error: Any, message: Any) -> None:
            if error is not None:
                self._failure = InsessionError(f"the embedded broker refused an event ({error}); run the demo again")
                return
            place = Place(message.partition(), message.offset())
            self.delivered.put(SentInput(place, now_ms, record.clicks, record.truth))

        self._producer.produce(
            self._topic, key=record.key, value=record.value, timestamp=now_ms, on_delivery=on_delivery
        )
        self.n_sent += 1
        self._producer.poll(0)


def embedded_producer(brokers: str) -> Producer:
    """Make a producer for the mock broker, which ends before its clients: only fatal errors are logged."""
    config = producer_config({"bootstrap.servers": brokers}, client_id="insession-demo", linger_ms=0, idempotent=False)
    return Producer(config | {"log_level": 2})
