"""An event as the readers of files give it, and what is checked of each."""

from typing import NamedTuple

from schemas.events import MAX_PRICE, EventType
from schemas.ids import MAX_ID_BYTES, utf8_bytes


class Row(NamedTuple):
    """One event; `owner` is its session, or its visitor where sessions are still to be parted.

    time_ms: Unix milliseconds; where the format has no times, what orders the events of a session.
    session: the shop's own session id of a visitor's event, if it names one. location: where the visitor is.
    is_cut: events of the session before this one were not kept.
    """

    owner: str
    item_id: str | None
    time_ms: int
    event_type: EventType = "view"
    price: float | None = None
    session: str | None = None
    location: str | None = None
    is_cut: bool = False


def check_ids(*ids: str | None) -> None:
    """Raise ValueError on an id that is empty or too long."""
    for text in ids:
        if text is not None and not 0 < utf8_bytes(text) <= MAX_ID_BYTES:
            raise ValueError(f"an id has {utf8_bytes(text)} bytes in UTF-8, 1 to {MAX_ID_BYTES} are allowed")


def price_of(value: str | float | None) -> float | None:
    """Read a price that only describes: what is none says nothing, and a decimal comma is a point."""
    try:
        price = float(value.replace(",", ".") if isinstance(value, str) else value or 0)
    except ValueError:
        return None
    return price if 0 < price <= MAX_PRICE else None
