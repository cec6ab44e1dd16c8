"""The rules, compiled: which of them hold for whom, where and when, and in which order.

Of rules of one kind that contradict each other the one for the deeper place holds, then the one of the higher priority,
then the one with the earlier rule_id.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Final, NamedTuple

from msgspec import Struct

from schemas.ids import ItemId, RuleId
from schemas.places import LocationSettings, trimmed
from schemas.records import CatalogItem, Pattern, Tier
from schemas.rules import MerchantRule
from serving.rules.targets import ItemFacts, Targets, of_action

MOST_PLACES: Final = 256
"""That have a default list of their own because a rule names them."""
_MOST_PLANS: Final = 2_048
_MOST_PLANNED_RULES: Final = 200_000
"""In all plans: some 20 MB."""
_MOST_KINDS: Final = 4_096
_Kind = tuple[int, str | None, str | None, str | None, Pattern | None, Tier | None]
"""Of an answer: between which changes by the clock, the deepest place of a rule, device, arm, pattern, tier."""
_Shelf = tuple[str | None, str | None, str | None, Pattern | None]
"""Of rules: for this place, device, arm and pattern; None = for any."""


_Ranked = tuple[tuple[int, int, str], MerchantRule]
"""A rule behind what it is sorted by: its depth and its priority, both negated, and its id."""


class Verdict(NamedTuple):
    """What rules make of an item. kept_out_by: a block, or an include of others. weighed_by: a boost or a bury."""

    kept_out_by: MerchantRule | None
    weighed_by: MerchantRule | None


class Plan:
    """The rules that hold for one kind of answer, in their order; targets: what finds the first of some for an item.

    pins: one each. included: what is listed alone, None = everything is.
    """

    def __init__(self, ranked: list[_Ranked], targets: Callable[[list[MerchantRule]], Targets | None]) -> None:
        rules = [rule for _, rule in ranked]
        self.rules = tuple(rules)
        self.by_id = {rule.rule_id: rule for rule in rules}
        self.pins = tuple(Targets((rule,)) for rule in of_action(rules, "pin"))
        self.pins_by_rank = any(rule.items is None for rule in of_action(rules, "pin"))
        # Includes for one place and of one priority do not contradict each other: each adds what it is about.
        includes = [(rank[:2], rule) for rank, rule in ranked if rule.action == "include"]
        self.included = targets([rule for rank, rule in includes if rank == includes[0][0]])
        self._blocked = targets(of_action(rules, "block"))
        self._weighed = targets(of_action(rules, "boost", "bury"))
        self.reorders = self._weighed is not None
        self.buries = any(rule.action == "bury" for rule in rules)
        self.boosts = any(rule.action == "boost" for rule in rules)
        self.largest_factor = max((rule.factor or 1.0 for rule in of_action(rules, "boost")), default=1.0)
        kinds = [kind for kind in (self.included, self._blocked, self._weighed) if kind is not None]
        self._named_items = [kind.items for kind in kinds if kind.items]
        self._asks_groups = any(kind.asks_groups for kind in kinds)
        self._asks_categories = any(kind.asks_categories for kind in kinds)
        self._asks_sales = any(kind.asks_sales for kind in kinds)
        self._new_ms = sorted({most_ms for kind in kinds for most_ms in kind.new_ms})
        self._of_kinds: dict[object, Verdict] = {}

    def verdict(self, item_id: ItemId, facts: ItemFacts) -> Verdict:
        """Return what the rules make of an item."""
        kept_out_by = None if self._blocked is None else self._blocked.first(item_id, facts)
        if kept_out_by is None and self.included is not None and self.included.first(item_id, facts) is None:
            kept_out_by = self.included.rules[0]
        return Verdict(kept_out_by, None if self._weighed is None else self._weighed.first(item_id, facts))

    def verdicts(self, facts: ItemFacts) -> Callable[[ItemId, CatalogItem | None], Verdict]:
        """Return what tells the verdict for one item after the other, each with its record of these facts.

        It follows from whether a rule names the item and from what rules ask of it: and those come again.
        """
        named_items, of_kinds = self._named_items, self._of_kinds
        asks_categories, of_more = self._asks_categories, self._kind_of(facts)

        def verdict(item_id: ItemId, record: CatalogItem | None) -> Verdict:
            kind: object = None
            if of_more is not None:
                kind = of_more(item_id, record)
            elif asks_categories and record is not None:
                kind = record.category
            for items in named_items:
                if item_id in items:
                    kind = (item_id, kind, None)  # of three, no other has so many
                    break
            found = of_kinds.get(kind)
            if found is None:
                if len(of_kinds) >= _MOST_KINDS:
                    of_kinds.clear()
                found = self.verdict(item_id, facts)
                if facts.record(item_id) == record:  # else another one came meanwhile
                    of_kinds[kind] = found
            return found

        return verdict

    def _kind_of(self, facts: ItemFacts) -> Callable[[ItemId, CatalogItem | None], object] | None:
        """Return what tells what rules ask of an item, where that is more than its category."""
        if not (self._asks_groups or self._asks_sales or self._new_ms):
            return None
        asks_sales, new_ms = self._asks_sales, self._new_ms

        def kind_of(item_id: ItemId, record: CatalogItem | None) -> tuple[str | None, str | None, bool, int]:
            newest = -1
            if new_ms and (age_ms := facts.age_ms(item_id)) is not None and age_ms >= 0:
                newest = bisect_left(new_ms, age_ms)
            return (
                record.category if record is not None and self._asks_categories else None,
                record.variant_group if record is not None and self._asks_groups else None,
                asks_sales and facts.is_on_sale(item_id),
                newest,
            )

        return kind_of


class Asked(Struct, frozen=True, gc=False):
    """For whom a list is made, where and when.

    now_ms: Unix milliseconds by the clock; in a replay the event's time. pattern: asked only where a rule names one.
    """

    now_ms: int
    location: str | None = None
    device: str | None = None
    arm: str | None = None
    pattern: Callable[[], Pattern | None] = lambda: None


class _Entry(Struct, frozen=True, gc=False):
    """A rule, with what it is found by. where: trimmed; () = everywhere."""

    rule: MerchantRule
    where: tuple[str, ...]
    starts_ms: int
    ends_ms: int

    @property
    def shelves(self) -> Iterator[_Shelf]:
        """Return where it lies: at each of its places, with the other conditions that there is one of."""
        rule = self.rule
        return ((place, rule.device, rule.arm, rule.pattern) for place in self.where or (None,))

    @property
    def times_ms(self) -> list[int]:
        """Return when it begins and ends to hold, where it does."""
        rule = self.rule
        pairs = ((rule.starts_at, self.starts_ms), (rule.ends_at, self.ends_ms))
        return [time_ms for time, time_ms in pairs if time is not None]


class RuleBook:
    """Immutable. What holds for one kind of answer is compiled when it is first asked for, from what may hold there.

    So neither a change nor an answer of a new kind takes longer for what holds elsewhere and for others.
    """

    def __init__(self, rules: Iterable[MerchantRule], locations: LocationSettings | None = None) -> None:
        self._locations = locations or LocationSettings()
        self._entries = dict[RuleId, _Entry]()
        self._shelves = dict[_Shelf, dict[RuleId, _Entry]]()
        self._places, self._devices, self._arms = Counter[str](), Counter[str](), Counter[str]()
        self._patterns, self._tiers = Counter[str](), Counter[str]()
        self._changes_ms = list[int]()
        self._plans = dict[_Kind, Plan | None]()
        self._plans_by_rules = dict[tuple[object, ...], Plan]()
        self._targets = dict[tuple[RuleId, ...], Targets]()
        self._planned_rules = 0
        self._change({rule.rule_id: rule for rule in rules})

    def with_changes(self, changes: Mapping[RuleId, MerchantRule | None]) -> "RuleBook":
        """Return the book after rules were put, in place of those of their names, or removed, None."""
        book = RuleBook((), self._locations)
        book._entries, book._shelves = self._entries.copy(), self._shelves.copy()
        book._places, book._devices, book._arms = self._places.copy(), self._devices.copy(), self._arms.copy()
        book._patterns, book._tiers = self._patterns.copy(), self._tiers.copy()
        book._changes_ms = self._changes_ms.copy()
        book._change(changes)
        return book

    def __len__(self) -> int:
        """Count the rules, those that do not hold now among them."""
        return len(self._entries)

    @property
    def rules(self) -> tuple[MerchantRule, ...]:
        """Return all rules, by rule_id."""
        return tuple(self._entries[rule_id].rule for rule_id in sorted(self._entries))

    def in_force(self, now_ms: int) -> list[MerchantRule]:
        """Return the rules that hold for somebody at this time, Unix milliseconds."""
        return [one.rule for one in self._entries.values() if one.starts_ms <= now_ms < one.ends_ms]

    def period(self, now_ms: int) -> int:
        """Count the starts and ends of rules up to this time, Unix milliseconds: in between the same rules hold."""
        return bisect_right(self._changes_ms, now_ms)

    @property
    def places(self) -> tuple[str, ...]:
        """Return the places that rules name, by name, at most `MOST_PLACES`."""
        return tuple(sorted(self._places)[:MOST_PLACES])

    def plan(self, asked: Asked, tier: Tier) -> Plan | None:
        """Return what holds for an answer of this tier; None where nothing does.

        What nobody's rule names makes no difference, so that strangers' texts make no plans.
        """
        if not self._entries:
            return None
        key: _Kind = (
            self.period(asked.now_ms),
            self._deepest(asked.location),
            asked.device if asked.device in self._devices else None,
            asked.arm if asked.arm in self._arms else None,
            asked.pattern() if self._patterns else None,
            tier if tier in self._tiers else None,
        )
        try:
            return self._plans[key]
        except KeyError:
            plan = self._compiled(key)
        if len(self._plans) >= _MOST_PLANS or self._planned_rules > _MOST_PLANNED_RULES:
            self._plans.clear()
            self._plans_by_rules.clear()
            self._targets.clear()
            self._planned_rules = 0 if plan is None else len(plan.rules)
        self._plans[key] = plan
        return plan

    def _change(self, changes: Mapping[RuleId, MerchantRule | None]) -> None:
        """Take rules in and out; the shelves are another book's, too, until they are copied."""
        own, times_ms = set[_Shelf](), list[int]()
        for rule_id, rule in changes.items():
            if (before := self._entries.pop(rule_id, None)) is not None:
                for shelf in before.shelves:
                    self._own(shelf, own).pop(rule_id)
                    if not self._shelves[shelf]:
                        del self._shelves[shelf]
                for time_ms in before.times_ms:
                    self._changes_ms.pop(bisect_left(self._changes_ms, time_ms))
                self._count(before, -1)
            if rule is not None:
                where = tuple(dict.fromkeys(map(self._trimmed, rule.where)))
                entry = self._entries[rule_id] = _Entry(rule, where, rule.starts_ms, rule.ends_ms)
                for shelf in entry.shelves:
                    self._own(shelf, own)[rule_id] = entry
                times_ms += entry.times_ms
                self._count(entry, 1)
        self._changes_ms += times_ms
        self._changes_ms.sort()

    def _own(self, shelf: _Shelf, own: set[_Shelf]) -> dict[RuleId, _Entry]:
        """Return what lies on a shelf, to be changed."""
        if shelf not in own or shelf not in self._shelves:
            own.add(shelf)
            self._shelves[shelf] = dict(self._shelves.get(shelf, {}))
        return self._shelves[shelf]

    def _count(self, entry: _Entry, by: int) -> None:
        """Count which names tell answers apart."""
        rule = entry.rule
        for counts, names in (
            (self._places, entry.where),
            (self._devices, (rule.device,)),
            (self._arms, (rule.arm,)),
            (self._patterns, (rule.pattern,)),
            (self._tiers, set(rule.tiers)),
        ):
            for name in names:
                if name is None:
                    continue
                counts[name] += by
                if not counts[name]:
                    del counts[name]

    def _compiled(self, kind: _Kind) -> Plan | None:
        period, place, device, arm, pattern, tier = kind
        since_ms = self._changes_ms[period - 1] if period else 0
        chain = () if place is None else self._locations.chain(place)
        whom = list(product({None, device}, {None, arm}, {None, pattern}))
        ranked = dict[RuleId, _Ranked]()
        for depth, at in zip(range(len(chain), -1, -1), (*chain, None), strict=True):  # the deepest first
            for conditions in whom:
                for rule_id, entry in self._shelves.get((at, *conditions), {}).items():
                    rule = entry.rule
                    holds_now = entry.starts_ms <= since_ms < entry.ends_ms
                    if holds_now and rule_id not in ranked and (not rule.tiers or tier in rule.tiers):
                        ranked[rule_id] = ((-depth, -rule.priority, rule_id), rule)
        return self._plan_of(sorted(ranked.values(), key=lambda one: one[0])) if ranked else None

    def _plan_of(self, ranked: list[_Ranked]) -> Plan:
        """Return the plan of some rules: for most places it is that of others, too."""
        key = tuple((rule.rule_id, rank[:2] if rule.action == "include" else None) for rank, rule in ranked)
        plan = self._plans_by_rules.get(key)
        if plan is None:
            plan = self._plans_by_rules[key] = Plan(ranked, self._targets_of)
            self._planned_rules += len(plan.rules)
        return plan

    def _targets_of(self, rules: list[MerchantRule]) -> Targets | None:
        """Return what finds the first of these; plans that differ in others share it, since it has all their items."""
        if not rules:
            return None
        key = tuple(rule.rule_id for rule in rules)
        targets = self._targets.get(key)
        if targets is None:
            targets = self._targets[key] = Targets(rules)
        return targets

    def _deepest(self, location: str | None) -> str | None:
        """Find the deepest place of a rule that the location lies in; what lies around it follows from it."""
        if not location or not self._places:
            return None
        if location in self._places:
            return location
        for place in self._locations.chain(location):
            if place in self._places:
                return place
        return None

    def _trimmed(self, place: str) -> str:
        return trimmed(place, self._locations.separator) or place


NO_RULES: Final = RuleBook(())
