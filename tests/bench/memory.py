"""Memory that a worker needs for each visitor and each catalog item: `python -m tests.bench.memory`."""

import json
import tracemalloc
from collections.abc import Callable

import click

from schemas import wire
from schemas.ids import ItemId
from schemas.records import CatalogItem
from schemas.state import StateHeader
from streams.catalog import Catalog
from streams.expiry import ExpiryIndex

START_MS = 1_700_000_000_000


@click.command()
@click.option("--count", default=100_000, show_default=True, help="Visitors, and items.")
def main(count: int) -> None:
    """Fill the expiry index with visitors of 32-byte ids, and the catalog with described items; print bytes of each."""
    measured = {
        "bytes_per_visitor_in_the_expiry_index": _bytes_each(_expiry_index, count),
        "bytes_per_visitor_after_three_clicks": _bytes_each(_clicked_three_times, count),
        "bytes_per_item_in_the_catalog": _bytes_each(_catalog, count),
    }
    click.echo(json.dumps({"count": count, **measured}, indent=2))


def _bytes_each(fill: Callable[[int], object], count: int) -> int:
    tracemalloc.start()
    kept = fill(count)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return round(held / count)


def _expiry_index(count: int) -> ExpiryIndex:
    index = ExpiryIndex()
    index.load(0, ((b"%032d" % number, StateHeader(START_MS + number, 0)) for number in range(count)))
    return index


def _clicked_three_times(count: int) -> ExpiryIndex:
    index = _expiry_index(count)
    for later_ms in (60_000, 120_000):
        for number in range(count):
            index.schedule(0, b"%032d" % number, START_MS + later_ms + number)
    return index


def _catalog(count: int) -> Catalog:
    catalog = Catalog()
    for number in range(count):
        item = CatalogItem(
            item_id=ItemId(f"item-{number}"), title=f"Oak chair number {number}", category=f"c{number % 50}", price=9.5
        )
        catalog.apply(item.item_id.encode(), wire.encode(item))
    return catalog


if __name__ == "__main__":
    main()
