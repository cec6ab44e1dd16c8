"""Every worker's own view of the compacted catalog topic: availability, title, category, price, location."""

import threading
from collections.abc import Mapping
from itertools import islice
from typing import Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from schemas import wire
from schemas.ids import ItemId
from schemas.records import CatalogItem
from streams.metrics import CatalogMetrics

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.2
_METADATA_SECONDS = 1.0


class Catalog:
    """The items as the shop last described them; one thread may write while others read.

    require_catalog: True = an item without a record is not recommended; False = it is allowed everywhere.
    """

    def __init__(self, *, require_catalog: bool = False) -> None:
        self._items: dict[ItemId, CatalogItem] = {}
        self._lock = threading.Lock()  # only whoever goes through all items must not see them change
        self._require_catalog = require_catalog
        self._removed = set[ItemId]()
        self._revision = 0

    def __len__(self) -> int:
        """Count the items."""
        return len(self._items)

    def get(self, item_id: ItemId) -> CatalogItem | None:
        """Give the item's record, if the shop has described it."""
        return self._items.get(item_id)

    def allowed(self, item_id: ItemId, location: str | None) -> bool:
        """Tell whether the item may be recommended to someone at `location`."""
        item = self._items.get(item_id)
        if item is None:
            return not self._require_catalog and item_id not in self._removed
        return item.available and (location is None or item.locations is None or location in item.locations)

    def variant_group(self, item_id: ItemId) -> str | None:
        """Name the group of which the item is a variant."""
        item = self._items.get(item_id)
        return None if item is None else item.variant_group

    def category(self, item_id: ItemId) -> str | None:
        """Name the item's category."""
        item = self._items.get(item_id)
        return None if item is None else item.category

    def available_items(self, at_most: int) -> list[ItemId]:
        """Name the first available items in the order in which the shop described them."""
        with self._lock:
            return list(islice((item_id for item_id, item in self._items.items() if item.available), at_most))

    @property
    def revision(self) -> int:
        """Count the changes of what items are: of stock and places none, since they come by the second."""
        return self._revision

    def records(self) -> list[CatalogItem]:
        """Give every item's record."""
        with self._lock:
            return list(self._items.values())

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take in one catalog record; a null value removes the item, an unreadable one changes nothing.

        The key must be the item's id: compaction and tombstones go by it.
        """
        item_id = ItemId((key or b"").decode(errors="replace"))
        if value is None:
            with self._lock:
                self._items.pop(item_id, None)
                self._removed.add(item_id)  # its record may be compacted away, and a release may know it all the same
            return
        try:
            item = wire.decode_catalog_item(value)
        except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, nesting without end
            log.warning("catalog_record_unreadable", item_id=item_id, error=str(error))
            return
        if item.item_id != item_id:
            log.warning("catalog_key_mismatch", item_id=item.item_id, key=item_id)
            return
        with self._lock:
            before = self._items.get(item_id)
            self._items[item_id] = item
            self._removed.discard(item_id)
            self._revision += before is None or _content(before) != _content(item)


def _content(item: CatalogItem) -> tuple[object, ...]:
    return item.title, item.category, item.price, item.variant_group


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
        self._catalog.apply(message.key(), message.value())
        self._metrics.items.set(len(self._catalog))
        self._metrics.last_record.set(message.timestamp()[1] / 1000)

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
