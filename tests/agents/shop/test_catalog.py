"""The catalog of the generated shop."""

from datetime import timedelta
from statistics import median

import pytest

from agents.shop.catalog import catalog
from agents.shop.sales import catalog_changes
from agents.shop.settings import FlashSaleSettings, ShopSettings
from schemas.errors import UsageError

SETTINGS = ShopSettings()


def test_items_are_released_while_the_shop_runs() -> None:
    """A week after the start the catalog is complete; at the start a few items are missing."""
    at_start = catalog(SETTINGS)
    complete = catalog(SETTINGS, SETTINGS.start + timedelta(days=7))
    assert 0.95 * SETTINGS.n_items < len(at_start) < len(complete)
    assert len(complete) == len({item.item_id for item in complete}) == SETTINGS.n_items


def test_items_are_believable() -> None:
    """Every item has a title, category and price; some are sold out, local, or variants of another."""
    items = catalog(SETTINGS)
    assert all(item.title and item.category and item.price for item in items)
    assert len({item.category for item in items}) == SETTINGS.n_categories
    assert 0.005 < sum(not item.available for item in items) / len(items) < 0.04
    assert any(item.locations for item in items)
    assert 0.5 < sum(item.variant_group is not None for item in items) / len(items) < 1


def test_prices_differ_by_category() -> None:
    """Tables cost several times what tableware does."""
    prices: dict[str | None, list[float]] = {}
    for item in catalog(SETTINGS):
        prices.setdefault(item.category, []).append(item.price or 0.0)
    assert median(prices["tables"]) > 5 * median(prices["tableware"])


def test_a_sale_lowers_prices_and_sets_them_back() -> None:
    """Over a day each sale item is published at its sale price and again at its own."""
    changes = list(catalog_changes(SETTINGS, timedelta(days=1)))
    assert [moment for moment, _ in changes] == sorted(moment for moment, _ in changes)
    own = {item.item_id: item.price for item in catalog(SETTINGS, SETTINGS.start + timedelta(days=7))}
    lowered = [record for _, record in changes if (record.price or 0) < (own[record.item_id] or 0)]
    assert len(lowered) > 12
    sale = {record.item_id for record in lowered[:12]}
    final = {record.item_id: record.price for _, record in changes}
    assert all(final[item_id] == own[item_id] for item_id in sale)


@pytest.mark.parametrize(
    "wrong",
    [{"n_categories": 0}, {"n_items": 5}, {"bot_share": 1.0}, {"locations": ()}, {"sessions_per_hour": 1e6}],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    """A setting that no shop can have is a usage error."""
    with pytest.raises(UsageError):
        ShopSettings(**wrong)  # type: ignore[arg-type]


def test_a_sale_longer_than_its_slot_is_refused() -> None:
    """Sales never overlap."""
    with pytest.raises(UsageError, match="shorten the sale"):
        FlashSaleSettings(every=timedelta(hours=1), duration=timedelta(hours=2))
