from random import Random
from typing import Any

import pytest

from schemas.availability import is_available
from schemas.catalog_reader import DescribedItem, RemovedItem, UnreadableItem
from schemas.ids import ItemId
from schemas.places import LocationSettings
from schemas.records import CatalogItem
from streams.availability_history import MAX_KEPT, AvailabilityHistory

START_MS = 1_700_000_000_000
TV = ItemId("tv")


def described(**fields: Any) -> DescribedItem:
    """Describe the item."""
    return DescribedItem(CatalogItem(item_id=TV, **fields))


def gone(history: AvailabilityHistory, at_ms: int, location: str | None = None) -> bool:
    """Return whether the item had been gone for more than a second at a moment after the start."""
    return history.gone([TV], location, START_MS + at_ms) == [TV]


@pytest.mark.parametrize(
    "record",
    [
        described(available=False),
        RemovedItem(TV),
        UnreadableItem(TV, "unclear_availability", "perhaps"),
        described(available_until=START_MS + 5_000),
        described(available_from=START_MS + 99_000),
    ],
)
def test_an_item_may_be_listed_for_a_second_after_it_has_gone(record: Any) -> None:
    """By a record, or by its moment; then no more, until it is back."""
    history = AvailabilityHistory()
    history.take(described(), START_MS)
    history.take(record, START_MS + 5_000)
    moments = [0, 5_000, 5_999, 6_000, 6_001, 50_000]
    assert [gone(history, moment) for moment in moments] == [False] * 4 + [True] * 2
    history.take(described(), START_MS + 60_000)
    assert [gone(history, moment) for moment in (50_000, 59_999, 60_000)] == [True, True, False]


def test_an_item_that_is_not_sold_there_is_gone_there() -> None:
    """Where somebody was is part of what was said."""
    history = AvailabilityHistory()
    history.take(described(), START_MS)
    history.take(described(locations=["nl"]), START_MS + 1)
    assert [gone(history, 9_000, place) for place in ("nl", "nl/nh", "be", None)] == [False, False, True, False]


def test_an_item_that_came_and_went_within_a_millisecond_was_there() -> None:
    """Who saw it for that long is not accused of having shown it for longer."""
    history = AvailabilityHistory()
    for at_ms, is_there in ((0, True), (1_000, False), (5_000, True), (5_000, False)):
        history.take(described(available=is_there), START_MS + at_ms)
    assert [gone(history, moment) for moment in (4_999, 5_000, 6_001, 6_002)] == [True, False, False, True]


def test_of_what_is_not_known_nothing_bad_is_assumed() -> None:
    """Items without a record, the time before the first one, and what was too long ago to be kept."""
    history = AvailabilityHistory(kept_ms=10_000)
    assert not gone(history, 0)
    history.take(described(available=False), START_MS)
    assert not gone(history, 999)
    history.take(described(), START_MS + 20_000)
    history.take(described(), START_MS + 40_000)
    assert not gone(history, 10_000)
    assert history.gone([ItemId("unknown")], None, START_MS) == []


def test_a_key_that_names_no_item_is_of_none() -> None:
    """Nobody knows whom it closes."""
    history = AvailabilityHistory()
    history.take(UnreadableItem(None, "unreadable_key", "binary"), START_MS)
    assert not gone(history, 9_000)


def test_the_history_is_bounded() -> None:
    """An item that changes a thousand times a second keeps its latest records."""
    history = AvailabilityHistory()
    for number in range(3 * MAX_KEPT):
        history.take(described(available=bool(number % 2)), START_MS + number)
    assert len(history._said[TV]) == MAX_KEPT


def test_nothing_is_kept_of_an_item_that_is_there() -> None:
    """Neither of one that always was, nor of one that has been back for long enough: a catalog has millions."""
    history = AvailabilityHistory(kept_ms=10_000)
    history.take(described(available_from=START_MS - 1), START_MS)
    assert history._said == {}
    history.take(described(available=False), START_MS + 1_000)
    for at_ms in (2_000, 20_000):
        history.take(described(), START_MS + at_ms)
    assert history._said == {}


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_same_as_looking_at_every_millisecond(seed: int) -> None:
    """Of items that come, go, begin and end at random."""
    dice, history = Random(seed), AvailabilityHistory()
    said = list[tuple[int, CatalogItem]]()
    at_ms = 0
    for _ in range(12):
        until, begin = dice.choice([None, at_ms + dice.randrange(40)]), dice.choice([None, at_ms + dice.randrange(20)])
        fields = {"available_until": until and START_MS + until, "available_from": begin and START_MS + begin}
        item = described(available=dice.random() < 0.7, **fields).item
        history.take(DescribedItem(item), START_MS + at_ms)
        said.append((at_ms, item))
        at_ms += dice.randrange(25)

    def is_there(moment: int) -> bool:
        before = [(since, item) for since, item in said if since <= moment]
        holding = [item for since, item in before if since == moment] or [item for _, item in before[-1:]]
        return not before or any(is_available(item, None, START_MS + moment, LocationSettings()) for item in holding)

    for moment in range(20, at_ms + 60):
        expected = not any(is_there(one) for one in range(moment - 16, moment + 1))
        assert (history.gone([TV], None, START_MS + moment, 15) == [TV]) is expected
