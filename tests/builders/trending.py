"""Records of the topic `trending`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from schemas.ids import ItemId
from schemas.records import Trending, TrendingItem


def listing(items: Sequence[TrendingItem], now: datetime, **fields: Any) -> Trending:
    """Make a record that lists these items; what a test does not say of it makes no difference there."""
    unsaid: dict[str, Any] = {
        "support_short": 1.0,
        "support_long": 1.0,
        "half_life_short_seconds": 600,
        "half_life_long_seconds": 16_200,
        "half_life_seconds": 600,
        "strength": None,
    }
    return Trending(items=list(items), event_time=now, updated_at=now, **{**unsaid, **fields})


def told(
    totals: tuple[float, ...], items: Mapping[str, tuple[float, ...]], now: datetime = datetime(2026, 3, 1, tzinfo=UTC)
) -> Trending:
    """Make a record of everywhere: views of all together and by item, a number a half-life."""
    return listing(
        [TrendingItem(ItemId(item), 0.1, 1.0, 10, views=views) for item, views in items.items()],
        now,
        half_lives_seconds=tuple(600 * 3**rung for rung in range(len(totals))),
        views=totals,
    )
