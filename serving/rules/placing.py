"""What rules make of a ranking, after what may not be listed at all is out of it.

Their order: availability > block > include > pin > boost and bury. What each leaves, the next one sees: a pin that is
blocked, sold out or bought gives its position up, and an item that is pinned stands nowhere else. What is to be held to
a share of the list, or kept from the list before, has its turn on the order that boosts and buries make, before the
pins take their positions.
"""

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain

from msgspec import structs

from schemas.ids import ItemId, RuleId
from schemas.records import RecommendedItem
from schemas.rules import MerchantRule
from serving.rules.book import Plan
from serving.rules.targets import ItemFacts, Targets


@dataclass(frozen=True, slots=True)
class Placed:
    """A list as the rules have it.

    by: the rules that changed it, as far as it was looked at. has_ranked: whether anything of the ranking stood behind
    it; False = all of it is what pins and includes name.
    """

    items: list[RecommendedItem]
    by: AbstractSet[RuleId]
    has_ranked: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """What else decides about a list, and how long it is.

    may_be_listed: whether an item is there to be had by this shopper at all. facts: of the place and time of the list.
    """

    may_be_listed: Callable[[ItemId], bool]
    facts: ItemFacts
    size: int


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
        self._left_out = 0
        self._is_ranked = True

    def of(self, ranked: Iterable[RecommendedItem], further: Iterable[Iterable[RecommendedItem]]) -> Placed:
        for pin in self._plan.pins:
            self._pin(pin, ranked)
        wanted = self._listing.size - len(self._pinned)
        rest = self._by_factors(ranked, wanted) if self._plan.reorders else self._in_order(ranked, wanted)
        missing = min(wanted - len(rest), self._left_out)
        for more in further if rest and missing > 0 else ():
            filled = self._in_order(more, missing)
            rest += [structs.replace(item, score=0.0) for item in filled]
            missing -= len(filled)
            if not missing:
                break
        items = self._with_pins(rest)
        self._by.update(item.rule for item in items if item.rule is not None)
        return Placed(items, self._by, bool(rest) and self._is_ranked)

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
            if (by := self._plan.verdict(item_id, group, facts).kept_out_by) is not None:
                self._by.add(by.rule_id)
                continue
            self._pinned[rule.position] = (item_id, rule.rule_id)
            self._taken.add(item_id)
            if group is not None:
                self._groups.add(group)
            return

    def _eligible(self, ranked: Iterable[RecommendedItem]) -> Iterator[_Eligible]:
        """Leave out what is not there, kept out by a rule or looked at already, and count what only rules leave out.

        Items that an include names come after the ranking that does not have them.
        """
        facts, plan, may_be_listed, taken = self._listing.facts, self._plan, self._listing.may_be_listed, self._taken
        variant_group, verdict = facts.variant_group, plan.verdict
        for item in ranked if plan.included is None else chain(ranked, self._named_by(plan.included)):
            item_id = item.item_id
            if item_id in taken or not may_be_listed(item_id):
                continue
            taken.add(item_id)
            group = variant_group(item_id)
            kept_out_by, weighed_by = verdict(item_id, group, facts)
            if kept_out_by is None:
                yield item, group, weighed_by
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
        listed = list[RecommendedItem]()
        for item, group, _ in self._eligible(ranked) if wanted > 0 else ():
            if self._is_first_variant(group):
                listed.append(item)
                if len(listed) == wanted:
                    break
        return listed

    def _by_factors(self, ranked: Iterable[RecommendedItem], wanted: int) -> list[RecommendedItem]:
        """Order by score times factor, and read only as far as the largest factor could lift an item into the list."""
        weighed, buried = self._weighed(ranked, wanted) if wanted > 0 else ([], [])
        weighed.sort()
        listed = list[RecommendedItem]()
        for _, _, group, item in weighed:
            if len(listed) == wanted:
                break
            if self._is_first_variant(group):
                listed.append(item)
        if buried:
            stayed = {item.item_id for item in listed}
            self._by.update(item.rule for item in buried if item.rule is not None and item.item_id not in stayed)
        return listed

    def _weighed(self, ranked: Iterable[RecommendedItem], wanted: int) -> tuple[list[_Weighed], list[RecommendedItem]]:
        """Return what may be in the list, and those of its first ones that a rule buries."""
        largest, groups = self._plan.largest_factor, set(self._groups)
        weighed, buried = list[_Weighed](), list[RecommendedItem]()
        n_sure, least, is_scored = 0, 0.0, True
        for number, (item, group, rule) in enumerate(self._eligible(ranked)):
            is_scored = item.score > 0 if number == 0 else is_scored
            weight = item.score if is_scored else 1 / (number + 1)  # of a list without scores the order alone tells
            if n_sure == wanted:  # so many others are sure to weigh at least as much as the last of them scores
                if weight * largest <= least:
                    break
                if rule is None:
                    continue
            elif (rule is None or rule.action == "boost") and group not in groups:
                n_sure, least = n_sure + 1, weight
                if group is not None:
                    groups.add(group)
            if rule is not None and rule.factor is not None:
                weight *= rule.factor
                item = structs.replace(item, score=item.score * rule.factor, rule=rule.rule_id)  # noqa: PLW2901
                if rule.action == "bury" and number < wanted:
                    buried.append(item)
            weighed.append((-weight, number, group, item))
        return weighed, buried

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
        items = rest.copy()
        for position, (item_id, rule_id) in sorted(self._pinned.items()):
            place = min(position - 1, len(items))
            nearest = items[place : place + 1] or items[-1:]
            score = nearest[0].score if nearest else 0.0
            items.insert(place, RecommendedItem(item_id, score, rule_id, source="rule"))
        return items
