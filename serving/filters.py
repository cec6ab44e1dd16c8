"""Policy, apart from scoring: which items may be answered, and how many of them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from msgspec import Struct

from schemas.ids import ItemId, ItemIndex
from schemas.ranking import Candidates
from schemas.records import CatalogItem, RecommendedItem


class CatalogView(Protocol):
    """What the shop says of its items at this moment."""

    def allowed(self, item_id: ItemId, location: str | None, now_ms: int) -> bool:
        """Return whether the item may be recommended to someone at `location`; now_ms: of the moment, Unix."""

    def allowed_at(self, location: str | None, now_ms: int) -> Callable[[ItemId], bool]:
        """Return what tells that of one item after the other."""

    def get(self, item_id: ItemId) -> CatalogItem | None:
        """Return what the shop last said of the item that could be read."""

    def earliest_end_ms(self, item_ids: Iterable[ItemId], location: str | None, now_ms: int) -> int | None:
        """Return when the first of these items, or its sale at `location`, ends, Unix ms; None = none does."""

    def next_sale_ms(self, item_ids: Iterable[ItemId], now_ms: int) -> int | None:
        """Return when the first sale of these items begins that has not begun, Unix ms; None = none is to come."""

    def variant_group(self, item_id: ItemId) -> str | None:
        """Return the group of which the item is a variant."""

    def is_on_sale(self, item_id: ItemId, location: str | None, now_ms: int) -> bool:
        """Return whether the item is in a sale at `location`, None = somewhere; now_ms: of the moment, Unix."""

    def available_from_ms(self, item_id: ItemId) -> int | None:
        """Return since when the item is available, Unix milliseconds; None where the records do not say."""

    def category(self, item_id: ItemId) -> str | None:
        """Return the item's category."""

    def describes(self, item_id: ItemId) -> bool:
        """Return whether there is a record of the item."""

    @property
    def has_items(self) -> bool:
        """Return whether there is a record of any item."""

    def knows_place(self, location: str) -> bool | None:
        """Return whether the records name a location, or one that lies in it; None = nobody knows."""

    def available_items(self, at_most: int, now_ms: int) -> Sequence[ItemId]:
        """Return some items that are available at a moment, always in the same order."""

    @property
    def revision(self) -> int:
        """Return another number after every change."""

    @property
    def records_taken(self) -> int:
        """Return another number after every record, whatever it says."""

    def records(self) -> Sequence[CatalogItem]:
        """Return what is said of each item; may take milliseconds."""


class FilterRules(Struct, frozen=True, gc=False):
    """What must not be in an answer, beside what the catalog says.

    now_ms: of the moment as of which the catalog is asked, Unix. bought: by this shopper; variants of it are left out,
    too. excluded: for everybody.
    """

    location: str | None
    now_ms: int
    bought: frozenset[ItemId]
    excluded: frozenset[ItemId]


def named(
    candidates: Candidates, item_id: Callable[[ItemIndex], ItemId], *, at_most: int, trained_items: int
) -> Iterator[RecommendedItem]:
    """Return the first `at_most` candidates, lazily; those beyond `trained_items` have come since training."""
    indices: list[ItemIndex] = candidates.item_indices[:at_most].tolist()
    for index, score in zip(indices, candidates.scores[:at_most].tolist(), strict=True):
        yield RecommendedItem(item_id(index), score, None, None if index <= trained_items else "new")


def allowed_items(
    ranked: Iterable[RecommendedItem], rules: FilterRules, catalog: CatalogView
) -> Iterator[RecommendedItem]:
    """Leave out what is unavailable, bought, excluded, a variant of what was bought, or of a better-ranked item."""
    may_be, variant_group = may_be_listed(rules, catalog), catalog.variant_group
    groups = set[str]()
    for item in ranked:
        item_id = item.item_id
        if not may_be(item_id):
            continue
        group = variant_group(item_id)
        if group is not None:
            if group in groups:
                continue
            groups.add(group)
        yield item


def may_be_listed(rules: FilterRules, catalog: CatalogView) -> Callable[[ItemId], bool]:
    """Return what tells of an item whether `allowed_items` would let it through as the best of all."""
    allowed, bought, excluded = catalog.allowed_at(rules.location, rules.now_ms), rules.bought, rules.excluded
    if not bought and not excluded:
        return allowed
    variant_group = catalog.variant_group
    groups = {group for item_id in bought if (group := variant_group(item_id)) is not None}

    def may_be(item_id: ItemId) -> bool:
        if item_id in bought or item_id in excluded or not allowed(item_id):
            return False
        return not groups or variant_group(item_id) not in groups

    return may_be


def at_most_of_category(
    items: Iterable[RecommendedItem],
    category: Callable[[ItemId], str | None],
    most: int,
    counts: "Counter[str] | None" = None,
) -> Iterator[RecommendedItem]:
    """Return the items, those beyond `most` of one category behind all others; without a category none is beyond.

    counts: by category, of what the list has already; goes on with the items.
    """
    counts, surplus = Counter() if counts is None else counts, list[RecommendedItem]()
    for item in items:
        of = category(item.item_id)
        if of is not None:
            counts[of] += 1
            if counts[of] > most:
                surplus.append(item)
                continue
        yield item
    yield from surplus


def top_k(items: Iterable[RecommendedItem], k: int) -> list[RecommendedItem]:
    """Take the first `k`; no more candidates are looked at than that takes."""
    return list(islice(items, k))
