"""The catalog of the generated shop."""

from datetime import timedelta
from statistics import median

import pytest

from agents.shop.catalog import catalog
from agents.shop.settings import FlashSaleSettings, ShopSettings, StockOutSettings
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


def test_stock_outs_longer_than_their_slot_are_refused() -> None:
    """What sells out is back before the slot ends."""
    with pytest.raises(UsageError, match="shorten them"):
        StockOutSettings(every=timedelta(hours=1), mean=timedelta(hours=2))
