"""Who vouches for an id: every id of a click is a stranger's text until the catalog or a release knows it."""

from typing import Protocol

from schemas.ids import ItemId
from serving.filters import CatalogView
from serving.parts import ReleaseParts


class Vouchers(Protocol):
    """Says of a name: True = the shop's own, False = a stranger's, None = nobody knows the names at all."""

    @property
    def knows_items(self) -> bool:
        """Return whether anybody knows the shop's items; otherwise `item` is None for all."""

    def item(self, item_id: ItemId) -> bool | None:
        """Return whether the shop has the item."""

    def location(self, location: str) -> bool | None:
        """Return whether the shop has the location."""


class NobodyVouches:
    """Before there is a catalog or a release."""

    knows_items = False

    def item(self, item_id: ItemId) -> None:
        """See `Vouchers`."""

    def location(self, location: str) -> None:
        """See `Vouchers`."""


class HasRelease(Protocol):
    """Holds the release in use; see `ReleaseWatcher`."""

    @property
    def current(self) -> ReleaseParts | None:
        """Return it."""


class ShopsOwn:
    """The catalog topic and the release in use; locations are what the catalog knows."""

    def __init__(self, catalog: CatalogView, releases: HasRelease) -> None:
        self._catalog = catalog
        self._releases = releases

    @property
    def knows_items(self) -> bool:
        """See `Vouchers`."""
        return self._releases.current is not None or self._catalog.has_items

    def item(self, item_id: ItemId) -> bool | None:
        """See `Vouchers`."""
        release = self._releases.current
        if self._catalog.describes(item_id) or (release is not None and release.knows(item_id)):
            return True
        return False if self.knows_items else None

    def location(self, location: str) -> bool | None:
        """See `Vouchers`."""
        return self._catalog.knows_place(location)
