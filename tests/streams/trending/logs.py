"""Logs of `recommendations` as workers that are killed now and then write them, and observers that are, too."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple

import msgspec
import numpy as np

from schemas.ids import ItemId, VisitorId
from schemas.places import place_chain
from schemas.records import CountedView
from streams.trending.counts import PlaceCounts
from streams.trending.fold import ReadRecord, StoredPlace, StoredProgress, TrendingFold
from streams.trending.snapshots import VERSION, decode_place, decode_progress, encode_place, encode_progress

START_MS = 1_700_000_000_000
PLACES = ("nl/nh/ams", "nl/zh/rot", "de/be/ber", "nl", None)
DAMAGES = ("empty", "cut", "of another version", "no msgpack", "of another form", "too large")
SOURCES = ("clicks", "shop-orders-eu")


class Written(NamedTuple):
    """A record at an offset of `recommendations`."""

    record: ReadRecord
    written_ms: int


def damaged(value: bytes, damage: str) -> bytes:
    """Return what is left of a stored value after a damage of `DAMAGES`."""
    version = bytes([VERSION])
    match damage:
        case "empty":
            return b""
        case "cut":
            return value[:-5]
        case "of another version":
            return bytes([VERSION + 1]) + value[1:]
        case "no msgpack":
            return version + zlib.compress(b"\xc1")
        case "of another form":
            return version + zlib.compress(msgspec.msgpack.encode([1, 2, 3]))
        case _:
            return version + zlib.compress(msgspec.msgpack.encode(b"\0" * 80_000_000), level=9)


def chain(place: str) -> tuple[str, ...]:
    """Return the place and those around it."""
    return place_chain(place, "/")


def name(visitor_id: VisitorId) -> int:
    """Hash a visitor."""
    return int(visitor_id.removeprefix("v")) + 1


def new_fold() -> TrendingFold:
    """Make a fold whose bounds nothing reaches."""
    return TrendingFold(chain, name)


def truth(rng: Random, partition: int, count: int) -> list[Written]:
    """Make the records of one partition's inputs, of two clickstreams, each once; some offsets have none."""
    records, offsets = list[Written](), dict.fromkeys(SOURCES, 0)
    for number in range(count):
        source = rng.choice(SOURCES)
        offset = offsets[source] = offsets[source] + 1 + (rng.random() < 0.05)
        time_ms = START_MS + number * 900 + rng.randrange(-600_000, 60_000)
        views = [
            CountedView(ItemId(f"i{int(rng.paretovariate(1.1))}"), time_ms, rng.choice(PLACES))
            for _ in range(rng.choice((0, 1, 1, 1, 2)))
        ]
        record = ReadRecord(f"{source}-{partition}-{offset}", VisitorId(f"v{rng.randrange(50)}"), views)
        records.append(Written(record, START_MS + number * 900))
    return records


def with_crashes(rng: Random, records: Sequence[Written]) -> list[Written]:
    """Repeat runs of records, as a worker does that comes back after a crash."""
    log, at = list[Written](), 0
    while at < len(records):
        end = min(len(records), at + rng.randrange(20, 200))
        log += records[at:end]
        at = end if rng.random() < 0.5 else max(0, end - rng.randrange(0, 60))
        if end == len(records):
            break
    return log


class StateTopic:
    """The compacted topic: what was last written under each key, and what was there before."""

    def __init__(self) -> None:
        self.progress: bytes | None = None
        self.places: dict[str, bytes] = {}

    def read(self) -> tuple[StoredProgress | None, list[StoredPlace]]:
        """Read it as the next observer does."""
        progress = None if self.progress is None else decode_progress(self.progress)
        return progress, [decode_place(value) for value in self.places.values()]

    def writes(self, fold: TrendingFold) -> Iterator[Callable[[], None]]:
        """Return the writes of one round, in order: whoever makes them may be killed between any two."""
        stored = list(fold.store())
        values = [(one.place, encode_place(one, fold.places[one.place])) for one in stored]
        for place, value in values:
            yield lambda place=place, value=value: self.places.__setitem__(place, value)  # type: ignore[misc]
        for place in fold.gone():
            yield lambda place=place: self.places.pop(place, None)  # type: ignore[misc]
        progress = encode_progress(fold.progress())
        yield lambda: setattr(self, "progress", progress)


def read_on(rng: Random, fold: TrendingFold, logs: Sequence[Sequence[Written]], at_most: int) -> int:
    """Fold some records of partitions that have any left; return how many."""
    done = 0
    while done < at_most:
        left = [number for number, log in enumerate(logs) if fold.read.get(number, 0) < len(log)]
        if not left:
            break
        partition = rng.choice(left)
        begin = fold.read.get(partition, 0)
        for offset in range(begin, min(len(logs[partition]), begin + rng.randrange(1, 40))):
            written = logs[partition][offset]
            fold.apply(written.record, partition, offset, written.written_ms)
            done += 1
    return done


def counts_of(counts: PlaceCounts, now_ms: int) -> dict[str, tuple[list[float], bool]]:
    """Return an item's counts, and whether it may be told."""
    rows = zip(counts.items, counts.at(now_ms).tolist(), counts.is_public().tolist(), strict=True)
    return {item_id: (values, is_public) for item_id, values, is_public in rows}


def assert_same_counts(found: PlaceCounts, wanted: PlaceCounts, now_ms: int) -> None:
    """Hold a place to the same items and counts, to a billionth."""
    those, these = counts_of(found, now_ms), counts_of(wanted, now_ms)
    assert those.keys() == these.keys()
    for item_id, (values, is_public) in these.items():
        np.testing.assert_allclose(those[item_id][0], values, rtol=1e-9, atol=1e-12)
        assert those[item_id][1] == is_public


def assert_equal(fold: TrendingFold, batch: TrendingFold) -> None:
    """Hold both to the same places, items and counts."""
    assert (fold.offsets, fold.now_ms) == (batch.offsets, batch.now_ms)
    assert fold.places.keys() == batch.places.keys()
    for place in batch.places:
        assert_same_counts(fold.places[place], batch.places[place], batch.now_ms)
