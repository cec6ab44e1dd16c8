"""What rules make of a ranking, after what may not be listed at all is out of it.

Their order: availability > block > include > pin > boost and bury > the most of a category. What each leaves, the next
one sees: a pin that is blocked, sold out or bought gives its position up, an item that is pinned stands nowhere else,
and a category is held to its share of what boosts and buries have brought forward, the pins of it counted.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import chain

from msgspec import Struct

from schemas.ids import ItemId, RuleId
from schemas.records import RecommendedItem
from schemas.rules import MerchantRule
from serving.filters import at_most_of_category, top_k
from serving.rules.book import Plan
from serving.rules.targets import ItemFacts, Targets


class Placed(Struct, frozen=True, gc=False):
    """A list as the rules have it.

    by: the rules that changed it, as far as it was looked at. has_ranked: whether anything of the ranking stood behind
    it; False = all of it is what pins and includes name.
    """

    items: list[RecommendedItem]
    by: AbstractSet[RuleId]
    has_ranked: bool


class Listing(Struct, frozen=True, gc=False):
    """What else decides about a list, and how long it is.

    may_be_listed: whether an item is there to be had by this shopper at all. facts: of the place and time of the list.
    most_of_category: so many items of one category, then all others; 0 = any number.
    """

    may_be_listed: Callable[[ItemId], bool]
    facts: ItemFacts
    size: int
    most_of_category: int = 0


def place(
    ranked: Iterable[RecommendedItem], plan: Plan, listing: Listing, further: Iterable[Iterable[RecommendedItem]] = ()
) -> Placed:
    """Make the list of `ranked`, best first, without an item twice, no longer than `listing.size`.

    No more of `ranked` is looked at than decides about the list. Of items that are variants of each other the first of
    the list stays. further: rankings that fill what rules have left out, in their order, without a score.
    """
    return _Placing(plan, listing).of(_Ahead(ranked) if plan.pins_by_rank else ranked, further)


_Eligible = tuple[RecommendedItem, str | None, MerchantRule | None]
"""An item that may be listed, with its variant group and what boosts or buries it."""
_Weighed = tuple[float, int, str | None, RecommendedItem]
"""An item by its weight, negated, and its place in the ranking, which no other one has; with its variant group."""


class _Ahead:
    """A ranking that can be looked into before it is read."""

    def __init__(self, ranked: Iterable[RecommendedItem]) -> None:
        self._rest = iter(ranked)
        self._seen: list[RecommendedItem] = []

    def __iter__(self) -> Iterator[RecommendedItem]:
        place = 0
        while place < len(self._seen) or self._reads_on():
            yield self._seen[place]
            place += 1

    def _reads_on(self) -> bool:
        item = next(self._rest, None)
        if item is not None:
            self._seen.append(item)
        return item is not None


class _Placing:
    """One list in the making."""

    def __init__(self, plan: Plan, listing: Listing) -> None:
        self._plan = plan
        self._listing = listing
        self._by = set[RuleId]()
        self._pinned: dict[int, tuple[ItemId, RuleId]] = {}
        self._taken = set[ItemId]()
        self._groups = set[str]()
        self._of_category: Counter[str] | None = None
        self._verdict = plan.verdicts(listing.facts)
        self._record = listing.facts.record
        self._left_out = 0
        self._is_ranked = True

    def of(self, ranked: Iterable[RecommendedItem], further: Iterable[Iterable[RecommendedItem]]) -> Placed:
        for pin in self._plan.pins:
            self._pin(pin, ranked)
        wanted = self._listing.size - len(self._pinned)
        rest = self._by_factors(ranked, wanted) if self._plan.reorders else self._in_order(ranked, wanted)
        has_ranked = bool(rest) and self._is_ranked
        missing = min(wanted - len(rest), self._left_out)
        for more in further if rest and missing > 0 else ():
            filled = self._in_order(more, missing)
            rest += [RecommendedItem(item.item_id, 0.0, item.rule, item.source) for item in filled]
            missing -= len(filled)
            if not missing:
                break
        items = self._with_pins(rest)
        for item in items:
            if item.rule is not None:
                self._by.add(item.rule)
        return Placed(items, self._by, has_ranked)

    def _pin(self, pin: Targets, ranked: Iterable[RecommendedItem]) -> None:
        """Give the position to the first item of the rule that may be listed and is not pinned already."""
        (rule,) = pin.rules
        assert rule.position is not None
        if rule.position > self._listing.size or rule.position in self._pinned:
            return
        facts = self._listing.facts
        about = (item.item_id for item in ranked if pin.first(item.item_id, facts) is not None)
        for item_id in rule.items or about:
            group = facts.variant_group(item_id)
            if item_id in self._taken or group in self._groups or not self._listing.may_be_listed(item_id):
                continue
            if (by := self._verdict(item_id).kept_out_by) is not None:
                self._by.add(by.rule_id)
                continue
            self._pinned[rule.position] = (item_id, rule.rule_id)
            self._taken.add(item_id)
            if group is not None:
                self._groups.add(group)
            return

    def _offered(self, ranked: Iterable[RecommendedItem]) -> Iterator[RecommendedItem]:
        """Return the ranking; what an include names comes behind a ranking that does not have it."""
        included = self._plan.included
        return iter(ranked) if included is None else chain(ranked, self._named_by(included))

    def _eligible(self, offered: Iterator[RecommendedItem]) -> Iterator[_Eligible]:
        """Leave out what is not there, kept out by a rule or looked at already, and count what only rules leave out."""
        may_be_listed, record_of, verdict, taken = self._listing.may_be_listed, self._record, self._verdict, self._taken
        for item in offered:
            item_id = item.item_id
            if item_id in taken or not may_be_listed(item_id):
                continue
            taken.add(item_id)
            kept_out_by, weighed_by = verdict(item_id)
            if kept_out_by is None:
                record = record_of(item_id)
                yield item, None if record is None else record.variant_group, weighed_by
            else:
                self._by.add(kept_out_by.rule_id)
                self._left_out += 1

    def _named_by(self, included: Targets) -> Iterator[RecommendedItem]:
        """Return the items that includes name, once the ranking is read to its end."""
        self._is_ranked = len(self._taken) > len(self._pinned)
        for rule in included.rules:
            yield from (RecommendedItem(item_id, 0.0, source="rule") for item_id in rule.items or ())

    def _in_order(self, ranked: Iterable[RecommendedItem], wanted: int) -> list[RecommendedItem]:
        """Take the first ones, of variants one."""
        if wanted <= 0:
            return []
        eligible = self._eligible(self._offered(ranked))
        return self._first((item for item, group, _ in eligible if self._is_first_variant(group)), wanted)

    def _by_factors(self, ranked: Iterable[RecommendedItem], wanted: int) -> list[RecommendedItem]:
        """Order by score times factor, and read only as far as the largest factor could lift an item into the list."""
        if wanted <= 0:
            return []
        weighed, buried = self._weighed(ranked, wanted)
        weighed.sort()
        is_first = self._is_first_variant
        listed = self._first((item for _, _, group, item in weighed if group is None or is_first(group)), wanted)
        if buried:
            stayed = {item.item_id for item in listed}
            self._by.update(item.rule for item in buried if item.rule is not None and item.item_id not in stayed)
        return listed

    def _first(self, items: Iterator[RecommendedItem], wanted: int) -> list[RecommendedItem]:
        """Take the first ones of what is in order, those beyond the most of their category behind the others."""
        if most := self._listing.most_of_category:
            category = self._listing.facts.category
            if self._of_category is None:
                pinned = (category(item_id) for item_id, _ in self._pinned.values())
                self._of_category = Counter(one for one in pinned if one is not None)
            items = at_most_of_category(items, category, most, self._of_category)
        return top_k(items, wanted)

    def _weighed(self, ranked: Iterable[RecommendedItem], wanted: int) -> tuple[list[_Weighed], list[RecommendedItem]]:
        """Return what may be in the list, and those of its first ones that a rule buries.

        Where a category is held to its share all of the ranking is: how much of it that leaves, nobody knows before.
        """
        offered, groups = self._offered(ranked), set(self._groups)
        weighed, buried = list[_Weighed](), list[RecommendedItem]()
        enough = math.inf if self._listing.most_of_category else wanted
        n_sure, is_scored = 0, True
        for number, (item, group, rule) in enumerate(self._eligible(offered)):
            is_scored = item.score > 0 if number == 0 else is_scored
            weight = item.score if is_scored else 1 / (number + 1)  # of a list without scores the order alone tells
            if rule is None or rule.factor is None:
                weighed.append((-weight, number, group, item))
            else:
                changed = _by_rule(item, rule, rule.factor)
                weighed.append((-weight * rule.factor, number, group, changed))
                if rule.action == "bury":
                    if number < wanted:
                        buried.append(changed)
                    continue
            if group not in groups:
                n_sure += 1
                if group is not None:
                    groups.add(group)
                if n_sure == enough:  # so many are sure to weigh at least as much as this one scores
                    weighed += self._lifted(offered, weight, number + 1, is_scored=is_scored)
                    break
        return weighed, buried

    def _lifted(
        self, offered: Iterator[RecommendedItem], least: float, number: int, *, is_scored: bool
    ) -> Iterator[_Weighed]:
        """Return those of the others that a boost may lift above the least weight; number: of those before them."""
        others = self._promising(offered, least) if is_scored else offered
        for place, (item, group, rule) in enumerate(self._eligible(others), number):
            weight = item.score if is_scored else 1 / (place + 1)
            if weight * self._plan.largest_factor <= least:
                return
            if rule is not None and rule.factor is not None and rule.action == "boost":
                yield -weight * rule.factor, place, group, _by_rule(item, rule, rule.factor)

    def _promising(self, offered: Iterator[RecommendedItem], least: float) -> Iterator[RecommendedItem]:
        """Return what is boosted, as far as the largest factor reaches: most of the others need no further look."""
        reach, verdict = least / self._plan.largest_factor, self._verdict
        for item in offered:
            if item.score <= reach:
                return
            rule = verdict(item.item_id).weighed_by
            if rule is not None and rule.action == "boost":
                yield item

    def _is_first_variant(self, group: str | None) -> bool:
        """Return whether no other item of a group is in the list, and take note of it."""
        if group is None:
            return True
        if group in self._groups:
            return False
        self._groups.add(group)
        return True

    def _with_pins(self, rest: list[RecommendedItem]) -> list[RecommendedItem]:
        """Put the pins at their positions, behind a list that is too short for them in the order of the positions.

        A pin has the score of what it stands before, so that the scores of a list go on to fall.
        """
        if not self._pinned:
            return rest
        items = rest.copy()
        for position, (item_id, rule_id) in sorted(self._pinned.items()):
            place = min(position - 1, len(items))
            nearest = items[place : place + 1] or items[-1:]
            score = nearest[0].score if nearest else 0.0
            items.insert(place, RecommendedItem(item_id, score, rule_id, source="rule"))
        return items


def _by_rule(item: RecommendedItem, rule: MerchantRule, factor: float) -> RecommendedItem:
    return RecommendedItem(item.item_id, item.score * factor, rule.rule_id, item.source)
