from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

import pytest

from schemas.ids import ItemId, VisitorId
from schemas.records import CountedView
from streams.trending.choice import HITS_AT
from streams.trending.fold import EVERYWHERE, ReadRecord
from streams.trending.lists import TrendingLists
from streams.trending.shares import Setting
from tests.streams.trending.logs import START_MS, chain, new_fold

MINUTE_MS = 60_000
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Watched:
    """Lists that views are brought to, an offset each."""

    def __init__(self) -> None:
        self.lists = TrendingLists(new_fold(), chain)
        self.offset = 0

    def view(self, item: str, place: str | None, time_ms: int) -> None:
        """Count a view, each by another visitor."""
        view = CountedView(ItemId(item), time_ms, place)
        record = ReadRecord(f"clicks-0-{self.offset}", VisitorId(f"v{self.offset}"), [view])
        self.lists.take(record, 0, self.offset, time_ms)
        self.offset += 1

    def hours(self, hours: int, taste: dict[str, Sequence[str]], *, a_minute: int = 20) -> None:
        """Let each place view items of its taste, by chance, and settle each minute."""
        chance, begin = Random(1), max(START_MS, self.lists.fold.now_ms)
        for minute in range(60 * hours):
            for number in range(a_minute):
                place = list(taste)[number % len(taste)]
                self.view(chance.choice(taste[place]), place, begin + minute * MINUTE_MS + number)
            self.lists.settle()

    def setting(self, place: str) -> Setting:
        """Return by which setting a place is listed."""
        return self.lists.shares([place])[place].setting


def items(prefix: str, count: int) -> list[str]:
    """Name items."""
    return [f"{prefix}{number:03d}" for number in range(count)]


def test_the_settings_of_each_depth_are_chosen_while_it_runs() -> None:
    """Cities that like the same view what is viewed in their country; those that do not are believed for themselves."""
    alike, apart = Watched(), Watched()
    few = 2  # views of a city in a minute: too few to know its 60 items by
    alike.hours(6, dict.fromkeys(("nl/ams", "nl/rot", "nl/utr"), items("i", 60)), a_minute=3 * few)
    apart.hours(6, {f"nl/{city}": items(city, 20) for city in ("ams", "rot", "utr")}, a_minute=3 * few)
    like_the_country, for_themselves = alike.setting("nl/ams"), apart.setting("nl/ams")
    assert like_the_country.strength >= 10 * for_themselves.strength
    assert alike.setting("nl/rot") == like_the_country  # of the same depth
    assert apart.setting(EVERYWHERE) != for_themselves
    assert {item for item in apart.lists.shares(["nl/rot"])["nl/rot"].told if item.startswith("rot")} == set(
        items("rot", HITS_AT)
    )


def test_before_anything_is_learnt_one_setting_is_taken_everywhere() -> None:
    """That of the middle."""
    watched = Watched()
    watched.view("a", "nl/ams", START_MS)
    assert watched.setting("nl/ams") == watched.setting("nl") == watched.setting(EVERYWHERE)


def test_a_place_is_shrunk_to_the_nearest_one_around_it() -> None:
    """Amsterdam to the Netherlands, not to everywhere; where that has no counts, to what lies around it."""
    watched = Watched()
    watched.hours(1, {"nl/ams": items("ams", 3), "nl/rot": items("rot", 3), "de/ber": items("ber", 30)})
    made = watched.lists.shares(["nl/ams", "nl", EVERYWHERE])
    assert made["nl/ams"].around is made["nl"]
    assert made["nl"].around is made[EVERYWHERE]
    assert made[EVERYWHERE].around is None
    assert made["nl/ams"].shares[ItemId("ber001")] < made[EVERYWHERE].shares[ItemId("ber001")] / 10
    del watched.lists.fold.places["nl"]
    assert watched.lists.shares(["nl/ams"])["nl/ams"].around is not None
    (around,) = {watched.lists.shares(["nl/ams", EVERYWHERE])[EVERYWHERE].support_short}
    assert around == pytest.approx(made[EVERYWHERE].support_short)


def test_only_the_record_of_everywhere_says_how_far_it_counts() -> None:
    """Whoever wants to know reads one; a place of which nothing may be told has none."""
    watched = Watched()
    watched.hours(1, {"nl/ams": items("ams", 3)})
    watched.view("ams000", "nl/village", watched.lists.fold.now_ms)
    told = dict(watched.lists.records(["nl/ams", "nl/village", EVERYWHERE], NOW))
    assert told["nl/village"] is None
    here, everywhere = told["nl/ams"], told[EVERYWHERE]
    assert here is not None
    assert everywhere is not None
    assert (here.location, here.positions) == ("nl/ams", {})
    assert (everywhere.location, everywhere.positions) == (None, {"clicks-0": watched.offset - 1})
    setting = watched.setting("nl/ams")
    assert here.strength in {setting.strength, None}
    assert here.half_life_short_seconds < here.half_life_long_seconds
