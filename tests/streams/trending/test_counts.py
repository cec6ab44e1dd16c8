import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.ids import ItemId
from streams.trending.counts import HALF_LIVES_MS, PUBLIC_VISITORS, PlaceCounts
from tests.streams.trending.logs import START_MS, assert_same_counts

DAY_MS = 86_400_000


def counted(*views: tuple[str, int], max_items: int = 100) -> PlaceCounts:
    """Count views of items at times after the start, each of another visitor."""
    counts = PlaceCounts(max_items)
    for visitor, (item, at_ms) in enumerate(views, 1):
        counts.add(ItemId(item), START_MS + at_ms, visitor)
    return counts


def test_a_view_counts_half_after_each_half_life() -> None:
    """One column a half-life."""
    for rung, half_life_ms in enumerate(HALF_LIVES_MS):
        counts = counted(("a", 0), ("b", half_life_ms))
        at = counts.at(START_MS + half_life_ms)
        assert (at[0, rung], at[1, rung]) == pytest.approx((0.5, 1.0))


@given(views=st.lists(st.tuples(st.sampled_from("abc"), st.integers(-40 * DAY_MS, 40 * DAY_MS)), min_size=1))
def test_counts_are_the_same_in_whatever_order(views: list[tuple[str, int]]) -> None:
    """Weeks apart, so that the landmark moves; each view weighs by its time alone."""
    now_ms = START_MS + 40 * DAY_MS
    counts = counted(*views)
    counts.at(now_ms)
    assert_same_counts(counts, counted(*reversed(views)), now_ms)
    weights = {item: 0.0 for item, _ in views}
    for item, at_ms in views:
        weights[item] += 2.0 ** ((START_MS + at_ms - now_ms) / HALF_LIVES_MS[-1])
    found = dict(zip(counts.items, counts.at(now_ms)[:, -1].tolist(), strict=True))
    assert found == pytest.approx(weights, rel=1e-9)


@pytest.mark.parametrize(
    ("visitors", "is_public"),
    [([1, 1, 1, 1], False), ([1, 2, 1, 2], False), ([1, 2, 3], True), ([2**64 - 2, 1, 5], True)],
)
def test_an_item_is_told_of_once_enough_different_visitors_viewed_it(visitors: list[int], is_public: bool) -> None:
    """However often the same ones come back; also after the counts were stored in between."""
    assert PUBLIC_VISITORS == 3
    counts = PlaceCounts(10)
    for visitor in visitors:
        counts.add(ItemId("a"), START_MS, visitor)
        counts = PlaceCounts.restored(counts.stored(), 10)
    assert counts.is_public().tolist() == [is_public]


def test_of_too_many_items_the_least_viewed_go() -> None:
    """When there are twice as many as are kept; of equals those that come later by name."""
    views = [(f"i{number}", 0) for number in range(8)]
    counts = counted(*views, ("i7", 1), ("i6", 2), max_items=4)
    counts.cut()
    assert len(counts) == 8
    counts.add(ItemId("i8"), START_MS, 1)
    counts.cut()
    assert sorted(counts.items) == ["i0", "i1", "i6", "i7"]
    assert counts.weight(START_MS + 2) == pytest.approx(6.0, rel=1e-6)
    counts.add(ItemId("i8"), START_MS, 1)
    assert counts.at(START_MS)[:, -1].tolist() == pytest.approx([1, 1, 2, 2, 1], rel=1e-6)


def test_what_is_stored_is_gone_on_from() -> None:
    """With the same counts."""
    counts = counted(("a", 0), ("b", 5), ("a", 9))
    again = PlaceCounts.restored(counts.stored(), 100)
    for one in (counts, again):
        one.add(ItemId("c"), START_MS + 10, 9)
    assert_same_counts(again, counts, START_MS + 10)


@pytest.mark.parametrize(
    "change",
    [
        {"weights": b""},
        {"visitors": b"\0"},
        {"items": ["a", "a"]},
        {"weights": np.full((2, len(HALF_LIVES_MS)), np.nan).tobytes()},
        {"weights": np.full((2, len(HALF_LIVES_MS)), -1.0).tobytes()},
    ],
)
def test_counts_whose_parts_differ_are_damaged(change: dict[str, object]) -> None:
    """They would count nonsense."""
    stored = counted(("a", 0), ("b", 5)).stored()
    with pytest.raises(ValueError):  # noqa: PT011 - NumPy's own words, or ours
        PlaceCounts.restored(replace(stored, **change), 100)
