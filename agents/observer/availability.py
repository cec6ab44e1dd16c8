"""Whether lists held what was gone when they were written: the observer's own look at what workers promise."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import msgspec
import structlog

from agents.encodings import Encodings
from agents.observer.metrics import ListKind, ObserverMetrics
from agents.settings import Settings
from schemas.catalog_reader import CatalogReader, UnreadableItem
from schemas.events import from_unix_ms
from schemas.ids import ItemId
from schemas.places import LocationSettings
from streams.availability_history import AvailabilityHistory
from streams.cluster.topics import Topic
from streams.compacted_view import CompactedView
from streams.rare_log import RareLog
from streams.records import InputRecord
from streams.trending.fold import ListedItem

log = structlog.get_logger(__name__)

PATIENCE_SECONDS: Final = 1.0
"""A list that seems wrong is looked at again after this long: what brought its item back may not have been read yet."""
_NAMED_ITEMS: Final = 3


class DefaultList(msgspec.Struct):
    """What is read of a default list."""

    items: list[ListedItem]
    location: str | None = None


_read_default_list = msgspec.json.Decoder(DefaultList).decode


class WrittenList(NamedTuple):
    """A list, by its record's id or key; location: None = everywhere, or nobody knows where. written_ms: Unix."""

    kind: ListKind
    name: str
    item_ids: Sequence[ItemId]
    location: str | None
    written_ms: int


class AvailabilityWatch:
    """Holds lists against the catalog; one thread may give the records of the catalog, another one the lists.

    is_complete: returns whether the catalog was read to its end; before that no list is looked at.
    clock: seconds.
    """

    def __init__(
        self,
        reader: CatalogReader,
        places: LocationSettings,
        metrics: ObserverMetrics,
        is_complete: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._metrics = metrics
        self._is_complete = is_complete
        self._clock = clock
        self._history = AvailabilityHistory(places)
        self._lock = threading.Lock()
        self._doubted = deque[tuple[float, WrittenList]]()
        self._rare_log = RareLog(log)

    @property
    def is_complete(self) -> bool:
        """Return whether the catalog was read to its end."""
        return self._is_complete()

    def take(self, record: InputRecord) -> None:
        """Take in a record of the catalog."""
        said = self._reader.read(record.key, record.value, record.time_ms, record.headers)
        with self._lock:
            if isinstance(said, UnreadableItem) and said.reason == "undecodable":
                self._history.forget(said.item_id)  # perhaps its schema is not here yet, for which workers wait
            else:
                self._history.take(said, record.time_ms)

    def gone_now(self, item_ids: Sequence[ItemId], location: str | None, now_ms: int) -> list[ItemId]:
        """Return the items that are gone from a location, None = from everywhere; none before the catalog was read."""
        if not self.is_complete:
            return []
        with self._lock:
            return self._history.gone(item_ids, location, now_ms, 0)

    def look(self, written: WrittenList) -> None:
        """Look at a list that was written."""
        if self.is_complete and self._gone(written):
            self._doubted.append((self._clock() + PATIENCE_SECONDS, written))

    def settle(self) -> None:
        """Count the lists that were wrong, for which it is time to tell."""
        while self._doubted and self._doubted[0][0] <= self._clock():
            _, written = self._doubted.popleft()
            gone = self._gone(written)
            if gone:
                self._metrics.unavailable.labels(kind=written.kind).inc()
                self._rare_log.warning(
                    "unavailable_item_listed",
                    reason=written.kind,
                    record=written.name,
                    item_ids=gone[:_NAMED_ITEMS],
                    location=written.location,
                    written=from_unix_ms(written.written_ms).isoformat(),
                    remedy="is a worker's view of the catalog behind, or a clock wrong?",
                )

    def _gone(self, written: WrittenList) -> list[ItemId]:
        with self._lock:
            return self._history.gone(written.item_ids, written.location, written.written_ms)


@contextmanager
def watching(settings: Settings, encodings: Encodings, metrics: ObserverMetrics) -> Iterator[AvailabilityWatch]:
    """Follow the catalog and the default lists meanwhile, and look at these; whoever has answers gives them."""
    topics, client_config = settings.topics, settings.kafka.view_config()
    catalog: CompactedView
    watch = AvailabilityWatch(encodings.catalog_reader(), settings.locations, metrics, lambda: catalog.has_caught_up)
    catalog = CompactedView(topics.name(Topic.CATALOG), client_config, watch.take, metrics.catalog)

    def take(record: InputRecord) -> None:
        if lists.has_caught_up and record.value is not None:  # what was there at the start was looked at when it came
            watch.look(default_list(record, encodings.decode_output))

    lists = CompactedView(topics.name(Topic.DEFAULT_RECOMMENDATIONS), client_config, take, metrics.default_lists)
    with catalog.followed(), lists.followed():
        yield watch


def default_list(record: InputRecord, decode: Callable[[bytes], object]) -> WrittenList:
    """Read a record of the default lists; decode: reads what is no JSON. Raises ValueError where it is none."""
    value = record.value or b""
    read = _read_default_list(value) if value[:1] == b"{" else msgspec.convert(decode(value), DefaultList)
    name = (record.key or b"").decode(errors="replace")
    return WrittenList("default_list", name, [one.item_id for one in read.items], read.location, record.time_ms)
