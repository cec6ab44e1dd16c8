"""The e-commerce vocabulary that Segment began and others share: event names, and where products lie in properties.

Source: https://segment.com/docs/connections/spec/ecommerce/v2/; the last names are those of its first version.
"""

from typing import Final

from schemas.mapping_language import Paths

_NAMES: Final = {
    "Product Viewed": "view",
    "Product Added": "cart",
    "Product Removed": "remove",
    "Order Completed": "purchase",
    "Product Added to Wishlist": "favorite",
    "Wishlist Product Added to Cart": "cart",
    "Products Searched": "search",
    "Viewed Product": "view",
    "Added Product": "cart",
    "Removed Product": "remove",
    "Completed Order": "purchase",
}
EVENT_TYPES: Final[dict[str, str]] = _NAMES | {name.lower().replace(" ", "_"): ours for name, ours in _NAMES.items()}
"""Also as `order_completed`, which is how warehouses and many apps spell them."""

_IDS: Final = ("product_id", "sku", "productId")


def in_properties(properties: str) -> dict[str, Paths]:
    """Return the paths of what an event is about; `properties` leads to the object that holds it."""
    return {
        "item_id": (
            *(f"{properties}.{name}" for name in _IDS),
            *(f"{properties}.products[].{name}" for name in (*_IDS, "id")),
        ),
        "price": (f"{properties}.products[].price", f"{properties}.price"),
        "quantity": (f"{properties}.products[].quantity", f"{properties}.quantity"),
        "query": f"{properties}.query",
    }
