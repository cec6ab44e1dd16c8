"""How clicks reach the log: with network delay, some late, some twice, and what is true of each."""

from dataclasses import dataclass

from msgspec import structs

from agents.shop.behaviour import Step
from agents.shop.catalog import Shelf
from agents.shop.dice import Dice
from agents.shop.stock import Stock
from agents.shop.truth import GeneratedEvent, Truth
from agents.shop.visitors import Visitor
from schemas.events import ClickEvent
from schemas.ids import EventId

GRACE_MS = 60_000
"""What counts as late in `Truth.is_late`: the product's default grace period."""

_DELAY_MEDIAN_MS = 60.0
_DELAY_SIGMA = 0.6
_MAX_DELAY_MS = 1_000
_WITHIN_GRACE_SHARE = 0.75
_WITHIN_GRACE_MS = (2_000, 55_000)
_BEYOND_GRACE_MS = (65_000, 600_000)
_QUICK_RESEND_SHARE = 0.7
_QUICK_RESEND_MS = (20, 1_000)
_SLOW_RESEND_MS = (2_000, 50_000)
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Session:
    """One visitor's steps, in event-time order, on their way to the log."""

    visitor: Visitor
    steps: list[Step]


class Delivery:
    """Turns the sessions of one stream into arrivals."""

    def __init__(
        self, shelf: Shelf, stock: Stock, locations: tuple[str, ...], dice: Dice, shares: tuple[float, float]
    ) -> None:
        """`shares`: of duplicates and of late events."""
        self._shelf = shelf
        self._stock = stock
        self._locations = locations
        self._dice = dice
        self._duplicate_share, self._late_share = shares
        self._id_key = dice.below(1 << 53)
        self._n_events = 0

    def arrivals(self, session: Session) -> list[GeneratedEvent]:
        """Return the arrivals of `session`, in arrival order."""
        clicks = [self._click(step, session.visitor) for step in session.steps]
        truths = _truths(session, clicks, self._stock)
        latest_ms = 0
        arrivals = []
        delivered: set[int] = set()
        for arrival_ms, position in self._schedule(session.steps):
            event_ms = session.steps[position].time_ms
            truth = truths[position]
            if position in delivered:
                truth = structs.replace(truth, is_duplicate=True)
            elif latest_ms - event_ms > GRACE_MS:
                truth = structs.replace(truth, is_late=True)
            delivered.add(position)
            latest_ms = max(latest_ms, event_ms)
            arrivals.append(GeneratedEvent(click=clicks[position], arrival_ms=arrival_ms, truth=truth))
        return arrivals

    def _click(self, step: Step, visitor: Visitor) -> ClickEvent:
        item_id, price = None, None
        if step.item is not None:
            item_id = self._shelf.records[step.item].item_id
            price = self._shelf.prices[step.item] if step.sale is None else step.sale.prices[step.item]
        return ClickEvent(
            visitor_id=visitor.visitor_id,
            event_type=step.event_type,
            event_time=step.time_ms,
            item_id=item_id,
            event_id=self._event_id(),
            location=self._locations[visitor.location],
            device=visitor.device,
            price=price,
            quantity=1 if step.event_type == "purchase" else None,
            query=step.query,
        )

    def _event_id(self) -> EventId:
        """Make an id unique in the stream that tells nothing: splitmix64 is a bijection (Steele et al., 2014)."""
        self._n_events += 1
        bits = (self._id_key + self._n_events * 0x9E3779B97F4A7C15) & _MASK
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & _MASK
        return EventId(f"{bits ^ bits >> 31:016x}")

    def _schedule(self, steps: list[Step]) -> list[tuple[int, int]]:
        """Return (arrival, position of the step), ascending; a resent step is in it twice.

        The end of a session reaches the log after all that it closes, as a shop's own session end does.
        """
        schedule: list[tuple[int, int]] = []
        for position, step in enumerate(steps):
            arrival_ms = step.time_ms + self._delay_ms()
            if step.event_type == "session_end":
                arrival_ms = max([arrival_ms, *(earlier_ms + 1 for earlier_ms, _ in schedule)])
            elif self._dice.chance(self._duplicate_share):
                schedule.append((arrival_ms + self._resend_ms(), position))
            schedule.append((arrival_ms, position))
        return sorted(schedule)

    def _delay_ms(self) -> int:
        if not self._dice.chance(self._late_share):
            return int(min(self._dice.lognormal(_DELAY_MEDIAN_MS, _DELAY_SIGMA), _MAX_DELAY_MS))
        is_within = self._dice.chance(_WITHIN_GRACE_SHARE)
        return int(self._dice.between(*(_WITHIN_GRACE_MS if is_within else _BEYOND_GRACE_MS)))

    def _resend_ms(self) -> int:
        is_quick = self._dice.chance(_QUICK_RESEND_SHARE)
        return int(self._dice.between(*(_QUICK_RESEND_MS if is_quick else _SLOW_RESEND_MS)))


def _truths(session: Session, clicks: list[ClickEvent], stock: Stock) -> list[Truth]:
    """Set, for each step, what only the whole session knows, from its end to its beginning."""
    purchase_follows = False
    next_item_id = None
    truths = []
    for step, click in zip(reversed(session.steps), reversed(clicks), strict=True):
        assert click.event_id is not None
        truths.append(
            Truth(
                event_id=click.event_id,
                session_number=session.visitor.session_number,
                intent=step.intent,
                purchase_follows=purchase_follows,
                next_item_id=next_item_id,
                is_bot=step.intent is None,
                is_duplicate=False,
                is_late=False,
                flash_sale=None if step.sale is None else step.sale.number,
                is_sold_out=step.item is not None and not stock.has(step.item, step.time_ms),
            )
        )
        purchase_follows = purchase_follows or step.event_type == "purchase"
        next_item_id = click.item_id if step.event_type == "view" else next_item_id
    truths.reverse()
    return truths
