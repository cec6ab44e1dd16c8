import random
import string
from collections.abc import Callable

import pytest

from schemas.ids import ItemId
from streams.trending.counts import PlaceCounts
from streams.trending.fold import StoredPlace, StoredProgress
from streams.trending.snapshots import (
    MAX_BYTES,
    SnapshotError,
    decode_place,
    decode_progress,
    encode_place,
    encode_progress,
    place_key,
)
from tests.streams.trending.logs import DAMAGES, START_MS, assert_same_counts, damaged


def test_a_place_and_the_progress_are_read_as_they_were_written() -> None:
    """Numbers of partitions as numbers."""
    counts = PlaceCounts(10)
    counts.add(ItemId("a"), START_MS, 1)
    stored = StoredPlace("nl/nh", {0: 5, 1: 7}, {"clicks-0": 4}, counts.stored())
    again = decode_place(encode_place(stored, counts))
    assert again == stored
    assert_same_counts(PlaceCounts.restored(again.counts, 10), counts, START_MS)
    progress = StoredProgress({0: 5}, {"clicks-0": 4}, {"": 1, "nl": 2}, START_MS, {0: [1.0]})
    assert decode_progress(encode_progress(progress)) == progress
    assert place_key("nl/nh") == b"place:nl/nh"


def test_a_place_that_does_not_fit_lets_its_least_viewed_items_go() -> None:
    """A topic takes no larger record: in memory they go as well."""
    chance = random.Random(1)
    counts = PlaceCounts(100_000)
    for number in range(30_000):
        name = "".join(chance.choices(string.printable, k=100))
        counts.add(ItemId(name), START_MS + chance.randrange(10_000_000), number + 1)
    for visitor in range(1, 100):
        counts.add(ItemId("best"), START_MS + 10_000_000, visitor)
    value = encode_place(StoredPlace("", {}, {}, counts.stored()), counts)
    assert len(value) <= MAX_BYTES
    assert 1_000 < len(counts) < 30_000
    assert "best" in decode_place(value).counts.items
    assert len(decode_place(value).counts.items) == len(counts)


@pytest.mark.parametrize("decode", [decode_place, decode_progress])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_snapshot_is_refused(decode: Callable[[bytes], object], damage: str) -> None:
    """Whoever wrote it; a small record that inflates without end must not fill the memory."""
    counts = PlaceCounts(10)
    counts.add(ItemId("a"), START_MS, 1)
    value = damaged(encode_place(StoredPlace("nl", {0: 5}, {"clicks-0": 4}, counts.stored()), counts), damage)
    assert len(value) < 100_000
    with pytest.raises(SnapshotError):
        decode(value)


def test_a_snapshot_of_a_time_that_no_calendar_has_is_refused() -> None:
    """A list of such a time could not be written: the observer would end with it at every start."""
    counts = PlaceCounts(10)
    counts.add(ItemId("a"), 10**15, 1)
    with pytest.raises(SnapshotError):
        decode_place(encode_place(StoredPlace("nl", {}, {}, counts.stored()), counts))
    with pytest.raises(SnapshotError):
        decode_progress(encode_progress(StoredProgress({}, {}, {}, now_ms=10**15)))
