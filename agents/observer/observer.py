"""What the observer does with each record, and what it writes when; it knows nothing of Kafka but records.

It writes two topics. `trending` is for all: the lists that have changed. `observer-state` is its own: every place that
has changed beside how far that one holds the inputs, and after those the progress of the whole. So whoever goes on from
there, after whatever end, counts each input once: `TrendingFold.restore`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec
import structlog

from agents.observer.availability import AvailabilityWatch, WrittenList
from agents.observer.metrics import ObserverMetrics, RecordResult
from schemas import wire
from schemas.events import unix_ms
from schemas.ids import ItemId, VisitorId
from schemas.places import LocationSettings
from schemas.records import TRENDING_KEY, Trending
from streams.rare_log import RareLog
from streams.records import InputRecord, OutputRecord
from streams.trending.fold import EVERYWHERE, ReadRecord, StoredPlace, StoredProgress, TrendingFold
from streams.trending.lists import TrendingLists
from streams.trending.snapshots import (
    PLACE_PREFIX,
    PROGRESS_KEY,
    SnapshotError,
    decode_place,
    decode_progress,
    encode_place,
    encode_progress,
    place_key,
    place_of,
)

log = structlog.get_logger(__name__)

ALL_EVERY_SECONDS: Final = 60.0
"""Every list is looked at so often: what rose falls again without a view, and readers see that somebody is there."""
_read_json = msgspec.json.Decoder(ReadRecord).decode

Send = Callable[[OutputRecord], None]


class _Published(NamedTuple):
    """What a list that is on the topic says. content: a hash of it, 0 = of an earlier life."""

    content: int
    item_ids: Sequence[ItemId]


_UNKNOWN: Final = _Published(0, ())


class Observer:
    """Counts records, and gives what is to be written to `send`; raises what that raises.

    trending, state: names of the topics. secret: keys the hash of a visitor. decode: reads what is no JSON.
    watch: is given the lists of all answers.
    """

    def __init__(  # noqa: PLR0913 - the parts that it binds
        self,
        *,
        trending: str,
        state: str,
        send: Send,
        secret: bytes,
        metrics: ObserverMetrics,
        places: LocationSettings,
        watch: AvailabilityWatch,
        max_items: int = 2_000,
        max_places: int = 256,
        encode: Callable[[msgspec.Struct], bytes] = wire.encode,
        decode: Callable[[bytes], object] | None = None,
    ) -> None:
        self._trending = trending
        self._state = state
        self._send = send
        self._metrics = metrics
        self._watch = watch
        self._encode = encode
        self._decode = decode
        self._max_items = max_items
        fold = TrendingFold(
            partial(_chain, places), partial(visitor_hash, secret), max_items=max_items, max_places=max_places
        )
        self.lists = TrendingLists(fold, partial(_chain, places))
        self._rare_log = RareLog(log)
        self._unpublished = set[str]()
        self._published: dict[str, _Published] = {}
        self._looked_seconds = 0.0

    @property
    def fold(self) -> TrendingFold:
        """Return the counts."""
        return self.lists.fold

    def restore(self, state: Iterable[InputRecord], published: Iterable[InputRecord]) -> None:
        """Go on from what both topics hold; what cannot be read is left out, logged and counted."""
        progress: StoredProgress | None = None
        places, unreadable = list[StoredPlace](), list[str]()
        latest = {record.key or b"": record.value for record in state}
        for key, value in latest.items():
            try:
                if value is not None and key == PROGRESS_KEY:
                    progress = decode_progress(value)
                elif value is not None and key.startswith(PLACE_PREFIX):
                    places.append(decode_place(value))
            except SnapshotError as error:
                self._metrics.damaged.inc()
                if key == PROGRESS_KEY:
                    remedy = "reads all records that are there again, for what each place does not hold"
                else:
                    remedy = "counts the place anew"
                    unreadable.append(place_of(key))
                log.warning("observer_snapshot_unreadable", key=repr(key), error=str(error), remedy=remedy)
        for place in self.fold.restore(progress, places, unreadable):
            self._metrics.damaged.inc()
            log.warning(
                "observer_snapshot_unreadable",
                key=repr(place_key(place)),
                error="its parts do not belong together",
                remedy="counts the place anew",
            )
        if progress is not None:
            self.lists.choices.restore(progress.choices)
        self._published = {
            (record.key or b"").decode(errors="surrogateescape"): _UNKNOWN
            for record in published
            if record.value is not None
        }
        self._unpublished = set(self.fold.places)
        log.info("observer_goes_on", places=len(self.fold.places), inputs=len(self.fold.offsets))

    def take(self, record: InputRecord) -> None:
        """Count a record of `recommendations`; a tombstone, of an erased visitor, takes what is kept of that one."""
        try:
            result = self._taken(record)
        except Exception:
            position = record.position
            log.exception("recommendation_not_counted", partition=position.partition, offset=position.offset)
            self.fold.read[position.partition] = position.offset + 1
            result = "unreadable"
        self._metrics.records.labels(result=result).inc()

    def settle(self) -> None:
        """Keep the bounds, choose, and say how much there is; after every few records, and while none come."""
        self.lists.settle()
        self._watch.settle()
        self._metrics.places.set(len(self.fold.places))
        self._metrics.items.set(sum(map(len, self.fold.places.values())))
        self._metrics.event_time.set(self.fold.now_ms / 1000)

    def forget_beyond(self, ends: Mapping[str, int]) -> None:
        """See `TrendingFold.forget_beyond`."""
        for source in self.fold.forget_beyond(ends):
            self._metrics.void_offsets.inc()
            log.warning("topic_made_anew", partition=source, detail="its counted offsets are of an earlier topic: void")

    def publish(self, now: datetime, seconds: float) -> None:
        """Write the lists that have changed; seconds: of a monotonic clock."""
        is_everything_due = seconds - self._looked_seconds >= ALL_EVERY_SECONDS
        if is_everything_due:
            self._looked_seconds = seconds
            self._unpublished.update(self.fold.places)
            self.fold.forget_old_visitors()
        due = [place for place in self._unpublished if place in self.fold.places]
        self._unpublished.clear()
        if not self.fold.now_ms:
            return  # nothing was ever counted
        # First what is gone: a reader that is full has room then for what is new.
        for key in [key for key in self._published if _place(key) not in self.fold.places]:
            del self._published[key]
            self._write(self._trending, key.encode(errors="surrogateescape"), None, "removed")
        for place, record in self.lists.records(sorted(due), now):
            self._publish(place, record, is_repeated=is_everything_due and place == EVERYWHERE)

    def drop_gone(self, now: datetime) -> None:
        """Write those lists anew that hold an item which is gone; next to nothing where none is."""
        now_ms = unix_ms(now)
        listed = ((_place(key), one.item_ids) for key, one in self._published.items())
        kept = ((place, item_ids) for place, item_ids in listed if place in self.fold.places)  # else `publish`
        over = [place for place, item_ids in kept if self._watch.gone_now(item_ids, place or None, now_ms)]
        for place, record in self.lists.records(sorted(over), now):
            self._publish(place, record, is_repeated=False)

    def store(self, now: datetime) -> None:
        """Write the places that have changed; `store_progress` is to follow when they are safe."""
        for stored in list(self.fold.store()):
            counts = self.fold.places[stored.place]
            items = len(counts)
            value = encode_place(stored, counts)
            if len(counts) < items:
                self._metrics.items_cut.inc(items - len(counts))
                self._rare_log.warning(
                    "trending_place_too_large",
                    place=stored.place or TRENDING_KEY,
                    items=items,
                    kept=len(counts),
                    remedy="the least viewed ones went, a record takes no more; lower trending.max_items",
                )
            self._write(self._state, place_key(stored.place), value, "place")
        for place in self.fold.gone():
            self._write(self._state, place_key(place), None, "place")
        self._metrics.stored.set(now.timestamp())

    def store_progress(self) -> None:
        """Write how far the fold has come; nothing may be counted between `store` and this."""
        progress = self.fold.progress(self.lists.choices.stored())
        self._write(self._state, PROGRESS_KEY, encode_progress(progress), "progress")

    def _taken(self, record: InputRecord) -> RecordResult:
        position, read = record.position, self._read(record)
        if read is None:
            self.fold.read[position.partition] = position.offset + 1
            if record.value is None and record.key is not None:
                self.fold.forget(VisitorId(record.key.decode(errors="surrogateescape")))
            return "nothing" if record.value is None else "unreadable"
        inputs, repeats, gaps = self.fold.inputs, self.fold.repeats, self.fold.gaps
        clicks = self.lists.take(read, position.partition, position.offset, record.time_ms)
        if self.fold.gaps > gaps:
            self._metrics.gaps.inc(self.fold.gaps - gaps)
        if self.fold.inputs > inputs and read.items:
            self._watch.look(_answer(read, record.time_ms))
        self._unpublished.update(place for click in clicks for place in click.places)
        return "repeated" if self.fold.repeats > repeats else "counted" if clicks else "nothing"

    def _publish(self, place: str, record: Trending | None, *, is_repeated: bool) -> None:
        key = place or TRENDING_KEY
        if record is not None:
            record = self._without_gone(record)
        if record is None:
            if self._published.pop(key, None) is not None:
                self._write(self._trending, key.encode(errors="surrogateescape"), None, "removed")
            return
        content = hash((tuple(record.items), record.rising_share))
        if self._published.get(key, _UNKNOWN).content == content and not is_repeated:
            return
        self._published[key] = _Published(content, [item.item_id for item in record.items])
        self._write(self._trending, key.encode(errors="surrogateescape"), self._encode(record), "list")
        if place == EVERYWHERE:
            self._metrics.published.set(unix_ms(record.updated_at) / 1000)

    def _without_gone(self, record: Trending) -> Trending | None:
        """Leave out what nobody at the place can have now; None where that is all."""
        item_ids = [item.item_id for item in record.items]
        gone = set(self._watch.gone_now(item_ids, record.location, unix_ms(record.updated_at)))
        if not gone:
            return record
        items = [item for item in record.items if item.item_id not in gone]
        rising_share = min(1.0, sum(item.rising for item in items))
        return msgspec.structs.replace(record, items=items, rising_share=rising_share) if items else None

    def _write(self, topic: str, key: bytes, value: bytes | None, kind: str) -> None:
        self._send(OutputRecord(topic, key, value))
        self._metrics.written.labels(kind=kind).inc()
        self._metrics.written_bytes.labels(kind=kind).inc(len(value or b""))

    def _read(self, record: InputRecord) -> ReadRecord | None:
        if record.value is None:
            return None
        try:
            if record.value[:1] == b"{" or self._decode is None:
                return _read_json(record.value)
            return msgspec.convert(self._decode(record.value), ReadRecord)
        except (ValueError, RecursionError) as error:
            position = record.position
            self._rare_log.warning(
                "recommendation_unreadable",
                reason=type(error).__name__,
                partition=position.partition,
                offset=position.offset,
                remedy="passed over; who else writes to this topic?",
            )
            return None


def visitor_hash(secret: bytes, visitor_id: VisitorId) -> int:
    """Return a keyed hash of a visitor, of 1 to 2^64 - 2."""
    digest = blake2b(visitor_id.encode(errors="surrogateescape"), digest_size=8, key=secret[:64]).digest()
    return min(max(int.from_bytes(digest), 1), 2**64 - 2)


def _answer(read: ReadRecord, written_ms: int) -> WrittenList:
    """Return the list of an answer; where it was made for is known where all views that it counts are of one place."""
    locations = {view.location for view in read.counts}
    location = locations.pop() if len(locations) == 1 else None
    return WrittenList("answer", read.id, [one.item_id for one in read.items], location, written_ms)


def _chain(places: LocationSettings, place: str) -> tuple[str, ...]:
    """Return the place and those around it; the key of everywhere is no place, whoever calls one so."""
    return tuple(one for one in places.chain(place) if one != TRENDING_KEY)


def _place(key: str) -> str:
    return EVERYWHERE if key == TRENDING_KEY else key
