"""Which of several rules an item is a matter of."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from schemas.ids import ItemId
from schemas.records import CatalogItem
from schemas.rules import MerchantRule

_LEVEL_ENDS: Final = "/>"
_DAY_MS: Final = 86_400_000


class ItemFacts(Protocol):
    """What is known of items where and when a list is made."""

    def record(self, item_id: ItemId) -> CatalogItem | None:
        """Return the item's record: its category and group at one go."""

    def category(self, item_id: ItemId) -> str | None:
        """Return the item's category."""

    def variant_group(self, item_id: ItemId) -> str | None:
        """Return the group of which the item is a variant."""

    def is_on_sale(self, item_id: ItemId) -> bool:
        """Return whether the item is on sale here and now."""

    def age_ms(self, item_id: ItemId) -> int | None:
        """Return for how long the item has been available; None where nobody said since when."""


class Targets:
    """Rules of one kind, the first of which that is about an item decides about it.

    ranked: in the order in which they hold. items: that they name, each with the place of its rule. asks_groups,
    asks_categories: what decides about another item. asks_sales, new_ms: and what changes with the clock; for how long
    an item is new, by rule.
    """

    def __init__(self, ranked: Sequence[MerchantRule]) -> None:
        self.rules = tuple(ranked)
        self._deciding = (*self.rules, None)  # by place; the last one is that of no rule
        self._none = len(self.rules)
        self.items: dict[ItemId, int] = {}
        self._groups: dict[str | None, int] = {}
        self._categories: dict[str, int] = {}
        self._on_sale = self._none
        self._new: list[tuple[int, int]] = []  # (place, for how long an item is new)
        for place, rule in enumerate(self.rules):
            self._add(place, rule)
        self.asks_sales, self.new_ms = self._on_sale < self._none, [most_ms for _, most_ms in self._new]
        self._asks_times = self.asks_sales or bool(self._new)
        self.asks_groups, self.asks_categories = bool(self._groups), bool(self._categories)
        self._asks_items_only = not (self.asks_groups or self.asks_categories or self._asks_times)

    def first(self, item_id: ItemId, facts: ItemFacts) -> MerchantRule | None:
        """Return the rule that decides about the item."""
        place = self.items.get(item_id, self._none)
        if self._asks_items_only:
            return self._deciding[place]
        if self._groups:
            place = min(place, self._groups.get(facts.variant_group(item_id), place))
        if self._categories:
            place = min(place, self._first_of(facts.category(item_id)))
        if self._asks_times:
            place = min(place, self._first_by_times(item_id, facts))
        return self._deciding[place]

    def _add(self, place: int, rule: MerchantRule) -> None:
        for item_id in rule.items or ():
            self.items.setdefault(item_id, place)
        if rule.variant_group is not None:
            self._groups.setdefault(rule.variant_group, place)
        if rule.category is not None:
            self._categories.setdefault(rule.category.strip(), place)
        if rule.on_sale:
            self._on_sale = min(self._on_sale, place)
        if rule.new_days is not None:
            self._new.append((place, rule.new_days * _DAY_MS))

    def _first_by_times(self, item_id: ItemId, facts: ItemFacts) -> int:
        place = self._none
        if self._on_sale < place and facts.is_on_sale(item_id):
            place = self._on_sale
        if self._new and (age_ms := facts.age_ms(item_id)) is not None and age_ms >= 0:
            place = min(place, next((new for new, most_ms in self._new if age_ms <= most_ms), place))
        return place

    def _first_of(self, category: str | None) -> int:
        """Find the rule of a category or of one above it."""
        if category is None:
            return self._none
        return min(self._categories.get(above, self._none) for above in categories_above(category))


def categories_above(category: str) -> Iterator[str]:
    """Return the category, then those that it lies in, the nearest first: `Home > Tables`, `Home`; or `a/b`, `a`."""
    yield category.strip()
    for end in range(len(category) - 1, 0, -1):
        if category[end] in _LEVEL_ENDS:
            yield category[:end].strip()


def of_action(rules: Iterable[MerchantRule], *actions: str) -> list[MerchantRule]:
    """Take the rules of these kinds out, in order."""
    return [rule for rule in rules if rule.action in actions]
