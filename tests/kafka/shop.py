"""A seeded shop: clicks of known visitors at a steady rate, with all that a clickstream brings."""

import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import count, islice
from types import TracebackType
from typing import Any, NamedTuple, Self

from confluent_kafka import Producer

from streams.cluster.producers import producer_config

DAY_MS = 24 * 3600 * 1000
ITEMS = [f"i{number}" for number in range(300)]
UNREADABLE = (b"\xff\xfe no JSON", b'{"visitor_id": 7}', b"[]", b"")


class Click(NamedTuple):
    """One record for the clickstream."""

    key: str
    value: bytes | None


class Shop:
    """Makes clicks, most of them plain; the others repeat, come late or out of order, end sessions or are unreadable.

    Every visitor has an own event time, which begins at `start_ms` and runs ahead of the wall clock, and one of the
    places.
    """

    def __init__(
        self,
        seed: int,
        *,
        visitors: int = 200,
        start_ms: int | None = None,
        places: Sequence[str | None] = (None,),
    ) -> None:
        self._random = random.Random(seed)
        self._places = places
        self._visitors = visitors
        start_ms = time.time_ns() // 1_000_000 - 30 * DAY_MS if start_ms is None else start_ms
        self._time_ms = [start_ms] * visitors
        self._latest: list[Click | None] = [None] * visitors

    def clicks(self) -> Iterator[Click]:
        """Make clicks for ever."""
        for number in count():
            visitor = self._random.randrange(self._visitors)
            chance = self._random.random()
            repeated = self._latest[visitor]
            if chance < 0.005:
                yield Click(f"v{visitor}", self._random.choice(UNREADABLE))
            elif chance < 0.025 and repeated is not None:
                yield repeated
            else:
                yield self._click(number, visitor, chance)

    def _click(self, number: int, visitor: int, chance: float) -> Click:
        event: dict[str, Any] = {
            "visitor_id": f"v{visitor}",
            "event_type": self._random.choice(("view", "view", "view", "cart", "purchase", "search")),
            "item_id": self._random.choice(ITEMS),
            "event_id": f"e{number}",
            "location": self._places[visitor % len(self._places)],
        }
        behind_ms = 0
        if visitor == 0:  # a bot: a tenth of a second between clicks, far above the rate limit
            self._time_ms[visitor] += 100
        elif chance < 0.06:
            behind_ms = self._random.choice((5_000, 30_000, 300_000))  # twice within the grace period, once late
        elif chance < 0.08:
            event["consent"] = False
        elif chance < 0.10:
            event["event_type"] = "session_end"
        elif chance < 0.14:
            self._time_ms[visitor] += 31 * 60 * 1000  # beyond the inactivity gap
        if visitor != 0:
            self._time_ms[visitor] += self._random.randrange(1_000, 60_000)
        event["event_time"] = self._time_ms[visitor] - behind_ms
        self._latest[visitor] = Click(event["visitor_id"], json.dumps(event).encode())
        return Click(event["visitor_id"], json.dumps(event).encode())


def live_clicks(seed: int, *, visitors: int) -> Iterator[Click]:
    """Make plain clicks for ever, each with the time at which it is asked for."""
    choose = random.Random(seed)
    for number in count():
        visitor = f"v{choose.randrange(visitors)}"
        event = {
            "visitor_id": visitor,
            "event_type": "view",
            "item_id": choose.choice(ITEMS),
            "event_id": f"e{number}",
            "event_time": time.time_ns() // 1_000_000,
        }
        yield Click(visitor, json.dumps(event).encode())


class Traffic:
    """Writes clicks to a topic, at once or from a thread at a steady rate, and counts them."""

    def __init__(self, brokers: str, topic: str, clicks: Iterator[Click]) -> None:
        self._producer = Producer(producer_config({"bootstrap.servers": brokers, "log_level": 2}, client_id="shop"))
        self._topic = topic
        self._clicks = clicks
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed: list[Any] = []
        self.sent = 0

    def write(self, number: int) -> None:
        """Write clicks as fast as the broker takes them, and wait until it has them."""
        for click in islice(self._clicks, number):
            self._produce(click)
        self._flush()

    def at_rate(self, events_per_second: float) -> Self:
        """Start to write from a thread; the `with` block that follows ends it."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, args=[events_per_second], name="shop")
        return self

    def __enter__(self) -> Self:
        assert self._thread is not None
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._thread is not None
        self._stopping.set()
        self._thread.join()
        if error is None:
            self._flush()

    def _run(self, events_per_second: float) -> None:
        started, sent_before = time.monotonic(), self.sent
        while not self._stopping.wait(0.02):
            due = sent_before + int((time.monotonic() - started) * events_per_second)
            for click in islice(self._clicks, max(0, due - self.sent)):
                self._produce(click)

    def _produce(self, click: Click) -> None:
        self._producer.produce(self._topic, key=click.key, value=click.value, on_delivery=self._delivered)
        self._producer.poll(0)
        self.sent += 1

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failed.append(error)

    def _flush(self) -> None:
        assert self._producer.flush(30) == 0
        assert self._failed == []
