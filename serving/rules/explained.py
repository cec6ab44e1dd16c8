"""Why a rule that holds changed nothing: which other rule has its items, or its position."""

from collections.abc import Collection, Iterable, Sequence

from msgspec import Struct

from schemas.ids import ItemId, RuleId
from schemas.records import RecommendedItem
from schemas.rules import MerchantRule
from serving.rules.book import Plan
from serving.rules.placing import Listing
from serving.rules.targets import Targets


class Made(Struct, frozen=True):
    """A list that rules have made. by: those that changed it."""

    items: Sequence[RecommendedItem]
    by: Collection[RuleId]


def hidden_rules(plan: Plan, ranked: Iterable[RecommendedItem], listing: Listing, made: Made) -> dict[RuleId, RuleId]:
    """Return which rule hides each that did nothing; one whose items are not there is hidden by none.

    ranked: what the list was made of, all that may be looked at.
    """
    listed = [item.item_id for item in ranked]
    idle = [rule for rule in plan.rules if rule.rule_id not in made.by]
    hiding = ((rule, _hiding(rule, plan, listed, listing, made)) for rule in idle)
    return {rule.rule_id: by.rule_id for rule, by in hiding if by is not None}


def _hiding(rule: MerchantRule, plan: Plan, listed: list[ItemId], listing: Listing, made: Made) -> MerchantRule | None:
    if rule.action == "include":
        is_outranked = plan.included is not None and rule not in plan.included.rules
        return plan.included.rules[0] if is_outranked and plan.included is not None else None
    about = Targets((rule,))
    for item_id in dict.fromkeys((*(rule.items or ()), *listed)):
        if about.first(item_id, listing.facts) is None or not listing.may_be_listed(item_id):
            continue
        by = _deciding(rule, item_id, plan, listing, made)
        if by is not None and by is not rule:
            return by
    return None


def _deciding(rule: MerchantRule, item_id: ItemId, plan: Plan, listing: Listing, made: Made) -> MerchantRule | None:
    """Return which rule decides about an item that `rule` is about; None or `rule` itself where none hides it."""
    verdict = plan.verdict(item_id, listing.facts)
    if verdict.kept_out_by is not None:
        return verdict.kept_out_by
    pins = {pin.rules[0].rule_id: pin.rules[0] for pin in plan.pins}
    for item in made.items:
        pin = pins.get(item.rule) if item.rule is not None else None
        if pin is not None and (item.item_id == item_id or pin.position == rule.position):
            return pin
    return None if rule.action == "pin" else verdict.weighed_by
