"""The counts of every place as a fold over the records of `recommendations`, exact by the offset of the input.

A record says in its id which input it answers. What comes again after a crash has an offset that was read already and
is passed over, so each input counts once. Each place is stored by itself, beside how far it holds the inputs; so a fold
goes on from whatever mixture of older and newer places it finds, and comes to the same counts. Bounded, and exact as
long as the bounds let nothing go.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Final, NamedTuple
from zlib import crc32

from msgspec import Meta, Struct

from schemas.ids import ItemId, VisitorId
from schemas.records import CountedView
from schemas.times import LATEST_TIME_MS
from streams.trending.counts import PlaceCounts, StoredCounts

EVERYWHERE: Final = ""
"""The place that all others lie in."""

_MAX_DIGITS: Final = 18
"""Of an offset: those that Kafka gives have 19 after millions of years."""

Offsets = dict[str, int]
"""By `{topic}-{partition}` of a clickstream the highest offset that is counted."""
Chain = Callable[[str], Sequence[str]]
"""Returns a place and those that it lies in, the nearest first; `LocationSettings.chain`."""


class ListedItem(Struct, frozen=True, gc=False):
    """What is read of an item of a list."""

    item_id: ItemId


class ReadRecord(Struct, frozen=True):
    """What is read of a record of `recommendations`."""

    id: str
    visitor_id: VisitorId
    counts: list[CountedView] = []
    items: list[ListedItem] = []


class CountedClick(NamedTuple):
    """A view that was counted, and where: the nearest place first, `EVERYWHERE` last."""

    places: tuple[str, ...]
    item_id: ItemId


class StoredPlace(Struct, frozen=True, array_like=True):
    """A place as it is stored.

    read: by partition of `recommendations` the next offset to read. offsets: what of the clickstreams is counted.
    """

    place: str
    read: dict[int, int]
    offsets: Offsets
    counts: StoredCounts

    @property
    def stamp(self) -> int:
        """Return what tells two writings of a place apart: how far each held its inputs."""
        return crc32(repr((sorted(self.read.items()), sorted(self.offsets.items()))).encode())


class StoredProgress(Struct, frozen=True, array_like=True):
    """How far the fold has come, written after the places that have changed.

    places: of those that hold what the progress does and no more, the stamp of their last writing.
    choices: see `Choices`.
    """

    read: dict[int, int]
    offsets: Offsets
    places: dict[str, int]
    now_ms: Annotated[int, Meta(le=LATEST_TIME_MS)] = 0
    choices: dict[int, list[float]] = {}


class TrendingFold:
    """Folds records into counts by place; `name` gives the hash of a visitor, of 1 to 2^64 - 2."""

    def __init__(
        self, chain: Chain, name: Callable[[VisitorId], int], *, max_items: int = 2_000, max_places: int = 256
    ) -> None:
        self._chain = chain
        self._name = name
        self._max_items = max_items
        self._max_places = max_places
        self.places: dict[str, PlaceCounts] = {}
        self.changed = set[str]()
        """Places that were counted at since `store`."""
        self.now_ms = 0
        self.read: dict[int, int] = {}
        self.inputs = 0
        """Inputs that nobody had counted before: neither this fold nor the one that it goes on from."""
        self.repeats = 0
        self.gaps = 0
        """Offsets between those of answered inputs: ignored, dead-lettered, or lost."""
        self._base: Offsets = {}  # what was held when this fold began
        self._reached: Offsets = {}  # what it has read itself
        self._floors: dict[str, Offsets] = {}  # of places that held something else than the rest when it began
        self._written: dict[str, int] = {}

    @property
    def offsets(self) -> Offsets:
        """Return how far the clickstreams are counted."""
        return _later(self._base, self._reached)

    def apply(self, record: ReadRecord, partition: int, offset: int, written_ms: int) -> list[CountedClick]:
        """Fold the record at `offset` of a partition; return what it counts, nothing where it is a repeat.

        written_ms: its timestamp, of a calendar's years, which no view that counts is later than.
        """
        self.read[partition] = offset + 1
        source, _, number = record.id.rpartition("-")
        if not (number.isdecimal() and len(number) <= _MAX_DIGITS):
            return []  # no id of ours: written by somebody else
        input_offset = int(number)
        before = self._reached.get(source, -1)
        if input_offset <= before:
            self.repeats += 1
            return []
        self._reached[source] = input_offset
        self.inputs += input_offset > self._base.get(source, -1)
        expected = (before if before >= 0 else self._base.get(source, input_offset - 1)) + 1
        self.gaps += max(0, input_offset - expected)
        if not record.counts:
            return []
        visitor = self._name(record.visitor_id)
        clicks = (self._count(view, visitor, source, input_offset, written_ms) for view in record.counts)
        return [click for click in clicks if click.places]

    def forget(self, visitor_id: VisitorId) -> None:
        """Keep nothing of a visitor but what is counted: of an item with too few visitors their hashes are kept."""
        visitor = self._name(visitor_id)
        self.changed.update(place for place, counts in self.places.items() if counts.forget(visitor))

    def forget_old_visitors(self) -> None:
        """Forget whose the views are that are so old that they hardly count."""
        self.changed.update(place for place, counts in self.places.items() if counts.forget_old(self.now_ms))

    def settle(self) -> None:
        """Keep the bounds; call it after some records."""
        for counts in self.places.values():
            counts.cut()
        surplus = len(self.places) - self._max_places
        if surplus > 0:
            least = sorted(
                (place for place in self.places if place != EVERYWHERE),
                key=lambda place: (self.places[place].weight(self.now_ms), place),
            )
            for place in least[:surplus]:
                del self.places[place]
                self._floors.pop(place, None)
                self.changed.discard(place)

    def forget_beyond(self, ends: Mapping[str, int]) -> list[str]:
        """Take offsets that a clickstream partition does not have for those of an earlier topic of its name: void.

        ends: by `{topic}-{partition}` the offset that the next record gets. Returns the partitions.
        """
        held = (self._base, self._reached, *self._floors.values())
        void = {source for offsets in held for source, last in offsets.items() if last >= ends.get(source, last + 1)}
        for source in void:
            for offsets in held:
                offsets.pop(source, None)
        return sorted(void)

    def store(self) -> Iterator[StoredPlace]:
        """Return the places that have changed since the last time; `progress` is to be written after them."""
        read, offsets = dict(self.read), self.offsets
        for place in sorted((self.changed | self._floors.keys()) & self.places.keys()):
            held = self._held(place)
            if held == offsets:
                self._floors.pop(place, None)
            stored = StoredPlace(place, read, held, self.places[place].stored())
            self._written[place] = stored.stamp
            yield stored
        self.changed.clear()

    def gone(self) -> list[str]:
        """Return the places that were stored and are no more, once each."""
        gone = [place for place in self._written if place not in self.places]
        for place in gone:
            del self._written[place]
        return gone

    def progress(self, choices: dict[int, list[float]] | None = None) -> StoredProgress:
        """Return how far the fold has come; every place that has changed by then must be stored."""
        complete = {place: stamp for place, stamp in self._written.items() if place not in self._floors}
        return StoredProgress(dict(self.read), self.offsets, complete, self.now_ms, choices or {})

    def restore(
        self, progress: StoredProgress | None, places: Sequence[StoredPlace], unreadable: Sequence[str] = ()
    ) -> list[str]:
        """Go on from what is stored, of whatever age each place is; `read` says where to read on.

        A place that is as the progress says holds all that the progress holds. Any other (of a write that the progress
        did not follow, or of another process that was slow to end) holds what it says itself, and the fold reads on
        from the earliest. Of a place that is unreadable, or damaged inside, nothing is known: it counts from here on,
        and what is stored of it is `gone` until it is stored anew. Returns those that are damaged.
        """
        damaged = list[str]()
        if progress is not None:
            self.read, self._base, self.now_ms = dict(progress.read), dict(progress.offsets), progress.now_ms
        for stored in places:
            try:
                self.places[stored.place] = PlaceCounts.restored(stored.counts, self._max_items)
            except ValueError:
                damaged.append(stored.place)
                continue
            self._written[stored.place] = stored.stamp
            self.now_ms = max(self.now_ms, stored.counts.landmark_ms)
            if progress is not None and progress.places.get(stored.place) == stored.stamp:
                continue
            self._floors[stored.place] = dict(stored.offsets)
            self.changed.add(stored.place)
            for partition in self.read.keys() | stored.read.keys():
                self.read[partition] = min(self.read.get(partition, 0), stored.read.get(partition, 0))
        if self.places:
            self.places.setdefault(EVERYWHERE, PlaceCounts(self._max_items))  # others lie in it, whatever became of it
        self._written.update(dict.fromkeys((*unreadable, *damaged), 0))
        return damaged

    def _count(self, view: CountedView, visitor: int, source: str, input_offset: int, written_ms: int) -> CountedClick:
        """Count a view at each place that does not hold the input yet."""
        time_ms = min(view.time_ms, written_ms)
        self.now_ms = max(self.now_ms, time_ms)
        chain = self._chain(view.location) if view.location else ()
        counted = []
        for place in (*chain, EVERYWHERE):
            if input_offset <= self._floors.get(place, self._base).get(source, -1):
                continue
            counts = self.places.get(place)
            if counts is None:
                counts = self.places[place] = PlaceCounts(self._max_items)
            counts.add(view.item_id, time_ms, visitor)
            counted.append(place)
            self.changed.add(place)
        return CountedClick(tuple(counted), view.item_id)

    def _held(self, place: str) -> Offsets:
        return _later(self._floors.get(place, self._base), self._reached)


def _later(one: Offsets, other: Offsets) -> Offsets:
    return {**one, **{source: max(offset, one.get(source, -1)) for source, offset in other.items()}}
