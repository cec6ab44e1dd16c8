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
from operator import itemgetter

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


_Eligible = tuple[float, str | None, RecommendedItem, MerchantRule | None]
"""An item that may be listed, with its weight, its variant group and what boosts or buries it."""


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
        self._by: set[RuleId] = set()
        self._pinned: dict[int, tuple[ItemId, RuleId]] = {}
        self._taken: set[ItemId] = set()
        self._groups: set[str] = set()
        self._of_category: Counter[str] | None = None
        self._verdict = plan.verdicts(listing.facts)
        self._record = listing.facts.record
        self._left_out = 0
        self._is_ranked = True
        self._is_scored = True

    def of(self, ranked: Iterable[RecommendedItem], further: Iterable[Iterable[RecommendedItem]]) -> Placed:
        for pin in self._plan.pins:
            self._pin(pin, ranked)
        wanted = self._listing.size - len(self._pinned)
        rest = self._by_factors(ranked, wanted) if self._plan.reorders else self._in_order(ranked, wanted)
        has_ranked = bool(rest) and self._is_ranked
        missing = min(wanted - len(rest), self._left_out)
        for more in further if has_ranked and missing > 0 else ():  # else they are the next to be asked themselves
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
            if (by := self._verdict(item_id, facts.record(item_id)).kept_out_by) is not None:
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

    def _eligible(self, offered: Iterator[RecommendedItem], begin: int = 0) -> Iterator[_Eligible]:
        """Leave out what is not there, kept out by a rule or looked at already, and count what only rules leave out.

        The weights are those before a boost or a bury. begin: the place of the first item.
        """
        may_be_listed, record_of, verdict, taken = self._listing.may_be_listed, self._record, self._verdict, self._taken
        is_scored, place = self._is_scored, begin
        for item in offered:
            item_id = item.item_id
            if item_id in taken or not may_be_listed(item_id):
                continue
            taken.add(item_id)
            record = record_of(item_id)
            kept_out_by, weighed_by = verdict(item_id, record)
            if kept_out_by is not None:
                self._by.add(kept_out_by.rule_id)
                self._left_out += 1
                continue
            if place == 0:
                is_scored = self._is_scored = item.score > 0
            place += 1
            weight = item.score if is_scored else 1 / place  # of a list without scores the order alone tells
            yield weight, None if record is None else record.variant_group, item, weighed_by

    def _named_by(self, included: Targets) -> Iterator[RecommendedItem]:
        """Return the items that includes name, once the ranking is read to its end."""
        self._is_ranked = len(self._taken) > len(self._pinned)
        for rule in included.rules:
            yield from (RecommendedItem(item_id, 0.0, source="rule") for item_id in rule.items or ())

    def _in_order(self, ranked: Iterable[RecommendedItem], wanted: int) -> list[RecommendedItem]:
        """Take the first ones, of variants one."""
        if wanted <= 0:
            return []
        return self._first(self._eligible(self._offered(ranked)), wanted)

    def _by_factors(self, ranked: Iterable[RecommendedItem], wanted: int) -> list[RecommendedItem]:
        """Order by score times factor, and read only as far as the largest factor could lift an item into the list."""
        if wanted <= 0:
            return []
        weighed, buried = self._weighed(ranked, wanted)
        weighed.sort(key=itemgetter(0), reverse=True)  # stable: of equal ones the order of the ranking stays
        listed = self._first(weighed, wanted)
        if buried:
            stayed = {item.item_id for item in listed}
            self._by.update(item.rule for item in buried if item.rule is not None and item.item_id not in stayed)
        return listed

    def _first(self, eligible: Iterable[_Eligible], wanted: int) -> list[RecommendedItem]:
        """Take the first ones of what is in order, of variants one, those beyond the most of a category last."""
        items = self._without_variants(eligible)
        if most := self._listing.most_of_category:
            category = self._listing.facts.category
            if self._of_category is None:
                pinned = (category(item_id) for item_id, _ in self._pinned.values())
                self._of_category = Counter(one for one in pinned if one is not None)
            items = at_most_of_category(items, category, most, self._of_category)
        return top_k(items, wanted)

    def _weighed(self, ranked: Iterable[RecommendedItem], wanted: int) -> tuple[list[_Eligible], list[RecommendedItem]]:
        """Return what may be in the list, and those of its first ones that a rule buries.

        Where a category is held to its share all of the ranking is: how much of it that leaves, nobody knows before.
        """
        offered, groups = self._offered(ranked), self._groups.copy()
        weighed: list[_Eligible] = []
        buried: list[RecommendedItem] = []
        enough, n_sure = math.inf if self._listing.most_of_category else wanted, 0
        for one in self._eligible(offered):
            weight, group, _, rule = one
            if rule is None:
                weighed.append(one)
            else:
                changed = _by_rule(one, rule)
                weighed.append(changed)
                if rule.action == "bury":
                    if len(weighed) <= wanted:
                        buried.append(changed[2])
                    continue
            if group is not None:
                if group in groups:
                    continue
                groups.add(group)
            n_sure += 1
            if n_sure == enough:  # so many are sure to weigh at least as much as this one scores
                if self._plan.boosts or not self._is_scored:
                    weighed += self._lifted(offered, weight, len(weighed))
                break
        return weighed, buried

    def _lifted(self, offered: Iterator[RecommendedItem], least: float, begin: int) -> Iterator[_Eligible]:
        """Return those of the others that a boost may lift above the least weight; begin: the place of the first."""
        others = self._promising(offered, least) if self._is_scored else offered
        for one in self._eligible(others, begin):
            weight, _, _, rule = one
            if weight * self._plan.largest_factor <= least:
                return
            if rule is not None and rule.action == "boost":
                yield _by_rule(one, rule)

    def _promising(self, offered: Iterator[RecommendedItem], least: float) -> Iterator[RecommendedItem]:
        """Return what is boosted, as far as the largest factor reaches: most of the others need no further look."""
        reach, verdict, record_of = least / self._plan.largest_factor, self._verdict, self._record
        for item in offered:
            if item.score <= reach:
                return
            rule = verdict(item.item_id, record_of(item.item_id)).weighed_by
            if rule is not None and rule.action == "boost":
                yield item

    def _without_variants(self, eligible: Iterable[_Eligible]) -> Iterator[RecommendedItem]:
        """Leave out what is a variant of an item of the list, and take note of the groups of the others."""
        groups = self._groups
        for _, group, item, _ in eligible:
            if group is not None:
                if group in groups:
                    continue
                groups.add(group)
            yield item

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


def _by_rule(one: _Eligible, rule: MerchantRule) -> _Eligible:
    weight, group, item, _ = one
    factor = rule.factor or 1.0
    changed = RecommendedItem(item.item_id, item.score * factor, rule.rule_id, item.source)
    return weight * factor, group, changed, rule
