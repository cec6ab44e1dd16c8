"""Reads the topics back, from the first record of the run on, and keeps the scores."""

import importlib
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO, Final

from confluent_kafka import Consumer, TopicPartition

from agents.demo.feeder import Backlog
from agents.demo.scoreboard import Place, Report, Scoreboard, SentInput
from agents.demo.spotlight import ShownSession
from schemas import wire
from schemas.catalog_mapping import OURS
from schemas.catalog_reader import CatalogReader
from schemas.errors import InsessionError
from streams.cluster.topics import Topic
from streams.delivery.dead_letters import HEADER_PREFIX
from streams.local.embedded_broker import PARTITIONS

READ: Final = (
    Topic.CATALOG,
    Topic.MERCHANT_RULES,
    Topic.TRENDING,
    Topic.RECOMMENDATIONS,
    Topic.INTENT_SIGNALS,
    Topic.OUTCOMES,
    Topic.DEAD_LETTERS,
)
SNAPSHOT_SECONDS: Final = 0.25
_BATCH: Final = 500
_WAIT_SECONDS: Final = 0.005
_LAST_READ_SECONDS: Final = 0.3
_FETCH_WAIT_MS: Final = 10
_BROKER_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there is to show at a moment; `at_seconds` is monotonic."""

    at_seconds: float
    report: Report
    sessions: tuple[ShownSession, ...]


class Reader:
    """A thread that owns the scoreboard; others see `latest` and `backlog`, which it replaces as it goes on."""

    def __init__(self, brokers: str, scoreboard: Scoreboard, inputs: "SimpleQueue[SentInput]", copy_to: Path) -> None:
        """Every record that comes to the recommendations topic is copied to the file `copy_to`, a line each."""
        self._scoreboard = scoreboard
        self._inputs = inputs
        self._copy_to = copy_to
        self._catalog = CatalogReader(OURS)
        self._pending: list[Any] = []
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": "insession-demo",
                "auto.offset.reset": "error",  # a record that the mock broker dropped before it was read is no answer
                "enable.auto.commit": False,
                "fetch.wait.max.ms": _FETCH_WAIT_MS,  # the mock broker answers an empty fetch only after it
                "log_level": 2,
            }
        )
        begin = [TopicPartition(topic, partition, 0) for topic in READ for partition in range(PARTITIONS)]
        for place in begin:
            if place.topic == Topic.RECOMMENDATIONS:  # on which the observer found what was counted before
                place.offset = self._consumer.get_watermark_offsets(place, timeout=_BROKER_SECONDS)[1]
        self._consumer.assign(begin)
        importlib.import_module("sklearn.metrics")  # takes seconds, which the first figures would take from the reading
        self.latest = self._snapshot()
        self.backlog = Backlog(0, None)
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def check(self) -> None:
        """Raise what ended the thread, if something did."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> Report:
        """Stop reading; returns the final report."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._consumer.close()
        self.check()
        return self._scoreboard.report()

    def _run(self) -> None:
        try:
            with self._copy_to.open("wb") as copy:
                while not self._stopping.is_set():
                    self._read(copy)
                    if time.monotonic() > self.latest.at_seconds + SNAPSHOT_SECONDS:
                        self.latest = self._snapshot()
                end = time.monotonic() + _LAST_READ_SECONDS  # signals and repeated records may follow the last answer
                while time.monotonic() < end:
                    self._read(copy)
                self._scoreboard.settle(math.inf)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that asks
            self._failure = error

    def _read(self, copy: BinaryIO) -> None:
        arrived: Sequence[Any] = self._consumer.consume(_BATCH, timeout=_WAIT_SECONDS)
        received_ms = time.time() * 1000
        self._take_inputs()
        messages, self._pending = [*self._pending, *arrived], []
        for message in messages:
            if message.error() is not None:
                raise InsessionError(f"reading {message.topic()} back failed: {message.error()}; run the demo again")
            if not self._score(message, received_ms):
                self._pending.append(message)
            elif message.topic() == Topic.RECOMMENDATIONS:
                copy.write(message.value() + b"\n")
        self._scoreboard.settle(received_ms)
        ledger = self._scoreboard.ledger
        self.backlog = Backlog(ledger.with_record + ledger.ignored, self._scoreboard.oldest_waiting_ms)

    def _take_inputs(self) -> None:
        try:
            while True:
                self._scoreboard.sent(self._inputs.get_nowait())
        except Empty:
            return

    def _score(self, message: Any, received_ms: float) -> bool:
        """Score one record; False where its input is not acknowledged yet, though the worker already has it."""
        board = self._scoreboard
        key, value, time_ms = message.key(), message.value(), message.timestamp()[1]
        match message.topic():
            case Topic.CATALOG:
                board.described(self._catalog.read(key, value, time_ms), time_ms)
                return True
            case Topic.MERCHANT_RULES:
                board.ruled(key, value, time_ms)
                return True
            case Topic.TRENDING:
                board.trended(key.decode(), None if value is None else wire.decode_trending(value), time_ms)
                return True
            case Topic.OUTCOMES:
                board.followed(wire.decode_recommendation_outcome(value))
                return True
            case _:
                return self._joined(message, received_ms)

    def _joined(self, message: Any, received_ms: float) -> bool:
        """Score a record that an input has caused; False where that one is not acknowledged yet."""
        board = self._scoreboard
        if message.topic() == Topic.DEAD_LETTERS:
            place = Place.of(dict(message.headers())[HEADER_PREFIX + "id"].decode())
            if known := board.knows(place):
                board.dead_lettered(place)
            return known
        if message.topic() == Topic.INTENT_SIGNALS:
            signal = wire.decode_intent_signal(message.value())
            if known := board.knows(Place.of(signal.id)):
                board.signalled(signal)
            return known
        record = wire.decode_recommendation_set(message.value())
        if known := board.knows(Place.of(record.id)):
            board.recommended(record, received_ms, message.timestamp()[1])
        return known

    def _snapshot(self) -> Snapshot:
        return Snapshot(time.monotonic(), self._scoreboard.report(), self._scoreboard.sessions())
