"""What is said of the items in training: the product's catalog records from a file, or a public data set's item files.

`read_catalog` reads records of the catalog topic, one JSON a line, maybe compressed, by the mapping of the topic. The
last record of an item counts, and one that cannot be read takes the item out. `published_catalog` finds what lies
beside the events of a public data set:
`diginetica`: product-categories.csv, and price and name tokens of products.csv. `retailrocket`: categoryid of
item_properties_part1.csv and _part2.csv, the latest. `rees46`: category_code
(else category_id), brand and price of the events themselves, of all months.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from schemas.catalog_mapping import OURS, CatalogMapping
from schemas.catalog_reader import CatalogReader, UnreadableItem
from schemas.events import MAX_PRICE
from schemas.ids import MAX_ID_BYTES, ItemId, utf8_bytes
from schemas.records import MAX_TITLE_LENGTH, CatalogItem
from session_model.data.formats import DataFormat
from session_model.data.public_formats import PUBLIC_DATASETS, cells_of, column_places, parts_in
from session_model.data.text_lines import DEFAULT_MALFORMED_SHARE, MalformedLines, read_lines

log = structlog.get_logger(__name__)

_Items = dict[ItemId, CatalogItem]
_Take = Callable[[list[str], _Items], None]


def read_catalog(
    path: Path, mapping: CatalogMapping = OURS, *, max_malformed_share: float = DEFAULT_MALFORMED_SHARE
) -> list[CatalogItem]:
    """Read catalog records; raises UsageError where the path is wrong and InsessionError where the content is."""
    malformed, items = MalformedLines(path, max_malformed_share), dict[ItemId, CatalogItem]()
    reader = CatalogReader(mapping)
    for number, line in read_lines(malformed):
        read = reader.read_line(line.encode())
        if isinstance(read, UnreadableItem):
            malformed.add(number, read.detail)
            if read.item_id is not None:
                items.pop(read.item_id, None)
            continue
        items[read.item.item_id] = read.item
        malformed.repaired.update(f"{name} {reason}" for name, reason in read.repairs.items())
    malformed.settle()
    malformed.need(len(items))
    return list(items.values())


def published_catalog(path: Path, data_format: DataFormat) -> list[CatalogItem]:
    """Read the item files of a public data set, `path` being what `read_sessions` reads; empty where there are none."""
    items = dict[ItemId, CatalogItem]()
    if data_format == "diginetica" and path.is_dir():
        _read_beside(path / "product-categories.csv", ";", ("itemId", "categoryId"), _diginetica_category, items)
        product_columns = ("itemId", "pricelog2", "product.name.tokens")
        _read_beside(path / "products.csv", ";", product_columns, _diginetica_product, items)
    elif data_format == "retailrocket" and path.is_dir():
        latest = dict[str, int]()
        columns = ("timestamp", "itemid", "property", "value")
        for part in (1, 2):
            name = f"item_properties_part{part}.csv"
            _read_beside(path / name, ",", columns, lambda cells, into: _retailrocket(cells, into, latest), items)
    elif data_format == "rees46":
        for file in PUBLIC_DATASETS["rees46"].paths(path):
            _read_table(file, ",", ("product_id", "category_id", "category_code", "brand", "price"), _rees46, items)
    return list(items.values())


def _read_beside(path: Path, delimiter: str, columns: tuple[str, ...], take: _Take, items: _Items) -> None:
    """Read the table `path`, compressed or not, if it is there."""
    for file in parts_in(path.parent, lambda name: name == path.name):
        _read_table(file, delimiter, columns, take, items)


def _read_table(path: Path, delimiter: str, columns: tuple[str, ...], take: _Take, items: _Items) -> None:
    """Let `take` put the named cells of each line into `items`; a file that lacks a column has none."""
    malformed = MalformedLines(path)
    lines = read_lines(malformed)
    places, missing = column_places(next(lines, (0, ""))[1], delimiter, columns)
    if missing:
        log.warning("item_file_left_out", file=str(path), missing_columns=missing)
        return
    n_usable = 0
    for number, line in lines:
        try:
            cells = cells_of(line, delimiter)
            take([cells[place].strip() for place in places], items)
        except (ValueError, LookupError, OverflowError, csv.Error) as error:
            malformed.add(number, "too few columns" if isinstance(error, IndexError) else str(error))
            continue
        n_usable += 1
    malformed.settle()
    malformed.need(n_usable)


def _diginetica_category(cells: list[str], items: _Items) -> None:
    item_id, category = cells
    _report(items, item_id, category=_id(category))


def _diginetica_product(cells: list[str], items: _Items) -> None:
    item_id, price_log2, tokens = cells
    _report(items, item_id, price=_price(2.0 ** float(price_log2)), title=tokens.replace(",", " ")[:MAX_TITLE_LENGTH])


def _retailrocket(cells: list[str], items: _Items, latest: dict[str, int]) -> None:
    time, item_id, name, value = cells
    if name == "categoryid" and int(time) >= latest.get(item_id, 0):
        _report(items, item_id, category=_id(value))
        latest[item_id] = int(time)


def _rees46(cells: list[str], items: _Items) -> None:
    item_id, category_id, category_code, brand, price = cells
    category, title = category_code or category_id, brand[:MAX_TITLE_LENGTH]
    known_price = _price(float(price)) if price else None
    _report(items, item_id, category=_id(category) if category else None, title=title or None, price=known_price)


def _report(items: _Items, item_id: str, **fields: str | float | None) -> None:
    """Add to what is known of an item; a field that is None leaves it as it is."""
    known = items.get(ItemId(item_id)) or CatalogItem(item_id=ItemId(_id(item_id)))
    new = {name: value for name, value in fields.items() if value is not None}
    items[known.item_id] = msgspec.structs.replace(known, **new)


def _id(text: str) -> str:
    if not 0 < utf8_bytes(text) <= MAX_ID_BYTES:
        raise ValueError(f"an id has {utf8_bytes(text)} bytes in UTF-8, 1 to {MAX_ID_BYTES} are allowed")
    return text


def _price(price: float) -> float:
    if not 0 <= price <= MAX_PRICE:
        raise ValueError(f"{price} is no price")
    return price
