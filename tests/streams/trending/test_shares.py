from collections.abc import Mapping

import numpy as np
import pytest
from scipy import special

from schemas.ids import ItemId
from streams.trending.counts import PlaceCounts
from streams.trending.shares import (
    MAX_RISING,
    PARENT_ONLY,
    RISING_LIFT,
    PlaceShares,
    Setting,
    gamma_q05,
    place_shares,
)
from tests.streams.trending.logs import START_MS

HOUR_MS = 3_600_000
LONG = 5


def counts_of(views: Mapping[str, int], *, at_ms: int = START_MS) -> PlaceCounts:
    """Count so many views of each item, each of another visitor."""
    counts = PlaceCounts(1000)
    for item, count in views.items():
        for visitor in range(1, count + 1):
            counts.add(ItemId(item), at_ms, visitor)
    return counts


def shares(
    views: Mapping[str, int], around: PlaceShares | None = None, strength: float = 100.0, top: int = 10
) -> PlaceShares:
    """Make the shares of a place now."""
    return place_shares(counts_of(views), START_MS, around, Setting(LONG, strength), top=top)


def told(place: PlaceShares) -> dict[str, float]:
    """Return the shares that are told."""
    return {item.item_id: item.share for item in place.listed()}


def test_a_place_has_its_own_shares_and_those_around_it_as_a_prior() -> None:
    """`(n + k p) / (N + k)`, root to leaf; what nobody viewed here has what is left of the place around it."""
    everywhere = shares({"a": 60, "b": 40})
    assert told(everywhere) == pytest.approx({"a": 0.6, "b": 0.4})
    country = shares({"b": 50}, everywhere, strength=50)
    assert told(country) == pytest.approx({"b": (50 + 50 * 0.4) / 100, "a": 50 * 0.6 / 100})
    city = shares({"c": 10}, country, strength=30)
    assert told(city) == pytest.approx({"b": 30 * 0.7 / 40, "a": 30 * 0.3 / 40, "c": 10 / 40})
    assert sum(told(city).values()) == pytest.approx(1.0)


def test_a_place_may_have_those_around_it_alone() -> None:
    """Where its own views were found to tell nothing."""
    everywhere = shares({"a": 60, "b": 40})
    assert told(shares({"b": 50}, everywhere, strength=PARENT_ONLY)) == pytest.approx({"a": 0.6, "b": 0.4})


def test_the_list_holds_the_highest_shares_only() -> None:
    """Best first; ties by item."""
    everywhere = shares({f"i{number}": 10 for number in range(30)} | {"best": 11}, top=5)
    assert everywhere.listed()[0].item_id == "best"
    assert len(everywhere.listed()) == 5


def test_what_too_few_viewed_here_is_told_by_those_around_it() -> None:
    """And what too few viewed anywhere is not told at all."""
    everywhere = shares({"a": 60, "b": 40, "rare": 2})
    assert told(everywhere).keys() == {"a", "b"}
    city = shares({"a": 2, "rare": 2, "b": 6}, everywhere, strength=10)
    (of_a,) = [item for item in city.listed() if item.item_id == "a"]
    assert (of_a.share, of_a.visitors) == (pytest.approx(10 / 20 * 60 / 102, rel=1e-4), 0)
    assert told(city).keys() == {"a", "b"}


def test_a_view_of_one_visitor_moves_nothing_in_a_list() -> None:
    """Neither the rank nor the place among the listed of an item: who alone viewed it is nobody's business."""
    everywhere = shares({f"i{number}": 100 - number for number in range(30)}, top=20)
    before = shares({"i3": 5}, everywhere, strength=10, top=10)
    after = shares({"i3": 5, "i15": 1, "i29": 1}, everywhere, strength=10, top=10)
    assert [item.item_id for item in after.listed()] == [item.item_id for item in before.listed()]
    assert "i15" not in {item.item_id for item in after.listed()}


def rise(usual: int, now: int, *, crowd: float = 1.0, others: int = 200) -> PlaceShares:
    """Let an item have `usual` views each hour for 24 hours, and `now` in the last ten minutes, `others` as usual."""
    counts = PlaceCounts(1000)
    now_ms = START_MS + 24 * HOUR_MS
    views = [
        ("x", START_MS + hour * HOUR_MS + n * HOUR_MS // max(1, usual)) for hour in range(24) for n in range(usual)
    ]
    views += [
        (f"o{n % 20}", START_MS + hour * HOUR_MS + n * HOUR_MS // others) for hour in range(24) for n in range(others)
    ]
    views += [("x", now_ms - n * 1000) for n in range(now)]
    views += [(f"o{n % 20}", now_ms - n * 1000) for n in range(int(others / 6 * crowd))]
    for visitor, (item, time_ms) in enumerate(views, 1):
        counts.add(ItemId(item), time_ms, visitor)
    return place_shares(counts, now_ms, None, Setting(0, 100.0), top=10)


def rising(place: PlaceShares) -> list[str]:
    """Return what rises."""
    return [item.item_id for item in place.listed() if item.rising > 0]


def test_an_item_that_has_more_than_its_usual_share_rises() -> None:
    """With its views beyond the usual as a share of all; one that always has as many does not."""
    place = rise(usual=2, now=30)
    assert rising(place) == ["x"]
    (item,) = [item for item in place.listed() if item.item_id == "x"]
    assert item.lift > RISING_LIFT
    assert 0.2 < item.rising < 0.6
    assert rising(rise(usual=30, now=6)) == []


def test_a_few_views_more_than_none_may_be_chance() -> None:
    """Three views of an item that has none for hours are no rise; nor does a crowd that views the usual make one."""
    assert rising(rise(usual=0, now=3)) == []
    assert rising(rise(usual=2, now=1, crowd=8.0)) == []


def test_not_all_that_rises_pushes_all_else_out() -> None:
    """Of very much that rises what rises most is told."""
    counts = PlaceCounts(1000)
    for number in range(3 * MAX_RISING):
        for visitor in range(1, 8 + number % 3):
            counts.add(ItemId(f"i{number}"), START_MS + 10 * HOUR_MS, visitor)
    for number in range(20_000):
        counts.add(ItemId(f"usual{number % 40}"), START_MS + number * HOUR_MS // 2_000, number + 1)
    place = place_shares(counts, START_MS + 10 * HOUR_MS, None, Setting(0, 100.0), top=100)
    assert (place.excess > 0).sum() > MAX_RISING
    told_items = place.listed()
    assert len(told_items) == 100
    assert sum(item.rising > 0 for item in told_items) >= MAX_RISING


def test_the_quantile_is_that_of_the_gamma_distribution() -> None:
    """Against its quantiles as SciPy gives them, for the shapes of few and many views."""
    exact = special.gammaincinv([2.5, 10.5, 100.5], 0.05)
    found = gamma_q05(np.array([2.5, 10.5, 100.5]), np.array([1.0, 2.0, 1.0])).tolist()
    assert found == pytest.approx([exact[0], exact[1] / 2, exact[2]], rel=0.02)
    assert gamma_q05(np.array([0.5]), np.ones(1))[0] < 0.02
