"""Every worker's own view of the compacted catalog topic: availability, title, category, price, location."""

import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from schemas.catalog_mapping import OURS
from schemas.catalog_reader import CatalogReader, CatalogRecord, DescribedItem, RemovedItem, UnreadableItem
from schemas.ids import ItemId
from schemas.records import CatalogItem
from streams.cluster.topic_reader import input_record
from streams.metrics import CatalogMetrics
from streams.rare_log import RareLog

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.2
_METADATA_SECONDS = 1.0
MAX_REMOVED = 100_000
"""Of the items that are known to be removed, the latest; some 15 MB. An older one is in an older release at most."""


class Catalog:
    """The items as the shop last described them; one thread may write while others read.

    It fails closed: an item whose last record cannot be read is not recommended until one comes that can.

    require_catalog: True = an item without a record is not recommended; False = it is allowed everywhere.
    reader: how records are read; without one, as records of ours.
    """

    def __init__(self, *, require_catalog: bool = False, reader: CatalogReader | None = None) -> None:
        self._reader = reader or CatalogReader(OURS)
        self._log = RareLog(log)
        self._items: dict[ItemId, CatalogItem] = {}
        self._closed = set[ItemId]()
        self._locations = Counter[str]()
        self._lock = threading.Lock()  # only whoever goes through all items must not see them change
        self._require_catalog = require_catalog
        self._removed = dict[ItemId, None]()
        self._revision = 0

    def __len__(self) -> int:
        """Count the items."""
        return len(self._items)

    def get(self, item_id: ItemId) -> CatalogItem | None:
        """Return what the shop last said of the item that could be read."""
        return self._items.get(item_id)

    def allowed(self, item_id: ItemId, location: str | None) -> bool:
        """Return whether the item may be recommended to someone at `location`."""
        if item_id in self._closed:
            return False
        item = self._items.get(item_id)
        if item is None:
            return not self._require_catalog and item_id not in self._removed
        return item.available and (location is None or item.locations is None or location in item.locations)

    def variant_group(self, item_id: ItemId) -> str | None:
        """Return the group of which the item is a variant."""
        item = self._items.get(item_id)
        return None if item is None else item.variant_group

    def category(self, item_id: ItemId) -> str | None:
        """Return the item's category."""
        item = self._items.get(item_id)
        return None if item is None else item.category

    def describes(self, item_id: ItemId) -> bool:
        """Return whether the shop has described the item and not removed it since."""
        return item_id in self._items

    @property
    def has_items(self) -> bool:
        """Return whether the shop describes any item."""
        return bool(self._items)

    @property
    def locations(self) -> Collection[str]:
        """Return the locations that the items' records name."""
        return self._locations

    def available_items(self, at_most: int) -> list[ItemId]:
        """Return the first available items in the order in which the shop described them."""
        with self._lock:
            available = (item_id for item_id, item in self._items.items() if item.available)
            return list(islice((item_id for item_id in available if item_id not in self._closed), at_most))

    @property
    def closed_items(self) -> int:
        """Count the items that are not recommended because their last record cannot be read."""
        return len(self._closed)

    @property
    def revision(self) -> int:
        """Count the changes of what items are: of stock and places none, since they come by the second."""
        return self._revision

    def records(self) -> list[CatalogItem]:
        """Return the record of every item whose last one could be read."""
        with self._lock:
            return [item for item_id, item in self._items.items() if item_id not in self._closed]

    def apply(
        self, key: bytes | None, value: bytes | None, time_ms: int = 0, headers: Sequence[tuple[str, bytes]] = ()
    ) -> CatalogRecord:
        """Take in one catalog record, and give what it says.

        A null value removes the item; a record that cannot be read closes it, until one comes that can.

        time_ms: the record's timestamp, Unix milliseconds.
        """
        record = self._reader.read(key, value, time_ms, headers)
        match record:
            case DescribedItem():
                self._describe(record.item)
                for name, reason in record.repairs.items():
                    self._log.info("catalog_field_repaired", field=name, reason=reason, item_id=record.item.item_id)
            case RemovedItem():
                self._remove(record.item_id)
            case UnreadableItem():
                self._close(record.item_id)
                self._log.warning(
                    "catalog_record_unreadable", item_id=record.item_id, reason=record.reason, detail=record.detail
                )
        return record

    def _describe(self, item: CatalogItem) -> None:
        with self._lock:
            before = self._items.get(item.item_id)
            self._count_locations(before, item)
            was_away = item.item_id in self._closed  # who read all records meanwhile did not see it
            self._items[item.item_id] = item
            self._removed.pop(item.item_id, None)
            self._closed.discard(item.item_id)
            self._revision += was_away or _content(before) != _content(item)

    def _count_locations(self, before: CatalogItem | None, after: CatalogItem | None) -> None:
        """Keep count of the items that name a location."""
        old = set() if before is None else set(before.locations or ())
        new = set() if after is None else set(after.locations or ())
        self._locations.update(new - old)
        for location in old - new:
            self._locations[location] -= 1
            if not self._locations[location]:
                del self._locations[location]

    def _remove(self, item_id: ItemId) -> None:
        with self._lock:
            self._count_locations(self._items.pop(item_id, None), None)
            self._closed.discard(item_id)
            self._removed.pop(item_id, None)
            self._removed[item_id] = None  # its record may be compacted away, and a release may know it all the same
            if len(self._removed) > MAX_REMOVED:
                del self._removed[next(iter(self._removed))]

    def _close(self, item_id: ItemId | None) -> None:
        """Keep what was said of the item before: variants of what was bought are known by it."""
        if item_id is not None:
            with self._lock:
                self._closed.add(item_id)


def _content(item: CatalogItem | None) -> tuple[object, ...] | None:
    return None if item is None else (item.title, item.category, item.price, item.variant_group)


class CatalogFollower:
    """A thread that keeps a Catalog up to date from its topic, without a consumer group."""

    def __init__(self, catalog: Catalog, topic: str, client_config: Mapping[str, Any], metrics: CatalogMetrics) -> None:
        self._catalog = catalog
        self._metrics = metrics
        self._topic = topic
        self._config = {
            **client_config,
            "group.id": f"{topic}-view",  # never joined; yet librdkafka asks for its coordinator, and an ACL may say no
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
        self._stopping = threading.Event()
        self._caught_up = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="catalog", daemon=True)

    def start(self) -> None:
        """Start to read the topic from its beginning."""
        self._thread.start()

    def wait_until_caught_up(self, timeout_seconds: float) -> bool:
        """Wait until the end offsets seen at start are reached; False after the timeout, or at a stop."""
        return self._caught_up.wait(timeout_seconds) and not self._stopping.is_set()

    def stop(self) -> None:
        """Stop reading and wait for the thread."""
        self._stopping.set()
        self._caught_up.set()  # a thread that waits would keep the process until its timeout
        if self._thread.ident is not None:
            self._thread.join()

    def _follow(self) -> None:
        consumer = Consumer(self._config)
        try:
            partitions = self._assign(consumer)
            unread = set(partitions)
            while not self._stopping.is_set():
                message = consumer.poll(_POLL_SECONDS)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    self._take(message)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's public constant
                    unread.discard(message.partition())
                    if not unread:
                        self._caught_up.set()
                        self._metrics.caught_up.set(1)
                else:
                    log.warning("catalog_read_failed", topic=self._topic, error=str(error))
        finally:
            consumer.close()

    def _take(self, message: Any) -> None:
        record = input_record(message)
        content = self._catalog.apply(record.key, record.value, record.time_ms, record.headers)
        self._metrics.observe(content, items=len(self._catalog), closed=self._catalog.closed_items)
        self._metrics.last_record.set(record.time_ms / 1000)

    def _assign(self, consumer: Any) -> list[int]:
        """Assign every partition of the topic, as soon as the brokers show it; [] = told to stop before."""
        while not self._stopping.is_set():
            partitions = self._partitions(consumer)
            if partitions:
                consumer.assign([TopicPartition(self._topic, p, OFFSET_BEGINNING) for p in partitions])
                return partitions
            self._stopping.wait(_METADATA_SECONDS)
        return []

    def _partitions(self, consumer: Any) -> list[int]:
        try:
            topic = consumer.list_topics(self._topic, timeout=_METADATA_SECONDS).topics.get(self._topic)
        except KafkaException as error:
            log.warning("catalog_brokers_do_not_answer", topic=self._topic, error=str(error))
            return []
        if topic is None or topic.error is not None or not topic.partitions:
            log.warning("catalog_topic_missing", topic=self._topic)
            return []
        return sorted(topic.partitions)
