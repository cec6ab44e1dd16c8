from random import Random

import pytest

from schemas.ids import ItemId
from serving.decayed_counts import DecayedCounts

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000


def counts(max_items: int = 100) -> DecayedCounts:
    """Return counts that halve every hour."""
    return DecayedCounts(HOUR_MS, max_items)


def add(counted: DecayedCounts, items: str, at_ms: int = 0) -> None:
    """Count one event for each letter at START_MS + at_ms."""
    for item in items:
        counted.add(ItemId(item), START_MS + at_ms)


def names(counted: DecayedCounts, count: int = 10) -> str:
    """Join the top items."""
    return "".join(item.item_id for item in counted.ranked()[:count])


def shares(counted: DecayedCounts, count: int) -> list[tuple[str, float]]:
    """Return the top items with their shares."""
    return [(item.item_id, item.score) for item in counted.ranked()[:count]]


def test_more_events_rank_higher_and_ties_go_by_item() -> None:
    """At one time it is a plain count, and equal counts are ordered by item id."""
    counted = counts()
    add(counted, "cbacac")
    assert names(counted) == "cab"
    add(counted, "abb")
    assert names(counted) == "abc"


def test_weights_halve_in_a_half_life() -> None:
    """Two old events weigh as much as one that is a half-life younger."""
    counted = counts()
    add(counted, "aab")
    add(counted, "c", HOUR_MS)
    assert shares(counted, 10) == [("a", 1.0), ("c", 1.0), ("b", 0.5)]


def test_order_of_arrival_does_not_matter() -> None:
    """Out-of-order events give the same shares as the same events in order."""
    events = [("a", 0), ("b", HOUR_MS // 2), ("a", HOUR_MS), ("c", 2 * HOUR_MS), ("b", 2 * HOUR_MS)]
    in_order, shuffled = counts(), counts()
    for item, at_ms in events:
        add(in_order, item, at_ms)
    Random(3).shuffle(events)
    for item, at_ms in events:
        add(shuffled, item, at_ms)
    assert names(shuffled, 3) == names(in_order, 3)
    assert dict(shares(shuffled, 3)) == pytest.approx(dict(shares(in_order, 3)))


def test_weights_stay_finite_over_years() -> None:
    """The landmark moves: after ten years at a half-life of an hour the newest item leads and shares are right."""
    counted = counts()
    add(counted, "aaa")
    for day in range(0, 3650, 10):
        add(counted, "b", day * 24 * HOUR_MS)
    add(counted, "c", 3640 * 24 * HOUR_MS)
    add(counted, "d", 3640 * 24 * HOUR_MS - HOUR_MS)
    assert shares(counted, 3) == [("b", 1.0), ("c", 1.0), ("d", 0.5)]


def test_a_very_old_event_neither_counts_nor_breaks() -> None:
    """An event a century late weighs nothing, before and after the others, and when it is left alone."""
    for before, after in (("a", "b"), ("b", "a")):
        counted = counts()
        for item in (before, after):
            add(counted, item, 0 if item == "a" else -100 * 365 * 24 * HOUR_MS)
        assert names(counted) == "a"
        counted.discard("a")
        assert names(counted) == ""


def test_size_is_bounded_and_the_popular_stay() -> None:
    """However many items come, at most twice the bound are kept, the heaviest among them."""
    counted = counts(max_items=10)
    for number in range(1000):
        counted.add(ItemId(f"once-{number:04}"), START_MS)
        if number < 50:
            counted.add(ItemId("often"), START_MS)
        assert len(counted) <= 20
    assert shares(counted, 1) == [("often", 1.0)]


def test_the_order_is_renewed_every_hundred_events() -> None:
    """With many items a new leader shows after at most a hundred events."""
    counted = DecayedCounts(HOUR_MS, 1000)
    for number in range(300):
        counted.add(ItemId(f"{number:03}"), START_MS)
    assert names(counted, 1) == "000"
    for _ in range(99):
        counted.add(ItemId("299"), START_MS)
    assert names(counted, 1) == "000"
    counted.add(ItemId("299"), START_MS)
    assert names(counted, 1) == "299"


def test_several_events_may_be_counted_at_once() -> None:
    """They weigh as so many that come one by one; what was never counted weighs nothing."""
    counted = counts()
    counted.add("a", START_MS, 3)
    counted.add("b", START_MS + HOUR_MS)
    assert counted.weight("a") == 1.5 * counted.weight("b")
    assert counted.weight("c") == 0.0
