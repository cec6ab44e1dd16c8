"""Keep every visitor's latest recommendations in memory and serve them on loopback.

    python recommendation_cache.py --brokers 127.0.0.1:9092
    curl 'http://127.0.0.1:8080/recommendations?visitor=v1&location=Oslo'
    curl 'http://127.0.0.1:8080/trending?location=Oslo'

Three topics become one cache: `recommendations` says what each visitor was last answered, `default-recommendations`
what to show to everybody else, also while the recommender is down, `trending` what is viewed at each place. Every
instance reads all partitions, so there is no consumer group and nothing to commit: a restart reads the answers that are
still fresh once more.
"""

import argparse
import json
import logging
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

DEFAULT_KEY = "__default__"
TRENDING_KEY = "__all__"
SWEEP_SECONDS = 60.0
log = logging.getLogger("recommendation_cache")


@dataclass(frozen=True)
class Shown:
    """A list. until_ms: when something in it goes, Unix. because: of some items, what each is owed to."""

    items: list[str]
    until_ms: float
    because: dict[str, str]


NOTHING = Shown([], 0, {})


@dataclass(frozen=True)
class Trending:
    """What is viewed at a place, most viewed first; of that what rises there, most first."""

    items: list[str]
    rising: list[str]


NOT_TRENDING = Trending([], [])


class RecommendationCache:
    """What to show to whom; one thread writes, many read.

    ttl_ms: an answer older than this is not shown any more.
    """

    def __init__(self, ttl_ms: int) -> None:
        self._ttl_ms = ttl_ms
        self._answers: dict[str, tuple[int, Shown]] = {}  # visitor: record time in ms, list
        self._defaults: dict[str, Shown] = {}  # location or DEFAULT_KEY: list
        self._trending: dict[str, Trending] = {}  # location or TRENDING_KEY: list
        self._highest: dict[str, int] = {}  # input topic and partition: highest input offset seen
        self._lock = threading.Lock()
        self.repeated = 0

    def take_answer(self, visitor: str, value: bytes | None, time_ms: int) -> None:
        """Take a record of `recommendations`; a tombstone forgets the visitor."""
        if value is None:
            self._forget(visitor)
            return
        answer = json.loads(value)
        if self._is_repeated(answer["id"]):
            self.repeated += 1
        elif answer["status"] == "answered" and answer["items"]:
            with self._lock:
                self._answers[visitor] = time_ms, shown(answer)
        elif answer["status"] == "no_consent":
            self._forget(visitor)
        # All other statuses say nothing newer about this visitor: what is cached stays.

    def take_default(self, key: str, value: bytes | None) -> None:
        """Take a record of `default-recommendations`; a tombstone ends a location's own list."""
        with self._lock:
            if value is None:
                self._defaults.pop(key, None)
            else:
                self._defaults[key] = shown(json.loads(value))

    def take_trending(self, key: str, value: bytes | None) -> None:
        """Take a record of `trending`; a tombstone ends a place's own list."""
        with self._lock:
            if value is None:
                self._trending.pop(key, None)
            else:
                self._trending[key] = trending(json.loads(value))

    def trending(self, location: str) -> tuple[str, Trending]:
        """Give the place and its list: of this place, else of the nearest around it that has one, else of all."""
        with self._lock:
            for key in (*places(location), TRENDING_KEY):
                if key in self._trending:
                    return key, self._trending[key]
            return TRENDING_KEY, NOT_TRENDING

    def get(self, visitor: str, location: str, now_ms: int) -> tuple[str, Shown]:
        """Give source and a list that is not over: the visitor's own, else the nearest place's, else everybody's."""
        with self._lock:
            time_ms, own = self._answers.get(visitor, (0, NOTHING))
            if now_ms < own.until_ms and now_ms - time_ms <= self._ttl_ms:
                return "visitor", own
            for key in (*places(location), DEFAULT_KEY):
                held = self._defaults.get(key, NOTHING)
                if now_ms < held.until_ms:
                    return "default", held
            return "default", NOTHING

    def sweep(self, now_ms: int) -> None:
        """Drop what has expired: memory is bounded by the visitors of one TTL."""
        with self._lock:
            fresh = {who: held for who, held in self._answers.items() if now_ms - held[0] <= self._ttl_ms}
            self._answers = fresh

    def _is_repeated(self, record_id: str) -> bool:
        """Tell a record that was delivered before: ids are `{topic}-{partition}-{offset}`, and offsets only grow."""
        source, _, offset = record_id.rpartition("-")
        if int(offset) <= self._highest.get(source, -1):
            return True
        self._highest[source] = int(offset)
        return False

    def _forget(self, visitor: str) -> None:
        with self._lock:
            self._answers.pop(visitor, None)


def shown(record: dict[str, Any]) -> Shown:
    """Read what a record of either topic lists."""
    until = record.get("valid_until")
    return Shown(
        items=[item["item_id"] for item in record["items"]],
        until_ms=float("inf") if until is None else datetime.fromisoformat(until).timestamp() * 1000,
        because={item["item_id"]: item["because"] for item in record["items"] if item.get("because")},
    )


def trending(record: dict[str, Any]) -> Trending:
    """Read what a record of `trending` lists."""
    rising = [item for item in record["items"] if item["rising"] > 0]
    return Trending(
        items=[item["item_id"] for item in record["items"]],
        rising=[item["item_id"] for item in sorted(rising, key=lambda item: -item["rising"])],
    )


def places(location: str) -> Iterator[str]:
    """Give a place, then those that it lies in: `nl/nh/ams`, `nl/nh`, `nl`."""
    while location:
        yield location
        location = location.rpartition("/")[0]


class Follower:
    """Reads the three topics into the cache until `stop` is set."""

    def __init__(self, arguments: argparse.Namespace, cache: RecommendationCache) -> None:
        self._answers = f"{arguments.prefix}recommendations"
        self._defaults = f"{arguments.prefix}default-recommendations"
        self._trending = f"{arguments.prefix}trending"
        self._cache = cache
        self._ttl_ms = arguments.ttl_minutes * 60_000
        self.stop = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": arguments.brokers,
                "group.id": "recommendation-cache",  # librdkafka wants a name; with assign() no group is joined
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )

    def run(self) -> None:
        """Start where the oldest fresh answer may lie, and follow the topics."""
        latest = [
            one for topic in (self._defaults, self._trending) for one in self._partitions(topic, OFFSET_BEGINNING)
        ]
        self._consumer.assign([*self._fresh_answers(), *latest])
        next_sweep = time.monotonic() + SWEEP_SECONDS
        try:
            while not self.stop.is_set():
                for message in self._consumer.consume(500, timeout=0.2):
                    self._take(message)
                if time.monotonic() > next_sweep:
                    self._cache.sweep(now_ms())
                    next_sweep = time.monotonic() + SWEEP_SECONDS
        finally:
            self._consumer.close()

    def _take(self, message: Message) -> None:
        if message.error() is not None:
            log.warning("%s", message.error())  # librdkafka reconnects by itself
            return
        key = (message.key() or b"").decode()
        try:
            if message.topic() == self._defaults:
                self._cache.take_default(key, message.value())
            elif message.topic() == self._trending:
                self._cache.take_trending(key, message.value())
            else:
                self._cache.take_answer(key, message.value(), message.timestamp()[1])
        except (ValueError, KeyError, TypeError):  # one bad record must not end the cache
            log.exception("unreadable: %s %d %d", message.topic(), message.partition(), message.offset())

    def _fresh_answers(self) -> list[TopicPartition]:
        """Give the first offset of each partition that is not older than the TTL."""
        since = self._partitions(self._answers, now_ms() - self._ttl_ms)
        return list(self._consumer.offsets_for_times(list(since)))

    def _partitions(self, topic: str, offset: int) -> Iterator[TopicPartition]:
        partitions = self._consumer.list_topics(topic, timeout=15).topics[topic].partitions
        if not partitions:
            raise SystemExit(f"There is no topic {topic}: check --brokers and --prefix.")
        return (TopicPartition(topic, partition, offset) for partition in partitions)


def handler(cache: RecommendationCache) -> type[BaseHTTPRequestHandler]:
    """Make the handler of GET /recommendations, GET /trending and GET /stats."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(address.query).items()}
            if address.path == "/recommendations" and "visitor" in asked:
                source, held = cache.get(asked["visitor"], asked.get("location", ""), now_ms())
                self._answer({"source": source, "items": held.items, "because": held.because})
            elif address.path == "/trending":
                place, listed = cache.trending(asked.get("location", ""))
                self._answer({"place": place, "items": listed.items, "rising": listed.rising})
            elif address.path == "/stats":
                self._answer({"repeated": cache.repeated})
            else:
                self.send_error(HTTPStatus.NOT_FOUND, "try /recommendations?visitor=... or /trending")

        def _answer(self, body: dict[str, Any]) -> None:
            encoded = json.dumps(body).encode()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, *_: object) -> None:
            """Keep quiet: a line a request is no use."""

    return Handler


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def main() -> None:
    """Follow the topics in a thread and serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", default="127.0.0.1:9092")
    parser.add_argument("--prefix", default="", help="of the topics' names")
    parser.add_argument("--port", type=int, default=8080, help="on loopback; 0 = any that is free")
    parser.add_argument("--ttl-minutes", type=int, default=30, help="how long an answer is shown")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    cache = RecommendationCache(arguments.ttl_minutes * 60_000)
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), handler(cache))
    follower = Follower(arguments, cache)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: follower.stop.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    log.info("listening on http://127.0.0.1:%d", server.server_port)
    follower.run()
    server.shutdown()


if __name__ == "__main__":
    main()
