"""What is wrong, or unwise, with rules that are about to be put; nothing of this can be told from one record alone."""

from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from typing import Final

from msgspec import Struct

from schemas.places import LocationSettings
from schemas.records import CatalogItem
from schemas.rules import MAX_RULES, MerchantRule
from serving.rules.targets import categories_above

MAX_PINNED_SHARE: Final = 0.2
"""Of the positions of a list; with more of them pinned, little of it is about the shopper."""


class Examination(Struct, frozen=True):
    """What was found. errors: for which rules are not put. warnings: of which a merchant should know."""

    errors: list[str]
    warnings: list[str]


def examine(
    rules: Sequence[MerchantRule],
    others: Sequence[MerchantRule],
    catalog: Collection[CatalogItem],
    *,
    now_ms: int,
    answer_size: int,
    locations: LocationSettings,
) -> Examination:
    """Examine `rules`, which will hold beside `others`.

    catalog: empty = nobody knows which items there are. now_ms: Unix milliseconds. answer_size: positions of a list.
    """
    errors = [f"{rule.rule_id}: ends_at {rule.ends_at} is past" for rule in rules if rule.ends_ms <= now_ms]
    warnings = list(_unknown_labels(rules, catalog))
    errors += _unknown_items(rules, catalog)
    for rule in rules:
        if rule.position is not None and rule.position > answer_size:
            warnings.append(
                f"{rule.rule_id}: position {rule.position} is beyond a list of {answer_size} (serving.answer_size)"
            )
        separator = locations.separator
        if separator and any(place.endswith(separator) for place in rule.where):
            warnings.append(f"{rule.rule_id}: a place of `where` ends with {separator!r}, which means nothing")
    replaced = {rule.rule_id for rule in rules}
    staying = [rule for rule in others if rule.rule_id not in replaced and rule.ends_ms > now_ms]
    errors += _contradicting_pins(rules, staying)
    if len(rules) + len(staying) > MAX_RULES:
        errors.append(
            f"with these there are {len(rules) + len(staying):,} rules, and a worker holds {MAX_RULES:,}: which of the "
            "others it refuses depends on their order. Remove some first (insession rules remove)"
        )
    warnings += _crowded_places([*rules, *staying], rules, answer_size, locations)
    return Examination(errors, warnings)


def _unknown_items(rules: Sequence[MerchantRule], catalog: Collection[CatalogItem]) -> Iterator[str]:
    known = {item.item_id for item in catalog}
    for rule in rules if known else ():
        if unknown := [item_id for item_id in rule.items or () if item_id not in known]:
            more = f" and {len(unknown) - 5:,} more" if len(unknown) > 5 else ""
            yield f"{rule.rule_id}: the catalog does not know {', '.join(map(repr, unknown[:5]))}{more}"


def _unknown_labels(rules: Sequence[MerchantRule], catalog: Collection[CatalogItem]) -> Iterator[str]:
    categories = {above for name in {item.category for item in catalog} if name for above in categories_above(name)}
    groups = {item.variant_group for item in catalog}
    for rule in rules if catalog else ():
        if rule.category is not None and rule.category.strip() not in categories:
            yield f"{rule.rule_id}: no item of the catalog is of category {rule.category!r}"
        if rule.variant_group is not None and rule.variant_group not in groups:
            yield f"{rule.rule_id}: no item of the catalog is of variant group {rule.variant_group!r}"


def _contradicting_pins(rules: Sequence[MerchantRule], others: Sequence[MerchantRule]) -> Iterator[str]:
    """Find pins of one position of which only the earlier rule_id would hold, which nobody means."""
    pins = [rule for rule in rules if rule.action == "pin"]
    pairs = [*combinations(pins, 2), *((rule, other) for rule in pins for other in others if other.action == "pin")]
    for one, other in pairs:
        if one.position == other.position and one.priority == other.priority and _meet(one, other):
            yield (
                f"{one.rule_id} and {other.rule_id} both pin position {one.position} at one place and time: end one, "
                "or give them different priorities"
            )


def _meet(one: MerchantRule, other: MerchantRule) -> bool:
    """Return whether both can hold for one answer, neither for a deeper place than the other."""
    places = set(one.where) & set(other.where) if one.where and other.where else not one.where and not other.where
    pairs = ((one.device, other.device), (one.arm, other.arm), (one.pattern, other.pattern))
    return (
        bool(places)
        and one.starts_ms < other.ends_ms
        and other.starts_ms < one.ends_ms
        and all(None in pair or pair[0] == pair[1] for pair in pairs)
        and (not one.tiers or not other.tiers or bool(set(one.tiers) & set(other.tiers)))
    )


def _crowded_places(
    rules: Sequence[MerchantRule], new: Sequence[MerchantRule], answer_size: int, locations: LocationSettings
) -> Iterator[str]:
    """Count the positions that are pinned at once, at each place and start of a new rule's."""
    pins = [rule for rule in rules if rule.action == "pin"]
    told = set[str]()
    for rule in new:
        if rule.action != "pin":
            continue
        for place in rule.where or (None,):
            chain = () if place is None else locations.chain(place)
            here = {
                other.position
                for other in pins
                if other.starts_ms <= rule.starts_ms < other.ends_ms
                and (not other.where or any(one in chain for one in other.where))
            }
            name = "everywhere" if place is None else f"at {place!r}"
            if len(here) > MAX_PINNED_SHARE * answer_size and name not in told:
                told.add(name)
                yield f"{len(here)} of {answer_size} positions are pinned {name}: little of a list is the shopper's own"
