"""What the catalog says of items where and when a list is made."""

from schemas.ids import ItemId
from serving.filters import CatalogView


class CatalogFacts:
    """Implements ItemFacts.

    location: None = nobody knows where the shopper is. now_ms: Unix milliseconds.
    """

    __slots__ = ("_catalog", "_location", "_now_ms", "category", "record", "variant_group")

    def __init__(self, catalog: CatalogView, location: str | None, now_ms: int) -> None:
        self._catalog = catalog
        self._location = location
        self._now_ms = now_ms
        self.record = catalog.get
        self.category = catalog.category  # asked for each item that is looked at: without a call in between
        self.variant_group = catalog.variant_group

    def is_on_sale(self, item_id: ItemId) -> bool:
        """Return whether the item is in a sale here and now."""
        return self._catalog.is_on_sale(item_id, self._location, self._now_ms)

    def age_ms(self, item_id: ItemId) -> int | None:
        """Return for how long the item has been available, below 0 = not yet; None where the catalog names no time."""
        since_ms = self._catalog.available_from_ms(item_id)
        return None if since_ms is None else self._now_ms - since_ms
