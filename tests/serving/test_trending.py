from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import ItemId
from schemas.places import LocationSettings
from schemas.records import TRENDING_KEY, RecommendedItem, Trending, TrendingItem
from serving.trending import NoTrending, RecordedTrending, TrendingBoard, Trends, with_rising
from serving.vouchers import NobodyVouches
from tests.builders.trending import listing

START = datetime(2026, 3, 1, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)


class TheShops:
    """Vouches for some items only."""

    knows_items = True

    def __init__(self, *items: str) -> None:
        self._items = items

    def item(self, item_id: ItemId) -> bool | None:
        """See `Vouchers`."""
        return item_id in self._items

    def location(self, location: str) -> bool | None:
        """See `Vouchers`."""


def trending(
    items: str,
    location: str | None = None,
    *,
    after: timedelta = timedelta(0),
    visitors: int = 50,
    rising: Mapping[str, float] | None = None,
) -> Trending:
    """Make a list in which each item has twice the share of the next; rising: by item, beyond the usual."""
    rises = rising or {}
    listed = [
        TrendingItem(ItemId(item), 0.5 ** (place + 1), 1.0, visitors, rises.get(item, 0.0))
        for place, item in enumerate(items.split())
    ]
    return listing(listed, START + after, location=location, rising_share=sum(rises.values()))


class Board:
    """A board whose clock the test moves."""

    def __init__(self, max_places: int = 100) -> None:
        self.now = START.timestamp()
        self.board = TrendingBoard(
            LocationSettings(), stale_after_seconds=300, max_places=max_places, clock=lambda: self.now
        )

    def put(self, *records: Trending) -> None:
        """Take in records that are written now."""
        for record in records:
            self.board.put(record.location or TRENDING_KEY, record, int(self.now * 1000))

    def items(self, location: str | None) -> list[str]:
        """Return the lists of a place."""
        return [" ".join(item.item_id for item in found.items) for found in self.board.lists(location)]


def test_the_lists_of_a_place_are_its_own_and_those_around_it() -> None:
    """The nearest first; a place that has none is left out."""
    board = Board()
    board.put(trending("a"), trending("b", "nl"), trending("c", "nl/nh/ams"))
    assert board.items("nl/nh/ams") == ["c", "b", "a"]
    assert board.items("nl/zh") == ["b", "a"]
    assert board.items("de") == board.items(None) == ["a"]
    board.board.put("nl", None, 0)
    assert board.items("nl/nh/ams") == ["c", "a"]


def test_lists_that_nobody_renews_are_not_believed() -> None:
    """The list of everywhere says that somebody is there; before the first there is nothing to be stale."""
    board = Board()
    assert not board.board.is_stale
    board.put(trending("a"))
    board.now += 300
    board.put(trending("b", "nl"))
    assert (board.board.is_stale, board.items("nl")) == (False, ["b", "a"])
    board.now += 1
    assert (board.board.is_stale, board.items("nl")) == (True, [])
    board.put(trending("c"))
    assert (board.board.is_stale, board.items("nl")) == (False, ["b", "c"])


def test_a_board_is_bounded() -> None:
    """Of more places the later ones have no list of their own; everywhere always has."""
    board = Board(max_places=2)
    board.put(trending("b", "nl"), trending("c", "de"), trending("d", "fr"), trending("a"), trending("e", "nl"))
    assert len(board.board) == 3
    assert [board.items(place) for place in ("nl", "de", "fr")] == [["e", "a"], ["c", "a"], ["a"]]


def test_recorded_lists_count_from_their_event_time_on() -> None:
    """By the events alone, so that two replays are alike; they grow stale by the events, too."""
    hour = timedelta(hours=1)
    recorded = RecordedTrending([trending("b", after=hour), trending("a")], LocationSettings(), stale_after_seconds=300)

    def items() -> Sequence[str]:
        return [found.items[0].item_id for found in recorded.lists(None)]

    seen = []
    for seconds in (-1, 0, 299, 301, 3600, 3599):
        recorded.advance(START_MS + seconds * 1000)
        seen.append((items(), recorded.is_stale))
    assert seen == [([], False), (["a"], False), (["a"], False), ([], True), (["b"], False), (["b"], False)]


def ranked(trends: Trends, location: str | None = None) -> list[list[str]]:
    """Return the items of each ranking."""
    return [[item.item_id for item in ranking.items] for ranking in trends.rankings(location)]


def test_items_that_the_shop_does_not_know_are_not_answered() -> None:
    """Whatever strangers have made of a list, catalog or release decide; scores are the shares."""
    board = Board()
    board.put(trending("spam a b", "nl"))
    board.put(trending("a"))
    assert ranked(Trends(board.board, TheShops("a", "b")), "nl") == [["a", "b"], ["a"]]
    (ranking,) = Trends(board.board, TheShops("a")).rankings(None)
    assert [(item.item_id, item.score) for item in ranking.items] == [("a", 0.5)]
    assert ranking.event_time_ms == START_MS


@pytest.mark.parametrize(("visitors", "listed"), [(19, []), (20, ["a", "b"])])
def test_where_nobody_knows_the_shops_items_enough_visitors_must_have_viewed_them(
    visitors: int, listed: list[str]
) -> None:
    """As for what is popular in the stream."""
    board = Board()
    board.put(trending("a b", visitors=visitors))
    assert ranked(Trends(board.board, NobodyVouches())) == [listed]


def test_without_an_observer_nothing_is_trending() -> None:
    """And nothing is stale."""
    assert ranked(Trends()) == []
    assert not Trends().is_stale
    assert not NoTrending().is_stale


def scored(count: int) -> list[RecommendedItem]:
    """Rank s1, s2, ..., each with half the score of the one before."""
    return [RecommendedItem(ItemId(f"s{place}"), 0.5**place) for place in range(1, count + 1)]


def mixture(ranked: list[RecommendedItem], total: float, rising: Mapping[ItemId, float]) -> Iterator[RecommendedItem]:
    """Give what rises its share of a ranking."""
    return with_rising(ranked, total, rising, {one.item_id: one.score for one in ranked if one.item_id in rising})


def test_what_rises_takes_its_share_and_leaves_the_rest_to_the_ranking() -> None:
    """Scores are shares then, of a ranking whose own need not add up to one; what it does not list comes in."""
    ranked = [RecommendedItem(ItemId("a"), 6.0), RecommendedItem(ItemId("b"), 4.0, source="new")]
    mixed = list(mixture(ranked, 10.0, {ItemId("b"): 0.35, ItemId("c"): 0.25}))
    assert [(item.item_id, item.source) for item in mixed] == [("b", "rising"), ("a", None), ("c", "rising")]
    assert [item.score for item in mixed] == pytest.approx([0.4 * 0.4 + 0.35, 0.4 * 0.6, 0.4 * 0.6])


def test_of_any_first_places_what_rises_has_its_share_at_most() -> None:
    """Rounded: a dozen items, each likelier than all but the first of the session's, do not crowd these out."""
    rising = {ItemId(f"r{number}"): 0.025 for number in range(12)}
    listed = [item.source for item in mixture(scored(30), 1.0, rising)]
    first = [sum(source == "rising" for source in listed[:places]) for places in range(1, 31)]
    assert first == [0, 0, 0, 0, 1, *(int(0.3 * places + 0.5) for places in range(6, 31))]
    assert len(listed) == 42


def test_what_rises_comes_no_sooner_than_its_share_of_the_probability_says() -> None:
    """A place whose list could have it at once has it behind what the session makes likelier."""
    mixed = [item.item_id for item in mixture(scored(6), 1.0, {ItemId("r"): 0.05, ItemId("q"): 0.45})]
    assert mixed[:2] == ["q", "s1"]
    assert mixed.index(ItemId("r")) == 4  # (1 - q) / 32 < 0.05 < (1 - q) / 8, and one of two had its place before


def test_an_item_that_the_session_makes_likelier_than_its_rise_stays_where_it_is() -> None:
    """It is the session's, and takes no place of what rises."""
    mixed = mixture(scored(3), 1.0, {ItemId("s1"): 0.1, ItemId("r"): 0.12})
    assert [(item.item_id, item.source) for item in mixed] == [
        ("s1", None),
        ("s2", None),
        ("r", "rising"),
        ("s3", None),
    ]


def test_whatever_rises_most_of_a_list_may_but_not_all_of_it() -> None:
    """A place where nothing was usual does not drown the session; scores never grow along a list."""
    mixed = list(mixture([RecommendedItem(ItemId("a"), 1.0)], 1.0, {ItemId("c"): 0.9, ItemId("d"): 0.1}))
    assert {item.item_id: item.score for item in mixed} == pytest.approx({"c": 0.54, "a": 0.4, "d": 0.06})


@given(
    scores=st.lists(st.floats(0, 1, width=32), max_size=30),
    rises=st.dictionaries(st.integers(0, 40), st.floats(0.001, 0.3), min_size=1, max_size=20),
)
def test_a_list_has_each_item_once_and_scores_that_fall(scores: list[float], rises: dict[int, float]) -> None:
    """Whatever rises, and of whatever ranking."""
    ranked = [RecommendedItem(ItemId(f"i{at}"), score) for at, score in enumerate(sorted(scores, reverse=True))]
    rising = {ItemId(f"i{number}"): rise for number, rise in rises.items()}
    mixed = list(mixture(ranked, sum(scores), rising))
    assert sorted(item.item_id for item in mixed) == sorted({item.item_id for item in ranked} | rising.keys())
    assert [item.score for item in mixed] == sorted((item.score for item in mixed), reverse=True)


def test_what_rises_is_told_of_the_nearest_place_and_only_what_the_shop_vouches_for() -> None:
    """A place's own list decides, also where nothing rises there."""
    board = Board()
    board.put(trending("x"), trending("a b", "nl", rising={"a": 0.2, "b": 0.0}), trending("a b", "nl/nh"))
    trends = Trends(board.board)
    assert trends.rising("nl/ut") == trends.rising("nl") == {"a": 0.2}
    assert trends.rising("nl/nh/ams") == trends.rising("de") == trends.rising(None) == {}
    assert Trends(board.board, TheShops("b")).rising("nl") == {}
    board.put(trending("a b", "nl", visitors=2, rising={"a": 0.2}))
    assert trends.rising("nl") == {}
