"""What lies in the cart, as far as the session's events tell."""

from collections.abc import Iterable

from schemas.events import EVENT_FACTS
from schemas.ids import ItemId
from schemas.records import SessionEvent


def items_in_cart(events: Iterable[SessionEvent]) -> dict[ItemId, float | None]:
    """Return the items in the cart with the price they were put in at; what takes an item out is in `EVENT_FACTS`."""
    cart: dict[ItemId, float | None] = {}
    for event in events:
        if event.item_id is None:
            continue
        match EVENT_FACTS[event.event_type].cart:
            case "in":
                cart[event.item_id] = event.price
            case "out":
                cart.pop(event.item_id, None)
    return cart
