"""The items of the generated shop, and the catalog records that the shop would publish of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from agents.shop.settings import ShopSettings
from agents.shop.words import CATEGORIES, N_SERIES, CategoryWords, series_name
from schemas.events import unix_ms
from schemas.ids import ItemId
from schemas.records import CatalogItem

_CATALOG_KEY = 1
_CLUSTER_SIZE = 40
_POPULARITY_EXPONENT = 0.8
_PRICE_SIGMA = 0.45
_VARIANT_SIGMA = 0.08
_UNAVAILABLE_SHARE = 0.02
_LOCAL_SHARE = 0.15
_RELEASED_LATER_SHARE = 0.03
_RELEASE_PERIOD_MS = 7 * 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Shelf:
    """All items as columns, one entry each, in the order of their numbers; items of a cluster lie together.

    records: as published once the item is released. queries: what a shopper types to find it.
    clusters: taste cluster, each inside one category. popularity: Zipf weights, not normalised.
    price_levels: how dear the item is for its category, in standard deviations.
    location_masks: bit i = sold at `locations[i]`. released_ms: Unix milliseconds, `start_ms` for most.
    """

    records: list[CatalogItem]
    queries: list[str]
    clusters: list[int]
    popularity: list[float]
    prices: list[float]
    price_levels: list[float]
    location_masks: list[int]
    released_ms: list[int]

    def __len__(self) -> int:
        """Count the items."""
        return len(self.records)


@dataclass(frozen=True, slots=True)
class _Style:
    """A group of variants: the same thing in several sizes or colours."""

    category: CategoryWords
    title: str
    query: str
    group: str
    price_level: float
    n_variants: int


def build_shelf(settings: ShopSettings) -> Shelf:
    """Compose the items of the shop."""
    rng = np.random.default_rng([settings.seed, _CATALOG_KEY])
    records: list[CatalogItem] = []
    queries: list[str] = []
    levels: list[float] = []
    clusters: list[int] = []
    cluster = 0
    for words, n_items in _items_per_category(settings):
        first = len(records)
        while len(records) - first < n_items:
            style = _style(words, len(records), rng)
            for variant in range(min(style.n_variants, n_items - (len(records) - first))):
                level = style.price_level + _VARIANT_SIGMA * float(rng.standard_normal())
                records.append(_record(style, variant, len(records), level))
                queries.append(style.query)
                levels.append(level)
        n_clusters = max(1, round(n_items / _CLUSTER_SIZE))
        clusters += [cluster + position * n_clusters // n_items for position in range(n_items)]
        cluster += n_clusters
    masks = _location_masks(settings, rng)
    return Shelf(
        records=_with_stock(records, masks, settings, rng),
        queries=queries,
        clusters=clusters,
        popularity=((1.0 + rng.permutation(len(records))) ** -_POPULARITY_EXPONENT).tolist(),
        prices=[record.price or 0.0 for record in records],
        price_levels=levels,
        location_masks=masks,
        released_ms=_release_times(settings, rng),
    )


def catalog(settings: ShopSettings, moment: datetime | None = None) -> list[CatalogItem]:
    """List the catalog as it stands at `moment`, by default at the start: items not yet released are absent."""
    now_ms = settings.start_ms if moment is None else unix_ms(moment)
    shelf = build_shelf(settings)
    return [
        record for record, released_ms in zip(shelf.records, shelf.released_ms, strict=True) if released_ms <= now_ms
    ]


def _items_per_category(settings: ShopSettings) -> Iterator[tuple[CategoryWords, int]]:
    share, rest = divmod(settings.n_items, settings.n_categories)
    for position, words in enumerate(CATEGORIES[: settings.n_categories]):
        yield words, share + (position < rest)


def _style(words: CategoryWords, number: int, rng: np.random.Generator) -> _Style:
    quality = words.qualities[int(rng.integers(len(words.qualities)))]
    noun = words.nouns[int(rng.integers(len(words.nouns)))]
    series = series_name(int(rng.integers(N_SERIES)))
    return _Style(
        category=words,
        title=f"{quality} {noun} {series}",
        query=f"{quality} {noun}".lower(),
        group=f"style-{number:06d}",
        price_level=float(rng.standard_normal()),
        n_variants=int(rng.integers(1, len(words.variants) + 1)),
    )


def _record(style: _Style, variant: int, number: int, level: float) -> CatalogItem:
    return CatalogItem(
        item_id=ItemId(f"item-{number:06d}"),
        title=f"{style.title}, {style.category.variants[variant]}",
        category=style.category.name,
        price=round(style.category.median_price * float(np.exp(_PRICE_SIGMA * level)), 2),
        variant_group=style.group if style.n_variants > 1 else None,
    )


def _location_masks(settings: ShopSettings, rng: np.random.Generator) -> list[int]:
    everywhere = (1 << len(settings.locations)) - 1
    masks = []
    for is_local in (rng.random(settings.n_items) < _LOCAL_SHARE).tolist():
        mask = int(rng.integers(1, everywhere + 1)) if is_local else everywhere
        masks.append(mask)
    return masks


def _with_stock(
    records: list[CatalogItem], masks: list[int], settings: ShopSettings, rng: np.random.Generator
) -> list[CatalogItem]:
    sold_out = (rng.random(len(records)) < _UNAVAILABLE_SHARE).tolist()
    return [
        CatalogItem(
            item_id=record.item_id,
            available=not is_sold_out,
            title=record.title,
            category=record.category,
            price=record.price,
            locations=_location_names(mask, settings.locations),
            variant_group=record.variant_group,
        )
        for record, mask, is_sold_out in zip(records, masks, sold_out, strict=True)
    ]


def _location_names(mask: int, locations: tuple[str, ...]) -> list[str] | None:
    if mask == (1 << len(locations)) - 1:
        return None
    return [name for position, name in enumerate(locations) if mask >> position & 1]


def _release_times(settings: ShopSettings, rng: np.random.Generator) -> list[int]:
    is_later = rng.random(settings.n_items) < _RELEASED_LATER_SHARE
    delays = rng.integers(1, _RELEASE_PERIOD_MS, settings.n_items)
    return [int(moment) for moment in settings.start_ms + np.where(is_later, delays, 0)]
