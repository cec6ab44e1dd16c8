"""Field mapping of the catalog: how a shop's own records of its items become ours (docs/consumers.md).

[catalog.mapping.paths]
item_id = "sku"
available = ["inventory.quantity", "stock[warehouse=main].status"]
locations = "stores[].name"
[catalog.mapping.values.available]
"ships in * weeks" = "true"

A sale's parts are the fields `sale_price`, `sale_starts_at`, `sale_ends_at` and `sale_locations`.
"""

from typing import Final

from msgspec import Struct, field

from schemas.errors import UsageError
from schemas.item_values import read_available
from schemas.mapping_language import Paths, Place, check_fields, own_names, parsed
from schemas.paths import parse_path
from schemas.records import CatalogItem, Sale
from schemas.times import TimeFormat, TimeReader

SALE_FIELDS: Final = {f"sale_{part}": f"sale.{part}" for part in Sale.__struct_fields__}
"""Of a sale, by where records of ours have them."""
FIELDS: tuple[str, ...] = (*(name for name in CatalogItem.__struct_fields__ if name != "sale"), *SALE_FIELDS)
OWN_PLACES: Final = own_names(FIELDS) | {name: Place((parse_path(path),)) for name, path in SALE_FIELDS.items()}
_SECTION = "catalog.mapping"


class CatalogMapping(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where each field of an item is found in the shop's records; what is not stated is looked up by its name.

    paths: By field, where it is: a path, or several of which the first that leads to something counts. What a path with
        `[]` finds in each line is one list. Where `available` is stated and not there, the item is not recommended.
    constants: By field, what it is where no path leads to anything.
    values: By field, what a shop's value is called here; `*` in it stands for any text. `available` becomes `true` or
        `false`.
    time_format: Of an item's moments: `auto`, `rfc3339`, `unix_s`, `unix_ms`, `unix_us`, `unix_ns`, or a pattern like
        `%d.%m.%Y %H:%M`.
    time_zone: Of moments that name no offset, as in `Europe/Amsterdam`.
    """

    paths: dict[str, Paths] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    time_format: TimeFormat = "auto"
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        """Refuse a mapping that names what does not exist, or availability that is neither yes nor no."""
        for table, named in (("paths", self.paths), ("constants", self.constants), ("values", self.values)):
            check_fields(named, FIELDS, f"{_SECTION}.{table}", "an item")
        for name, paths in self.paths.items():
            parsed(paths, f"{_SECTION}.paths.{name}")
        stated = {f"values.available.{theirs}": ours for theirs, ours in self.values.get("available", {}).items()}
        if "available" in self.constants:
            stated["constants.available"] = self.constants["available"]
        for name, ours in stated.items():
            try:
                read_available(ours)
            except ValueError:
                raise UsageError(f"{_SECTION}.{name}: {ours!r} is neither true nor false") from None
        try:
            TimeReader(self.time_format, self.time_zone)
        except ValueError as error:
            raise UsageError(f"{_SECTION}.time_format and time_zone: {error}") from error

    @property
    def is_identity(self) -> bool:
        """Return whether the shop writes items as they are."""
        return self == OURS


OURS: Final = CatalogMapping()
"""Of records that are items as we write them."""
