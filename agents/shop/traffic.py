"""The clickstream of the generated shop: sessions begin over the day, and their events arrive interleaved."""

import heapq
import math
from collections.abc import Iterator
from datetime import timedelta

from agents.shop.behaviour import Shop, Step, Visit
from agents.shop.catalog import build_shelf
from agents.shop.delivery import Delivery, Session
from agents.shop.dice import Dice
from agents.shop.sales import FlashSale, SaleCalendar
from agents.shop.settings import ShopSettings
from agents.shop.stock import Stock
from agents.shop.tastes import build_tastes
from agents.shop.truth import GeneratedEvent
from agents.shop.visitors import Visitors

_ARRIVALS_KEY, _SHOPPERS_KEY, _BOTS_KEY, _DELIVERY_KEY = 5, 6, 7, 8
_MILLISECOND = timedelta(milliseconds=1)
_HOUR_MS = 3_600_000
_QUIETEST_HOUR = 4.0
_BOT_CLICKS = (60, 300)
_BOT_PAUSE_MS = 250.0


def generate_events(
    settings: ShopSettings, duration: timedelta | None = None, begin: timedelta = timedelta(0)
) -> Iterator[GeneratedEvent]:
    """Return the events of sessions that begin in [start + begin, start + begin + duration), in arrival order.

    Memory is bounded by the visitors and the sessions open at once. Without `duration` it never ends. Different
    `begin`s are different traffic in the same shop: train on the one, go live on the next.
    """
    begin_ms = begin // _MILLISECOND
    traffic = _Traffic(settings, begin_ms)
    return traffic.events(None if duration is None else settings.start_ms + begin_ms + duration // _MILLISECOND)


class _Traffic:
    """The state behind one stream of events."""

    def __init__(self, settings: ShopSettings, begin_ms: int) -> None:
        shelf = build_shelf(settings)
        tastes = build_tastes(shelf, settings)
        self._settings = settings
        self._now_ms = settings.start_ms + begin_ms
        self._shop = Shop(shelf=shelf, tastes=tastes, sales=SaleCalendar(settings, shelf), stock=Stock(settings, shelf))
        self._visitors = Visitors(settings, tastes)
        self._arrivals = Dice(settings.seed, _ARRIVALS_KEY, begin_ms)
        self._shoppers = Dice(settings.seed, _SHOPPERS_KEY, begin_ms)
        self._bots = Dice(settings.seed, _BOTS_KEY, begin_ms)
        self._delivery = Delivery(
            shelf,
            self._shop.stock,
            settings.locations,
            Dice(settings.seed, _DELIVERY_KEY, begin_ms),
            (settings.duplicate_share, settings.late_share),
        )

    def events(self, until_ms: int | None) -> Iterator[GeneratedEvent]:
        """Merge the sessions by arrival; nothing of a session arrives before it starts."""
        pending: list[tuple[int, int, GeneratedEvent]] = []
        n_pushed = 0
        for session in self._sessions(until_ms):
            while pending and pending[0][0] < session.steps[0].time_ms:
                yield heapq.heappop(pending)[2]
            for event in self._deliver(session):
                n_pushed += 1
                heapq.heappush(pending, (event.arrival_ms, n_pushed, event))
        while pending:
            yield heapq.heappop(pending)[2]

    def _sessions(self, until_ms: int | None) -> Iterator[Session]:
        for start_ms, sale in self._starts(until_ms):
            if self._arrivals.chance(self._settings.bot_share):
                bot = self._visitors.arrive_bot(start_ms, self._bots)
                if bot is not None:
                    yield Session(bot, self._crawl(start_ms))
                continue
            visitor = self._visitors.arrive(start_ms, self._arrivals, None if sale is None else sale.location)
            if visitor is not None:
                yield Session(visitor, Visit(self._shop, visitor, self._shoppers, start_ms).steps())

    def _starts(self, until_ms: int | None) -> Iterator[tuple[int, FlashSale | None]]:
        """Return when sessions begin, and the sale that drew each if one did.

        A Poisson process by thinning (Lewis and Shedler, 1979): throw at the highest rate, keep by the present one.
        """
        settings, dice = self._settings, self._arrivals
        surge = 0.0 if settings.flash_sales is None else settings.flash_sales.surge
        highest = (1 + settings.diurnal_amplitude) * (1 + surge)
        mean_ms = _HOUR_MS / (settings.sessions_per_hour * highest)
        now_ms = float(self._now_ms)
        while True:
            now_ms += dice.exponential(mean_ms)
            if until_ms is not None and now_ms >= until_ms:
                return
            draw = dice.uniform() * highest
            sale = self._shop.sales.at(int(now_ms))
            usual = _load(now_ms, settings.diurnal_amplitude)
            if draw < usual:
                yield int(now_ms), None
            elif sale is not None and draw < usual * (1 + surge):
                yield int(now_ms), sale

    def _deliver(self, session: Session) -> list[GeneratedEvent]:
        events = self._delivery.arrivals(session)
        viewed = [step.item for step in session.steps if step.event_type == "view"]
        self._visitors.leave(session.visitor, events[-1].arrival_ms, viewed[-1])
        return events

    def _crawl(self, start_ms: int) -> list[Step]:
        """Let a bot view items at random, at a rate no hand reaches."""
        dice, shelf = self._bots, self._shop.shelf
        steps: list[Step] = []
        now_ms = start_ms
        for _ in range(int(dice.between(*_BOT_CLICKS))):
            item = dice.below(len(shelf))
            if shelf.released_ms[item] <= now_ms:
                sale = self._shop.sales.at(now_ms)
                on_sale = sale if sale is not None and item in sale.prices else None
                steps.append(Step(now_ms, "view", item, None, on_sale, None))
            now_ms += 1 + int(dice.exponential(_BOT_PAUSE_MS))
        return steps


def _load(now_ms: float, amplitude: float) -> float:
    """Return the load of the hour (UTC) relative to the mean of the day."""
    hour = now_ms / _HOUR_MS % 24
    return 1 - amplitude * math.cos(2 * math.pi * (hour - _QUIETEST_HOUR) / 24)
