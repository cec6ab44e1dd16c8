"""What the intent model knows of categories: which one an item is of, and how readily its sessions buy."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from schemas.ids import ItemId
from schemas.records import CatalogItem


class Categories(msgspec.Struct, frozen=True):
    """Categories by their place in `names`.

    lifts: (len(names),), log-odds of a purchase in a session that has an event with an item of the category, less those
    of all sessions; shrunk to 0 by `PRIOR_BUYERS` (Micci-Barreca, SIGKDD Explorations 2001). of_item: of each item that
    the catalog of training gave one. later: of other items, told since.
    """

    names: list[str] = []
    lifts: list[float] = []
    of_item: dict[ItemId, int] = {}
    later: dict[ItemId, int] = {}

    def place_of(self, item_id: ItemId) -> int | None:
        """Return the category of an item; None where nobody told it, or it is one that training did not know."""
        place = self.of_item.get(item_id)
        return self.later.get(item_id) if place is None else place

    def extended(self, records: Iterable[CatalogItem]) -> "Categories":
        """Take in what the whole catalog says of items that training knew no category of; itself if no news."""
        if not self.names:
            return self
        places = {name: place for place, name in enumerate(self.names)}
        described = {record.item_id: record.category for record in records if record.item_id not in self.of_item}
        later = {item_id: places[name] for item_id, name in described.items() if name in places}
        return self if later == self.later else msgspec.structs.replace(self, later=later)

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        path.write_bytes(msgspec.json.encode(self))

    @classmethod
    def load(cls, path: Path) -> "Categories":
        """Read what `save` wrote; raises ValueError on another file."""
        read = msgspec.json.decode(path.read_bytes(), type=cls)
        used = {*read.of_item.values(), *read.later.values()}
        if len(read.names) != len(read.lifts) or not used <= set(range(len(read.names))):
            raise ValueError("the categories do not fit together")
        return read


NO_CATEGORIES: Final = Categories()
