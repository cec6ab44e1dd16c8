"""What lies in the cart, as far as the session's events tell."""

from collections.abc import Iterable

from schemas.ids import ItemId
from schemas.records import SessionEvent


def items_in_cart(events: Iterable[SessionEvent]) -> dict[ItemId, float | None]:
    """Give the items in the cart with the price they were put in at; remove and purchase take their item out."""
    cart: dict[ItemId, float | None] = {}
    for event in events:
        if event.item_id is None:
            continue
        if event.event_type == "cart":
            cart[event.item_id] = event.price
        elif event.event_type in {"remove", "purchase"}:
            cart.pop(event.item_id, None)
    return cart
