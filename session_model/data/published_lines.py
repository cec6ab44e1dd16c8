"""What a line of each public data set says, as it is published.

Every function takes the cells of a line and raises ValueError, LookupError or msgspec.DecodeError where it is
malformed.
"""

from collections.abc import Iterator
from typing import Final, Literal
from zlib import crc32

import msgspec

from schemas.events import MAX_PRICE, EventType
from session_model.data.event_times import EventClock
from session_model.data.rows import Row, price_of

_DAY_MS: Final = 24 * 60 * 60 * 1000
_MS_PER_SECOND: Final = 1000
TMALL_YEAR: Final = 2014
"""Tmall's `time_stamp` is month and day alone; the log ends with the sale of 11 November 2014."""

_RETAILROCKET_TYPES: Final[dict[str, EventType]] = {"view": "view", "addtocart": "cart", "transaction": "purchase"}
_REES46_TYPES: Final[dict[str, EventType]] = {
    "view": "view",
    "cart": "cart",
    "remove_from_cart": "remove",
    "purchase": "purchase",
}
_OTTO_TYPES: Final[dict[str, EventType]] = {"clicks": "view", "carts": "cart", "orders": "purchase"}
_COVEO_TYPES: Final[dict[str, EventType]] = {
    "detail": "view",
    "add": "cart",
    "remove": "remove",
    "purchase": "purchase",
}
_TAOBAO_TYPES: Final[dict[str, EventType]] = {"pv": "view", "cart": "cart", "fav": "favorite", "buy": "purchase"}
_TMALL_TYPES: Final[dict[str, EventType]] = {"0": "view", "1": "cart", "2": "purchase", "3": "favorite"}


def rsc15_click(cells: list[str], clock: EventClock) -> Iterator[Row]:
    """Read yoochoose-clicks.dat."""
    session, time, item = cells[:3]
    yield Row(session, item, clock.ms(time), "view")


def rsc15_buy(cells: list[str], clock: EventClock) -> Iterator[Row]:
    """Read yoochoose-buys.dat."""
    session, time, item, price = cells[:4]
    yield Row(session, item, clock.ms(time), "purchase", _price(price))


def diginetica_view(cells: list[str], clock: EventClock) -> Iterator[Row]:
    """Add the milliseconds since the session began to its day and to a moment of that day, made from its name.

    When it began is not published. Were all to begin at midnight, a day's sessions would stand in the order of their
    lengths, and the latest of a file, which models are judged and calibrated on, would be the longest.
    """
    session, item, timeframe_ms, date = cells
    yield Row(session, item, clock.ms(date) + crc32(session.encode()) % _DAY_MS + int(timeframe_ms), "view")


def diginetica_purchase(cells: list[str], clock: EventClock) -> Iterator[Row]:
    """Read train-purchases.csv."""
    for row in diginetica_view(cells, clock):
        yield row._replace(event_type="purchase")


def retailrocket_event(cells: list[str], clock: EventClock) -> Iterator[Row]:
    """Read events.csv."""
    time, visitor, event, item = cells
    yield Row(visitor, item, clock.ms(time), _RETAILROCKET_TYPES[event])


def rees46_event(cells: list[str], clock: EventClock) -> Iterator[Row]:
    """Read a month."""
    time, event, item, price, session = cells
    yield Row(session, item, clock.ms(time), _REES46_TYPES[event], _price(price))


class _OttoEvent(msgspec.Struct):
    aid: int
    ts: int
    type: Literal["clicks", "carts", "orders"]


class _OttoSession(msgspec.Struct):
    session: int
    events: list[_OttoEvent]


_decode_otto = msgspec.json.Decoder(_OttoSession).decode


def otto_session(cells: list[str], clock: EventClock) -> Iterator[Row]:
    """Read a session of otto-recsys-train.jsonl."""
    session = _decode_otto(cells[0])
    for event in session.events:
        yield Row(str(session.session), str(event.aid), clock.ms(event.ts), _OTTO_TYPES[event.type])


def coveo_event(cells: list[str], clock: EventClock) -> Iterator[Row]:
    """Read browsing_train.csv; a page without a product action is none, nor is a click in a list that is not told."""
    session, action, item, time = cells
    event_type = _COVEO_TYPES.get(action)
    if event_type is not None:
        yield Row(session, item, clock.ms(time), event_type)


def taobao_event(cells: list[str], clock: EventClock) -> Iterator[Row]:
    """Read UserBehavior.csv: user, item, category, behaviour, time in seconds."""
    visitor, item, _, behaviour, time = cells
    yield Row(visitor, item, clock.ms(time), _TAOBAO_TYPES[behaviour])


def hm_purchase(cells: list[str], clock: EventClock) -> Iterator[Row]:
    """Read transactions_train.csv; days alone are told, so what a customer bought in a day is a session."""
    date, customer, item, price = cells
    yield Row(customer, item, clock.ms(date), "purchase", price_of(price))


def tmall_event(cells: list[str], clock: EventClock) -> Iterator[Row]:
    """Read user_log_format1.csv; month and day alone are told, so what a user did in a day is a session."""
    user, item, day, action = cells
    month_and_day = day.zfill(4)
    time_ms = clock.ms(f"{TMALL_YEAR}-{month_and_day[:2]}-{month_and_day[2:]}")
    yield Row(user, item, time_ms, _TMALL_TYPES[action])


def instacart_product(cells: list[str], _: EventClock) -> Iterator[Row]:
    """Read an order_products file; no time is told, and the place in the cart orders the products of an order."""
    order, item, place = cells
    yield Row(order, item, int(place), "purchase")


_CRITEO_CELLS: Final = 23


def criteo_click(cells: list[str], clock: EventClock) -> Iterator[Row]:
    """Read CriteoSearchData: a click, and its sale, if there was one, so many seconds later."""
    if len(cells) < _CRITEO_CELLS:
        raise IndexError
    is_sale, amount, delay_seconds, time = cells[:4]
    item, user = cells[19], cells[22]
    time_ms = clock.ms(time)
    yield Row(user, item, time_ms, "view", price_of(cells[5]))
    if is_sale == "1":
        yield Row(user, item, time_ms + max(0, int(delay_seconds)) * _MS_PER_SECOND, "purchase", price_of(amount))


def _price(text: str) -> float | None:
    """Read a price; RSC15 writes 0 where it is unknown."""
    price = float(text) if text.strip() else 0.0
    if not 0 <= price <= MAX_PRICE:
        raise ValueError(f"{text!r} is no price")
    return price or None
