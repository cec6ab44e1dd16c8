"""Catalog records of shops that spell what they say in their own way; contents made by hand."""

import json
from typing import Any

import pytest

from schemas.catalog_mapping import CatalogMapping
from schemas.catalog_reader import CatalogReader
from schemas.ids import ItemId
from streams.catalog import Catalog

_TV = ItemId("tv")
NOW_MS = 1_700_000_000_000


def _catalog(*values: Any, mapping: CatalogMapping | None = None) -> Catalog:
    catalog = Catalog(reader=CatalogReader(mapping or CatalogMapping()))
    for value in values:
        catalog.apply(b"tv", json.dumps(value).encode() if not isinstance(value, bytes) else value)
    return catalog


@pytest.mark.parametrize(
    "sold_out", [0, "0", "false", "no", "out_of_stock", "https://schema.org/OutOfStock", -1, False]
)
def test_a_sold_out_item_is_never_recommended(sold_out: Any) -> None:
    """N1: the update spells `available` as the shop does."""
    catalog = _catalog(
        {"item_id": "tv", "title": "TV", "available": True}, {"item_id": "tv", "title": "TV", "available": sold_out}
    )
    assert (catalog.allowed(_TV, None, NOW_MS), catalog.available_items(5, NOW_MS)) == (False, [])


@pytest.mark.parametrize(
    "update",
    [
        b"garbage",
        {"item_id": "radio", "available": False},
        {"item_id": "tv", "available": "perhaps"},
        {"item_id": "tv", "available": {"pieces": 0}},
        {"sku": "tv", "stock": 0},
    ],
)
def test_an_update_that_cannot_be_read_takes_the_item_out(update: Any) -> None:
    """N1: it may be the one that says that the item is sold out."""
    assert not _catalog({"item_id": "tv", "available": True}, update).allowed(_TV, None, NOW_MS)
    assert _catalog(update, {"item_id": "tv", "available": True}).allowed(_TV, None, NOW_MS)


def test_change_data_capture_of_a_product_table_is_read() -> None:
    """The key is an object of one column, the row lies in `after`, stock is pieces."""
    mapping = CatalogMapping(
        paths={"item_id": "after.id", "available": "after.stock", "title": "after.name", "price": "after.price"}
    )
    catalog = Catalog(reader=CatalogReader(mapping))
    for stock in (4, 0):
        row = {"id": 7, "name": "Chair", "price": "12.50", "stock": stock}
        catalog.apply(b'{"id": 7}', json.dumps({"op": "u", "after": row}).encode())
        assert catalog.allowed(ItemId("7"), None, NOW_MS) is (stock > 0)
    catalog.apply(b'{"id": 7}', json.dumps({"op": "d", "before": {"id": 7}, "after": None}).encode())
    assert catalog.closed_items == 1
    catalog.apply(b'{"id": 7}', None)
    assert (catalog.closed_items, catalog.allowed(ItemId("7"), None, NOW_MS)) == (0, False)
