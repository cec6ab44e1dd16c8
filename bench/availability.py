"""How long a list may hold what is gone: `python -m bench.availability`.

A broker, and in this process what a worker has between the catalog topic and its lists: the view of the topic on its
thread, the recommender, and the writer of the default lists, which go to their topic. A thread sells items out and
brings them back, a record each; every tenth is not sold out by a record, but ends at a moment that its record named
before. The recommender answers at a steady rate, from what is popular at 32 places; of the items half are gone at any
time.

Measured, for each item that goes while lists hold it: the milliseconds from the timestamp of its record, or from its
moment, to the last list that holds it. An answer holds an item when it is made; a default list until the brokers have
the next one. An item that no list holds any more when it goes counts as 0. Not measured: what a reader of the lists
takes.
"""

import asyncio
import json
import math
import os
import threading
import time
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import click
import structlog
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry, disable_created_metrics
from rich.console import Console
from rich.table import Table

from agents.clicks.output_headers import OutputHeaders
from agents.serving_tier import serving_tier
from agents.worker.default_list import GONE_CHECK_SECONDS, DefaultListWriter
from schemas import wire
from schemas.catalog_reader import DescribedItem
from schemas.errors import InsessionError
from schemas.ids import ItemId, VisitorId
from schemas.records import CatalogItem
from serving.chain import AnswerRequest, Recommender
from serving.popular import Sighting
from serving.settings import ServingSettings
from streams.availability_history import ALLOWED_MS, AvailabilityHistory
from streams.catalog import Catalog, catalog_view
from streams.cluster.producers import producer_config
from streams.cluster.topic_creation import create
from streams.cluster.topics import Topic, TopicSettings, admin_client, topic_specs
from streams.compacted_view import following
from streams.local.embedded_broker import EmbeddedBrokerProcess
from streams.local.kafka_node import KafkaNode
from streams.metrics import CatalogMetrics, DeliveryMetrics
from streams.records import Delivery, OutputRecord

TOPICS: Final = TopicSettings(partitions=4, replication=1, min_insync_replicas=1)
PLACES: Final = tuple(f"nl/{province}/{city}" for province in range(4) for city in range(8))
EVERY_NTH_BY_TIME: Final = 10
NOTICE_MS: Final = 1_500
"""How long before its end the record of an item that ends by time is written."""
CATCH_UP_SECONDS: Final = 60.0
_NO_ITEM: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run. rate: records of the catalog a second; pace: answers a second, fewer where that is too much."""

    answers: int
    rate: float
    pace: float
    items: int
    seed: int = 7


@dataclass(slots=True)
class Gone:
    """A time in which an item was gone, [from, back) in Unix milliseconds; is_by_time: no record came as it went."""

    item: int
    from_ms: int
    is_by_time: bool
    back_ms: float = math.inf


@dataclass(slots=True)
class Changes:
    """What the shop said of its items: the records by their timestamps, and when what was gone."""

    records: list[tuple[int, CatalogItem]] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)


class Shop:
    """A thread that writes `rate` records a second until it is stopped."""

    def __init__(self, plan: Plan, brokers: str, topic: str, *, idempotent: bool) -> None:
        self.changes = Changes()
        self._plan = plan
        self._topic = topic
        self._dice = Random(plan.seed)
        config = producer_config({"bootstrap.servers": brokers}, client_id="bench-shop", idempotent=idempotent)
        self._producer = Producer(config)
        self._out: dict[int, Gone] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shop", daemon=True)

    def describe_all(self) -> None:
        """Write every item's first record."""
        now_ms = time.time_ns() // 1_000_000
        self._write(
            CatalogItem(item_id=item_id(self._plan.items), locations=list(PLACES)), now_ms
        )  # they are the shop's
        for item in range(self._plan.items):
            self._write(CatalogItem(item_id=item_id(item)), now_ms)
        if self._producer.flush(30):
            raise InsessionError("the broker does not take the catalog: its log says why")

    def start(self) -> None:
        """Begin to change items."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait until all is on the broker."""
        self._stopping.set()
        self._thread.join()
        self._producer.flush(30)

    def _run(self) -> None:
        began, written = time.monotonic(), 0
        while not self._stopping.is_set():
            while written < (time.monotonic() - began) * self._plan.rate:
                self._change(written)
                written += 1
            self._producer.poll(0.001)

    def _change(self, number: int) -> None:
        item, now_ms = self._dice.randrange(self._plan.items), time.time_ns() // 1_000_000
        out = self._out.pop(item, None)
        if out is not None:
            out.back_ms = max(now_ms, out.from_ms)
            self._write(CatalogItem(item_id=item_id(item)), now_ms)
            return
        is_by_time = number % EVERY_NTH_BY_TIME == 0
        gone = self._out[item] = Gone(item, now_ms + NOTICE_MS * is_by_time, is_by_time)
        self.changes.gone.append(gone)
        end = {"available_until": gone.from_ms} if is_by_time else {"available": False}
        self._write(CatalogItem(item_id=item_id(item), **end), now_ms)

    def _write(self, record: CatalogItem, now_ms: int) -> None:
        self.changes.records.append((now_ms, record))
        self._producer.produce(self._topic, wire.encode(record), record.item_id.encode(), timestamp=now_ms)


@dataclass(slots=True)
class Answers:
    """Every answer by when it was made: its items, always as many, by their numbers."""

    size: int
    times_ms: "array[int]" = field(default_factory=lambda: array("q"))
    items: "array[int]" = field(default_factory=lambda: array("H"))

    def add(self, made_ms: int, items: Sequence[ItemId]) -> None:
        """Keep an answer."""
        self.times_ms.append(made_ms)
        self.items.extend([number_of(item) for item in items] + [_NO_ITEM] * (self.size - len(items)))

    def __iter__(self) -> Iterator[tuple[int, Sequence[int]]]:
        """Return when each was made, and what it holds."""
        for place, made_ms in enumerate(self.times_ms):
            listed = self.items[place * self.size : (place + 1) * self.size]
            yield made_ms, [item for item in listed if item != _NO_ITEM]


class ListTopic:
    """Sends the default lists to their topic, and keeps by key since when which items are in its list."""

    def __init__(self, brokers: str, *, idempotent: bool) -> None:
        config = producer_config({"bootstrap.servers": brokers}, client_id="bench-lists", idempotent=idempotent)
        self._producer = Producer(config)
        self.lists: dict[bytes, list[tuple[int, frozenset[int]]]] = defaultdict(list)

    def send(self, record: OutputRecord) -> Delivery:
        """See `RecordSink`."""
        delivery = Delivery(record.topic, record.key)
        decoded = None if record.value is None else wire.decode_default_recommendations(record.value)
        items = frozenset(number_of(item.item_id) for item in (() if decoded is None else decoded.items))

        def reported(error: Any, _message: Any) -> None:
            if error is None:
                self.lists[record.key or b""].append((time.time_ns() // 1_000_000, items))
            delivery.settle(None if error is None else ConnectionError(str(error)))

        self._producer.produce(record.topic, record.value, record.key, on_delivery=reported)
        return delivery

    async def polled(self) -> None:
        """Serve the acknowledgements, for ever."""
        while True:
            self._producer.poll(0)
            await asyncio.sleep(0.002)


def item_id(number: int) -> ItemId:
    """Name an item."""
    return ItemId(f"item-{number:06d}")


def number_of(item: ItemId) -> int:
    """Return the number of an item."""
    return int(item[5:])


def popular_everywhere(recommender: Recommender, plan: Plan) -> None:
    """Let visitors click, each once, so that each place has an order of its own; favourites are clicked more often."""
    dice, now_ms = Random(plan.seed), time.time_ns() // 1_000_000
    weights = [1 / (1 + rank) for rank in range(plan.items)]
    for place in PLACES:
        items = dice.choices(dice.sample(range(plan.items), plan.items), weights, k=1_500)
        for number, item in enumerate(items):
            recommender.observe(
                Sighting(
                    visitor_id=VisitorId(f"{place}-{number}"),
                    item_id=item_id(item),
                    location=place,
                    event_time_ms=now_ms,
                    arrived_ms=now_ms,
                )
            )


async def answered(recommender: Recommender, plan: Plan) -> Answers:
    """Answer at all places in turn; other tasks get their turn between any two answers."""
    answers, began = Answers(recommender.settings.answer_size), time.monotonic()
    for number in range(plan.answers):
        place = PLACES[number % len(PLACES)]
        request = AnswerRequest(events=(), location=place, bought=(), deadline=math.inf, want_personal=False)
        answer = await recommender.answer(request)
        answers.add(time.time_ns() // 1_000_000, [item.item_id for item in answer.items])
        await asyncio.sleep(max(0.0, number / plan.pace - (time.monotonic() - began)))
    return answers


async def measured(plan: Plan, brokers: str, *, idempotent: bool) -> dict[str, Any]:
    """Run it on a broker whose topics are there."""
    registry = CollectorRegistry()
    catalog, lists = Catalog(), ListTopic(brokers, idempotent=idempotent)
    shop = Shop(plan, brokers, TOPICS.name(Topic.CATALOG), idempotent=idempotent)
    shop.describe_all()
    view = catalog_view(catalog, TOPICS.name(Topic.CATALOG), {"bootstrap.servers": brokers}, CatalogMetrics(registry))
    async with following(view, patience_seconds=CATCH_UP_SECONDS) as (is_complete,):
        if not is_complete:
            raise InsessionError(
                f"the view did not read the catalog within {CATCH_UP_SECONDS:g} s: does the broker answer?"
            )
        with TemporaryDirectory() as folder:
            settings = ServingSettings(models_directory=Path(folder))
            tier = serving_tier(settings, catalog, registry, copies=Path(folder) / "copies")
            popular_everywhere(tier.recommender, plan)
            return await _run(plan, shop, tier.recommender, lists, DeliveryMetrics(registry))


async def _run(
    plan: Plan, shop: Shop, recommender: Recommender, lists: ListTopic, metrics: DeliveryMetrics
) -> dict[str, Any]:
    async def none_stored() -> Mapping[str, Any]:
        return {}

    writer = DefaultListWriter(
        recommender,
        TOPICS.name(Topic.DEFAULT_RECOMMENDATIONS),
        lists,
        OutputHeaders("carried"),
        metrics,
        none_stored,
    )

    async def drop_gone() -> None:
        while True:
            await asyncio.sleep(GONE_CHECK_SECONDS)
            await writer.drop_gone(is_ours=lambda: True)

    beside = [asyncio.create_task(lists.polled())]
    try:
        await writer.renew(is_ours=lambda: True)
        beside.append(asyncio.create_task(drop_gone()))
        shop.start()
        began = time.monotonic()
        answers = await answered(recommender, plan)
        seconds = time.monotonic() - began
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await asyncio.to_thread(shop.stop)
    return figures(plan, shop.changes, answers, lists.lists, seconds)


def figures(
    plan: Plan,
    changes: Changes,
    answers: Answers,
    lists: Mapping[bytes, Sequence[tuple[int, frozenset[int]]]],
    seconds: float,
) -> dict[str, Any]:
    """Return what was measured, with the names that machines read."""
    listed_ms, end_ms = defaultdict[int, "array[int]"](lambda: array("q")), answers.times_ms[-1]
    for made_ms, items in answers:
        for item in items:
            listed_ms[item].append(made_ms)
    held = _held(lists, end_ms)
    waits = defaultdict[str, list[_Wait]](list)
    for gone in changes.gone:
        if gone.from_ms > end_ms - ALLOWED_MS or gone.back_ms <= gone.from_ms:
            continue
        wait = _waited(gone, listed_ms[gone.item], held[gone.item])
        if wait is not None:
            waits["by_time" if gone.is_by_time else "by_record"].append(wait)
    in_lists, in_defaults = gone_for_long(changes, answers, lists)
    return {
        "settings": {**asdict(plan), "places": len(PLACES), "cpu_count": os.cpu_count()},
        "seconds": seconds,
        "answers": len(answers.times_ms),
        "answers_per_second": len(answers.times_ms) / seconds,
        "changes": len(changes.records) - plan.items - 1,
        "changes_per_second": (len(changes.records) - plan.items - 1) / seconds,
        "default_lists_written": sum(map(len, lists.values())),
        "gone": {
            kind: {
                **_spread([max(wait) for wait in found]),
                "in_answers": _spread([wait.in_answers for wait in found]),
                "in_default_lists": _spread([wait.in_default_lists for wait in found]),
            }
            for kind, found in sorted(waits.items())
        },
        "answers_with_what_was_gone_for_a_second": in_lists,
        "default_lists_with_what_was_gone_for_a_second": in_defaults,
    }


def _held(
    lists: Mapping[bytes, Sequence[tuple[int, frozenset[int]]]], end_ms: int
) -> dict[int, list[tuple[int, float]]]:
    """Return from when to when each item was in a default list, by item."""
    held = defaultdict[int, list[tuple[int, float]]](list)
    for versions in lists.values():
        since = dict[int, int]()
        for written_ms, items in [*versions, (end_ms, frozenset[int]())]:
            for item in [item for item in since if item not in items]:
                held[item].append((since.pop(item), written_ms))
            for item in items:
                since.setdefault(item, written_ms)
    return held


class _Wait(NamedTuple):
    """How long after it had gone an item was held, milliseconds."""

    in_answers: float
    in_default_lists: float


def _waited(gone: Gone, listed_ms: Sequence[int], held: Sequence[tuple[int, float]]) -> _Wait | None:
    """Return how long lists held an item that had gone; None = none had held it in the second before, either."""
    place = bisect_left(listed_ms, gone.back_ms) - 1
    answered_ms = float(listed_ms[place]) if place >= 0 else -math.inf
    shown_ms = max((min(end, gone.back_ms) for begin, end in held if begin < gone.back_ms), default=-math.inf)
    if max(answered_ms, shown_ms) < gone.from_ms - ALLOWED_MS:
        return None
    return _Wait(max(0.0, answered_ms - gone.from_ms), max(0.0, shown_ms - gone.from_ms))


def _spread(values: Sequence[float]) -> dict[str, float]:
    ranked = {f"p{share}_ms": percentile(values, share / 100) for share in (50, 99)}
    return {"items": len(values), **ranked, "max_ms": max(values)}


def gone_for_long(
    changes: Changes, answers: Answers, lists: Mapping[bytes, Sequence[tuple[int, frozenset[int]]]]
) -> tuple[int, int]:
    """Count the answers, and the default lists, with an item that had been gone for more than a second.

    By another way than the waits: each list is held against what the catalog had said by then.
    """
    history, due, counts = AvailabilityHistory(), iter(changes.records), [0, 0]
    shown = [(made_ms, 0, items) for made_ms, items in answers]
    for versions in lists.values():
        shown += [(written_ms, 1, tuple(items)) for written_ms, items in versions]
        ends = [*(written_ms - 1 for written_ms, _ in versions[1:]), answers.times_ms[-1]]  # shown up to the next one
        shown += [(end_ms, 1, tuple(items)) for (_, items), end_ms in zip(versions, ends, strict=True)]
    at = next(due, None)
    for made_ms, kind, items in sorted(shown, key=lambda one: one[0]):
        while at is not None and at[0] <= made_ms:
            history.take(DescribedItem(at[1]), at[0])
            at = next(due, None)
        counts[kind] += bool(history.gone([*map(item_id, items)], None, made_ms))
    return counts[0], counts[1]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of the values do not exceed; by the nearest rank."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@contextmanager
def broker(*, embedded: bool) -> Iterator[str]:
    """Run a broker, with the topics; give its address."""
    running: AbstractContextManager[Any] = EmbeddedBrokerProcess() if embedded else KafkaNode()
    with running as node:
        if not embedded:
            create(admin_client({"bootstrap.servers": node.address}), topic_specs(TOPICS))
        yield node.address


def run(plan: Plan, *, embedded: bool) -> dict[str, Any]:
    """Measure, and return the figures."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    with broker(embedded=embedded) as brokers:
        return asyncio.run(measured(plan, brokers, idempotent=not embedded))


@click.command(
    epilog="""\b
Example:
  python -m bench.availability --answers 1000000 --json
"""
)
@click.option("--answers", type=click.IntRange(min=1_000), default=1_000_000, show_default=True)
@click.option(
    "--rate", type=click.FloatRange(min=1), default=1_000, show_default=True, help="Catalog records a second."
)
@click.option("--pace", type=click.FloatRange(min=1), default=5_000, show_default=True, help="Answers a second.")
@click.option("--items", type=click.IntRange(min=100, max=60_000), default=2_000, show_default=True)
@click.option("--embedded", is_flag=True, help="On the embedded broker in place of a Kafka node (Java 17 and Maven).")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON instead of a table.")
def main(*, embedded: bool, as_json: bool, **options: Any) -> None:
    """Change the catalog under load, and print how long lists held what was gone."""
    found = run(Plan(**options), embedded=embedded)
    if as_json:
        click.echo(json.dumps({**found, "broker": "embedded" if embedded else "kafka"}, indent=2))
        return
    table = Table(title="ms from when an item had gone to the last list that held it")
    for heading in ("gone", "items", "p50", "p99", "max"):
        table.add_column(heading, justify="left" if heading == "gone" else "right")
    for kind, row in found["gone"].items():
        times = (f"{row[name]:.0f}" for name in ("p50_ms", "p99_ms", "max_ms"))
        table.add_row(kind.replace("_", " "), f"{row['items']:,}", *times)
    Console().print(table)
    click.echo(
        f"{found['answers']:,} answers in {found['seconds']:.0f} s, {found['changes_per_second']:,.0f} records a "
        f"second, {found['default_lists_written']:,} default lists; with what was gone for a second: "
        f"{found['answers_with_what_was_gone_for_a_second']} answers, "
        f"{found['default_lists_with_what_was_gone_for_a_second']} default lists"
    )


if __name__ == "__main__":
    main()
