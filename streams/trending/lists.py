"""What is trending at every place, made of the fold's counts by the settings that are chosen for its depth."""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Final

from schemas.events import from_unix_ms
from schemas.records import Trending
from streams.trending.choice import MAX_TRIED_PLACES, STEP_MS, Choices
from streams.trending.counts import HALF_LIVES_MS
from streams.trending.fold import EVERYWHERE, Chain, CountedClick, ReadRecord, TrendingFold
from streams.trending.shares import SHORT, USUAL, PlaceShares, place_shares

MAX_ITEMS: Final = 100
MAX_ITEMS_EVERYWHERE: Final = 1_000


class TrendingLists:
    """Folds records, chooses settings every `STEP_MS` of event time, and makes the lists.

    chain: as of the fold.
    """

    def __init__(self, fold: TrendingFold, chain: Chain) -> None:
        self.fold = fold
        self.choices = Choices()
        self._chain = chain
        self._looked_ms = 0

    def take(self, record: ReadRecord, partition: int, offset: int, written_ms: int) -> list[CountedClick]:
        """Fold one record; see `TrendingFold.apply`."""
        clicks = self.fold.apply(record, partition, offset, written_ms)
        for click in clicks:
            for place in click.places:
                self.choices.clicked(self._depth(place), place, click.item_id)
        return clicks

    def settle(self) -> None:
        """Keep the bounds, and choose where it is time to."""
        self.fold.settle()
        if self.fold.now_ms - self._looked_ms >= STEP_MS:
            self._looked_ms = self.fold.now_ms
            self.choices.learn()
            self._look()

    def shares(self, places: Collection[str]) -> dict[str, PlaceShares]:
        """Make the shares of these places, and of those that they lie in."""
        made: dict[str, PlaceShares] = {}
        for place in places:
            self._made(place, made)
        return made

    def records(self, places: Collection[str], updated_at: datetime) -> Iterator[tuple[str, Trending | None]]:
        """Make the records of these places; None of one of which nothing may be told but what is so around it."""
        made = self.shares(places)
        for place in places:
            yield place, self._record(place, made[place], updated_at) if made[place].is_public.any() else None

    def _record(self, place: str, shares: PlaceShares, updated_at: datetime) -> Trending:
        items, is_everywhere = shares.listed(), place == EVERYWHERE
        rung, strength = shares.setting
        return Trending(
            location=place or None,
            items=items,
            rising_share=min(1.0, sum(item.rising for item in items)),
            support_short=round(shares.support_short, 3),
            support_long=round(shares.support_long, 3),
            half_life_short_seconds=HALF_LIVES_MS[SHORT] // 1000,
            half_life_long_seconds=HALF_LIVES_MS[USUAL] // 1000,
            half_life_seconds=HALF_LIVES_MS[rung] // 1000,
            strength=None if strength == float("inf") else strength,
            event_time=from_unix_ms(self.fold.now_ms),
            updated_at=updated_at,
            positions=self.fold.offsets if is_everywhere else {},
            half_lives_seconds=tuple(one // 1000 for one in HALF_LIVES_MS) if is_everywhere else (),
            views=shares.views() if is_everywhere else (),
        )

    def _made(self, place: str, made: dict[str, PlaceShares]) -> PlaceShares:
        known = made.get(place)
        if known is not None:
            return known
        around = None if place == EVERYWHERE else self._made(self._around(place), made)
        setting, top = self.choices.chosen(self._depth(place)), MAX_ITEMS if place else MAX_ITEMS_EVERYWHERE
        made[place] = place_shares(self.fold.places[place], self.fold.now_ms, around, setting, top=top)
        return made[place]

    def _around(self, place: str) -> str:
        """Return the nearest place around it that has counts."""
        return next((outer for outer in self._chain(place)[1:] if outer in self.fold.places), EVERYWHERE)

    def _depth(self, place: str) -> int:
        return len(self._chain(place)) if place else 0

    def _look(self) -> None:
        """Have every setting say what it would list at the places with the most views of each depth."""
        fold, tried = self.fold, dict[int, list[str]]()
        for place in sorted(fold.places, key=_by_weight(fold)):
            of_depth = tried.setdefault(self._depth(place), [])
            if len(of_depth) < MAX_TRIED_PLACES:
                of_depth.append(place)
        made: dict[str, PlaceShares] = {}
        for depth, places in tried.items():
            for place in places:
                shares = self._made(place, made)
                around = shares.shares.around if place == EVERYWHERE else self._made(self._around(place), made).shares
                assert around is not None
                self.choices.look(depth, place, fold.places[place], fold.now_ms, around)


def _by_weight(fold: TrendingFold) -> Callable[[str], tuple[float, str]]:
    return lambda place: (-fold.places[place].weight(fold.now_ms), place)
