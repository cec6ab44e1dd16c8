"""Rules, rankings and facts of items, in few words."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import msgspec

from schemas.ids import ItemId
from schemas.records import CatalogItem, RecommendedItem
from schemas.rules import MerchantRule
from serving.rules.book import Asked, Plan, RuleBook
from serving.rules.placing import Listing, Placed, place

DAY_MS = 86_400_000


def rule(rule_id: str, action: str, **fields: Any) -> MerchantRule:
    """Return a rule; `items` may be one text with an item a word, a boost is by 2 and a bury by .5."""
    if isinstance(fields.get("items"), str):
        fields["items"] = fields["items"].split()
    factors = {"boost": {"factor": 2.0}, "bury": {"factor": 0.5}}
    return msgspec.convert({"rule_id": rule_id, "action": action, **factors.get(action, {}), **fields}, MerchantRule)


@dataclass(slots=True)
class Facts:
    """What is known of items; see `ItemFacts`."""

    categories: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    on_sale: AbstractSet[str] = frozenset()
    days: Mapping[str, int] = field(default_factory=dict)

    def record(self, item_id: ItemId) -> CatalogItem | None:
        """See `ItemFacts`."""
        category, group = self.categories.get(item_id), self.groups.get(item_id)
        is_known = category is not None or group is not None
        return CatalogItem(item_id=item_id, category=category, variant_group=group) if is_known else None

    def category(self, item_id: ItemId) -> str | None:
        """See `ItemFacts`."""
        return self.categories.get(item_id)

    def variant_group(self, item_id: ItemId) -> str | None:
        """See `ItemFacts`."""
        return self.groups.get(item_id)

    def is_on_sale(self, item_id: ItemId) -> bool:
        """See `ItemFacts`."""
        return item_id in self.on_sale

    def age_ms(self, item_id: ItemId) -> int | None:
        """See `ItemFacts`."""
        return self.days[item_id] * DAY_MS if item_id in self.days else None


def ranking(items: str) -> list[RecommendedItem]:
    """Return an item a word, with scores that fall by a tenth from 1."""
    return [RecommendedItem(ItemId(item), 1.0 - number / 10) for number, item in enumerate(items.split())]


def plan_of(*rules: MerchantRule, asked: Asked | None = None) -> Plan:
    """Compile rules of which at least one holds."""
    plan = RuleBook(rules).plan(asked or Asked(now_ms=0), "model")
    assert plan is not None
    return plan


def placed(
    items: str,
    *rules: MerchantRule,
    size: int = 4,
    gone: str = "",
    facts: Facts | None = None,
    asked: Asked | None = None,
    most: int = 0,
) -> Placed:
    """Make a list by rules; gone: what is not there to be had. most: of a category."""
    away = gone.split()
    listing = Listing(lambda item_id: item_id not in away, facts or Facts(), size, most)
    return place(ranking(items), plan_of(*rules, asked=asked), listing)


def names(items: list[RecommendedItem]) -> str:
    """Join the items."""
    return " ".join(item.item_id for item in items)
