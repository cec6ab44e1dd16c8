"""Who comes to the shop: visitors with a home, a device, tastes and a memory of where they left off."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.shop.dice import Dice
from agents.shop.settings import ShopSettings
from agents.shop.tastes import Tastes
from schemas.ids import VisitorId

REST_MS = 31 * 60_000
"""A visitor stays away this long after the last arrival of a session: more than the inactivity gap."""

_VISITORS_KEY = 4
_DEVICES = ("phone", "desktop", "tablet")
_DEVICE_WEIGHTS = (0.6, 0.9, 1.0)
_REGULARS = 2.0  # visitor number = n * u ** 2: few come often, many seldom
_TRIES = 8
_BOTS_PER_HOURLY_SESSION = 8
_NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Visitor:
    """One visitor as a session begins. last_item: where the previous session ended; None at the first."""

    number: int
    visitor_id: VisitorId
    location: int
    device: str
    tastes: tuple[int, int]
    price_level: float
    session_number: int
    last_item: int | None


class Visitors:
    """All visitors as columns, bots behind the people; memory is theirs alone, however long the shop runs.

    Ids are shuffled, so nothing in an id tells a bot.
    """

    def __init__(self, settings: ShopSettings, tastes: Tastes) -> None:
        rng = np.random.default_rng([settings.seed, _VISITORS_KEY])
        n_bots = 2 + int(settings.sessions_per_hour * settings.bot_share * _BOTS_PER_HOURLY_SESSION)
        total = settings.n_visitors + n_bots
        self._n_people = settings.n_visitors
        self._total = total
        self._digits = len(str(total))
        self._ids = rng.permutation(total)
        weights = 1.0 / np.arange(1, len(settings.locations) + 1)
        self._locations = rng.choice(len(settings.locations), total, p=weights / weights.sum()).astype(np.int8)
        self._devices = np.searchsorted(_DEVICE_WEIGHTS, rng.random(total)).astype(np.int8)
        self._tastes = self._clusters(tastes, rng.random((total, 2)))
        self._price_levels = rng.standard_normal(total).astype(np.float32)
        self._free_from_ms = np.zeros(total, np.int64)
        self._session_counts = np.zeros(total, np.int32)
        self._last_items = np.full(total, _NOWHERE, np.int32)

    def arrive(self, now_ms: int, dice: Dice, location: int | None = None) -> Visitor | None:
        """Let a visitor begin a session, one at home at `location` if given; None if none is found free."""
        for _ in range(_TRIES):
            number = int(self._n_people * dice.uniform() ** _REGULARS)
            if self._free_from_ms[number] <= now_ms and location in (None, int(self._locations[number])):
                return self._begin(number)
        return self._scan(dice.below(self._n_people), now_ms) if location is None else None

    def arrive_bot(self, now_ms: int, dice: Dice) -> Visitor | None:
        """Let a bot begin; None if all are at work."""
        for _ in range(_TRIES):
            number = self._n_people + dice.below(self._total - self._n_people)
            if self._free_from_ms[number] <= now_ms:
                return self._begin(number)
        return None

    def leave(self, visitor: Visitor, last_arrival_ms: int, last_item: int | None) -> None:
        """End the visitor's session."""
        self._free_from_ms[visitor.number] = last_arrival_ms + REST_MS
        self._last_items[visitor.number] = _NOWHERE if last_item is None else last_item

    def _clusters(self, tastes: Tastes, draws: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the clusters that each visitor likes, by their popularity at home."""
        chosen = np.zeros(draws.shape, np.int64)
        for location, appeal in enumerate(tastes.appeal):
            weights = np.cumsum([member_weights[-1] for member_weights in appeal.member_weights])
            is_here = self._locations == location
            chosen[is_here] = np.searchsorted(weights / weights[-1], draws[is_here], side="right")
        return chosen

    def _scan(self, first: int, now_ms: int) -> Visitor | None:
        for step in range(self._n_people):
            number = (first + step) % self._n_people
            if self._free_from_ms[number] <= now_ms:
                return self._begin(number)
        return None

    def _begin(self, number: int) -> Visitor:
        self._session_counts[number] += 1
        last_item = int(self._last_items[number])
        first_taste, second_taste = self._tastes[number].tolist()
        return Visitor(
            number=number,
            visitor_id=VisitorId(f"visitor-{self._ids[number]:0{self._digits}d}"),
            location=int(self._locations[number]),
            device=_DEVICES[int(self._devices[number])],
            tastes=(first_taste, second_taste),
            price_level=float(self._price_levels[number]),
            session_number=int(self._session_counts[number]),
            last_item=None if last_item == _NOWHERE else last_item,
        )
