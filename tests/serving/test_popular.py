from collections import Counter
from itertools import count
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.ids import ItemId, VisitorId
from serving.popular import Sighting, StreamPopularity
from serving.support import FOUNDING_VISITORS, MIN_SHARE, MIN_SPAN_MS, MIN_VISITORS

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000


class Shop:
    """The catalog and the release that a test decides on; None = there is neither."""

    def __init__(self) -> None:
        self.items: set[str] | None = None
        self.locations: set[str] | None = None

    @property
    def knows_items(self) -> bool:
        """See `Vouchers`."""
        return self.items is not None

    def item(self, item_id: ItemId) -> bool | None:
        """See `Vouchers`."""
        return None if self.items is None else item_id in self.items

    def location(self, location: str) -> bool | None:
        """See `Vouchers`."""
        return None if self.locations is None else location in self.locations


class Clicking:
    """Popularity that halves every hour, of clicks that are each a new visitor's unless it says whose."""

    def __init__(self, max_locations: int = 2, max_items: int = 100) -> None:
        self.shop = Shop()
        self.popular = StreamPopularity(
            half_life_seconds=3600, max_items=max_items, max_locations=max_locations, vouchers=self.shop
        )
        self.visitors = count()

    def click(self, item: str, location: str | None = None, *, at_ms: int = 0, visitor: str | None = None) -> None:
        """Let somebody click."""
        time_ms = START_MS + at_ms
        visitor_id = VisitorId(visitor or f"visitor-{next(self.visitors)}")
        self.popular.add(
            Sighting(
                visitor_id=visitor_id,
                item_id=ItemId(item),
                location=location,
                event_time_ms=time_ms,
                arrived_ms=time_ms,
            )
        )

    def found(self) -> None:
        """Let the founding visitors come, who all click the same."""
        for _ in range(FOUNDING_VISITORS):
            self.click("first", "home")

    def top(self, location: str | None = None) -> list[str]:
        """Return the most popular items."""
        return [item.item_id for item in self.popular.top(location, 5)]


@pytest.fixture
def clicking() -> Clicking:
    """Return popularity with room for two locations."""
    return Clicking()


def test_locations_are_counted_apart(clicking: Clicking) -> None:
    """What is popular at a location differs from what is popular over all."""
    for item, location in [("a", "north"), ("a", "north"), ("b", "south"), ("c", None), ("b", "south"), ("b", "north")]:
        clicking.click(item, location)
    assert [clicking.top(location) for location in ("north", "south", None)] == [["a", "b"], ["b"], ["b", "a", "c"]]
    assert clicking.top("west") == []


def test_the_least_visited_location_goes_when_there_are_too_many(clicking: Clicking) -> None:
    """However lately it was clicked; a newcomer takes its place only with more visitors."""
    for location in ("north", "north", "south", "west"):
        clicking.click("a", location)
    assert clicking.popular.locations() == ("north", "south")
    clicking.click("a", "west")
    assert clicking.popular.locations() == ("north", "west")


def test_the_shops_own_locations_go_before_all_others(clicking: Clicking) -> None:
    """Where the catalog names locations, only these have lists, however many visitors another has."""
    for _ in range(3):
        clicking.click("a", "north")
        clicking.click("a", "south")
    clicking.shop.locations = {"west"}
    clicking.click("a", "west")
    clicking.click("a", "east")
    assert set(clicking.popular.locations()) == {"west", "south"}


def test_a_visitor_counts_once_an_item_and_half_life(clicking: Clicking) -> None:
    """At a location, too; after the half-life again."""
    for _ in range(50):
        clicking.click("a", "north", visitor="v")
    clicking.click("b", "north")
    clicking.click("b", "north")
    assert (clicking.top(), clicking.top("north")) == (["b", "a"], ["b", "a"])
    for visitor in ("v", "w"):
        clicking.click("a", "north", visitor=visitor, at_ms=2 * HOUR_MS)
    assert clicking.top() == ["a", "b"]


def test_the_first_visitors_make_the_first_lists(clicking: Clicking) -> None:
    """Without catalog and release a list has to begin somewhere: what they click is listed at once."""
    clicking.click("a", "north")
    assert (clicking.top(), clicking.top("north")) == (["a"], ["a"])


def test_a_crowd_that_comes_at_once_lists_nothing(clicking: Clicking) -> None:
    """Thousands of invented visitors of a minute are one stranger; at other people's locations nothing of theirs is."""
    clicking.found()
    for number in range(3000):
        clicking.click(f"evil{number % 3}", f"nowhere{number % 64}", at_ms=number * 20)
        clicking.click(f"evil{number % 3}", "home", at_ms=number * 20)
    assert (clicking.top(), clicking.top("home"), clicking.popular.locations()) == (["first"], ["first"], ("home",))


def test_what_different_visitors_use_over_a_time_is_listed(clicking: Clicking) -> None:
    """All its visitors count then; a single one who comes again and again is not enough."""
    clicking.found()
    for number in range(MIN_VISITORS):
        clicking.click("new", at_ms=number * MIN_SPAN_MS // (MIN_VISITORS - 1))
        clicking.click("mine", at_ms=number * MIN_SPAN_MS, visitor="v")
        assert ("new" in clicking.top()) == (number == MIN_VISITORS - 1)
    assert clicking.top() == ["first", "new"]
    assert list(clicking.popular.top(None, 2))[1].score == pytest.approx(MIN_VISITORS / FOUNDING_VISITORS, rel=0.2)


def test_invented_names_push_no_real_one_out_of_memory() -> None:
    """Of names that nobody vouches for those with the most visitors stay; so a real new one gets there."""
    clicking = Clicking(max_items=10)
    clicking.found()
    for number in range(MIN_VISITORS):
        clicking.click("new", at_ms=number * MIN_SPAN_MS // (MIN_VISITORS - 1))
        if number:
            for invented in range(90):
                clicking.click(f"evil{number}-{invented}", at_ms=number * MIN_SPAN_MS // (MIN_VISITORS - 1))
    clicking.click("new", at_ms=MIN_SPAN_MS + 1)
    assert clicking.top() == ["first", "new"]


def test_a_few_ids_list_nothing_by_patience(clicking: Clicking) -> None:
    """Twelve ids that click for days stay below what is needed, as each counts once a half-life."""
    clicking.found()
    for minute in range(3 * 24 * 60):
        clicking.click("evil", "nowhere", visitor=f"evil-{minute % 12}", at_ms=minute * 60_000)
    assert (clicking.top(), clicking.popular.locations()) == (["first"], ("home",))


@given(
    greed=st.floats(0.01, 1),
    visitors=st.integers(500, 4000),
    names=st.integers(1, 3),
    hours=st.floats(0.4, 5),
    seed=st.integers(0, 2**32),
)
@example(greed=1, visitors=4000, names=1, hours=0.6, seed=0)
@settings(max_examples=40, deadline=None)
def test_what_invented_visitors_below_the_share_use_is_never_listed(
    greed: float, visitors: int, names: int, hours: float, seed: int
) -> None:
    """However patient they are, and however their clicks lie among the others; what many real ones use is."""
    clicking, order = Clicking(max_locations=10), Random(seed)
    clicking.found()
    all_of, invented_of = Counter[int](), Counter[int]()
    for number in range(visitors):
        at_ms = int(number * hours * HOUR_MS / visitors)
        period = (START_MS + at_ms) // HOUR_MS
        all_of[period] += 1
        is_below = invented_of[period] + 1 < max(MIN_VISITORS, MIN_SHARE * all_of[period])
        if is_below and order.random() < greed:
            invented_of[period] += 1
            name = number % names
            clicking.click(f"evil{name}", f"nowhere{name}", at_ms=at_ms)
        else:
            clicking.click("new", "there", at_ms=at_ms)
    assert set(clicking.top()) == {"first", "new"}
    assert set(clicking.popular.locations()) == {"home", "there"}


def test_only_what_the_shop_knows_is_listed_where_it_knows_anything(clicking: Clicking) -> None:
    """From then on strangers' items are neither counted nor shown, also those that were counted before."""
    clicking.click("a")
    clicking.click("a")
    clicking.click("b")
    clicking.shop.items = {"b", "c"}
    clicking.click("a")
    clicking.click("c", "north")
    clicking.click("evil", "evil")
    assert (clicking.top(), clicking.popular.locations()) == (["b", "c"], ("north",))


def test_age_is_counted_from_the_latest_event(clicking: Clicking) -> None:
    """The age is event time since the latest counted event and never negative."""
    clicking.click("a", at_ms=500)
    clicking.click("a")
    assert clicking.popular.age_ms(START_MS + 800) == 300
    assert clicking.popular.age_ms(START_MS) == 0


def test_zero_items_or_locations_count_nothing() -> None:
    """Zero switches off what it bounds."""
    for max_items, max_locations, overall, local in ((0, 5, [], []), (5, 0, ["a"], [])):
        clicking = Clicking(max_locations, max_items)
        clicking.click("a", "north")
        assert (clicking.top(), clicking.top("north"), clicking.popular.locations()) == (overall, local, ())
