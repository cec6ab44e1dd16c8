"""What lies in the cart, as far as the session's events tell."""

from collections.abc import Iterable

from schemas.ids import ItemId
from schemas.records import SessionEvent


def items_in_cart(events: Iterable[SessionEvent]) -> dict[ItemId, float | None]:
    """Give the items in the cart with the price they were put in at: remove takes one out, a purchase empties it."""
    cart: dict[ItemId, float | None] = {}
    for event in events:
        if event.event_type == "purchase":
            cart.clear()
        elif event.item_id is None:
            continue
        elif event.event_type == "cart":
            cart[event.item_id] = event.price
        elif event.event_type == "remove":
            cart.pop(event.item_id, None)
    return cart
