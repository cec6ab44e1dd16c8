"""The rules, compiled: which of them hold for whom, where and when, and in which order.

Of rules of one kind that contradict each other the one for the deeper place holds, then the one of the higher priority,
then the one with the earlier rule_id.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from msgspec import Struct

from schemas.ids import ItemId
from schemas.places import LocationSettings
from schemas.records import Pattern, Tier
from schemas.rules import MerchantRule
from serving.rules.targets import ItemFacts, Targets, of_action

MOST_PLACES: Final = 256
"""That have a default list of their own because a rule names them."""
_MOST_PLANS: Final = 2_048
_MOST_KINDS: Final = 4_096
_Kind = tuple[int, str | None, str | None, str | None, Pattern | None, Tier | None]
"""Of an answer: between which changes by the clock, the deepest place of a rule, device, arm, pattern, tier."""


class Verdict(NamedTuple):
    """What rules make of an item. kept_out_by: a block, or an include of others. weighed_by: a boost or a bury."""

    kept_out_by: MerchantRule | None
    weighed_by: MerchantRule | None


class Plan:
    """The rules that hold for one kind of answer, in their order.

    pins: one each. included: what is listed alone, None = everything is.
    """

    def __init__(self, ranked: list[tuple[tuple[int, int, str], MerchantRule]]) -> None:
        rules = [rule for _, rule in ranked]
        self.rules = tuple(rules)
        self.by_id = {rule.rule_id: rule for rule in rules}
        self.pins = tuple(Targets((rule,)) for rule in of_action(rules, "pin"))
        self.pins_by_rank = any(rule.items is None for rule in of_action(rules, "pin"))
        # Includes for one place and of one priority do not contradict each other: each adds what it is about.
        includes = [(rank[:2], rule) for rank, rule in ranked if rule.action == "include"]
        self.included = _targets([rule for rank, rule in includes if rank == includes[0][0]])
        self._blocked = _targets(of_action(rules, "block"))
        self._weighed = _targets(of_action(rules, "boost", "bury"))
        self.reorders = self._weighed is not None
        self.largest_factor = max((rule.factor or 1.0 for rule in of_action(rules, "boost")), default=1.0)
        kinds = [kind for kind in (self.included, self._blocked, self._weighed) if kind is not None]
        self._named_items = {item_id for kind in kinds for item_id in kind.items}
        self._asks_times = any(kind.asks_times for kind in kinds)
        self._of_others: dict[tuple[str | None, str | None], Verdict] = {}

    def verdict(self, item_id: ItemId, group: str | None, facts: ItemFacts) -> Verdict:
        """Return what the rules make of an item of this variant group.

        For an item that none of them names it follows from category and group, and those come again.
        """
        if self._asks_times or item_id in self._named_items:
            return self._verdict(item_id, facts)
        kind = (facts.category(item_id), group)
        verdict = self._of_others.get(kind)
        if verdict is None:
            if len(self._of_others) >= _MOST_KINDS:
                self._of_others.clear()
            verdict = self._of_others[kind] = self._verdict(item_id, facts)
        return verdict

    def _verdict(self, item_id: ItemId, facts: ItemFacts) -> Verdict:
        kept_out_by = None if self._blocked is None else self._blocked.first(item_id, facts)
        if kept_out_by is None and self.included is not None and self.included.first(item_id, facts) is None:
            kept_out_by = self.included.rules[0]
        return Verdict(kept_out_by, None if self._weighed is None else self._weighed.first(item_id, facts))


class Asked(Struct, frozen=True, gc=False):
    """For whom a list is made, where and when.

    now_ms: Unix milliseconds by the clock; in a replay the event's time. pattern: asked only where a rule names one.
    """

    now_ms: int
    location: str | None = None
    device: str | None = None
    arm: str | None = None
    pattern: Callable[[], Pattern | None] = lambda: None


class RuleBook:
    """Immutable. What holds for one kind of answer is compiled when it is first asked for."""

    def __init__(self, rules: Iterable[MerchantRule], locations: LocationSettings | None = None) -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: rule.rule_id))
        self._locations = locations or LocationSettings()
        self._where = {rule.rule_id: tuple(map(self._trimmed, rule.where)) for rule in self.rules}
        self._places = {place for places in self._where.values() for place in places}
        self._devices = {rule.device for rule in self.rules}
        self._arms = {rule.arm for rule in self.rules}
        self._tiers = {tier for rule in self.rules for tier in rule.tiers}
        self._asks_patterns = any(rule.pattern is not None for rule in self.rules)
        times = {rule.starts_ms for rule in self.rules} | {rule.ends_ms for rule in self.rules}
        self._changes_ms = sorted(times)
        self._plans: dict[_Kind, Plan | None] = {}

    def __len__(self) -> int:
        """Count the rules, those that do not hold now among them."""
        return len(self.rules)

    def in_force(self, now_ms: int) -> list[MerchantRule]:
        """Return the rules that hold for somebody at this time, Unix milliseconds."""
        return [rule for rule in self.rules if rule.starts_ms <= now_ms < rule.ends_ms]

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
        if not self.rules:
            return None
        key: _Kind = (
            self.period(asked.now_ms),
            self._deepest(asked.location),
            asked.device if asked.device in self._devices else None,
            asked.arm if asked.arm in self._arms else None,
            asked.pattern() if self._asks_patterns else None,
            tier if tier in self._tiers else None,
        )
        if key in self._plans:
            return self._plans[key]
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        plan = self._plans[key] = self._compiled(key)
        return plan

    def _compiled(self, kind: _Kind) -> Plan | None:
        period, place, device, arm, pattern, tier = kind
        since_ms = self._changes_ms[period - 1] if period else -1
        depths = {} if place is None else dict(self._depths(place))
        ranked = []
        for rule in self.rules:
            where = self._where[rule.rule_id]
            depth = max((depths.get(one, 0) for one in where), default=0)
            if (
                rule.starts_ms <= since_ms < rule.ends_ms
                and (depth or not where)
                and rule.device in {None, device}
                and rule.arm in {None, arm}
                and rule.pattern in {None, pattern}
                and (not rule.tiers or tier in rule.tiers)
            ):
                ranked.append(((-depth, -rule.priority, rule.rule_id), rule))
        return Plan(sorted(ranked, key=lambda one: one[0])) if ranked else None

    def _deepest(self, location: str | None) -> str | None:
        """Find the deepest place of a rule that the location lies in; what lies around it follows from it."""
        if location is None or not self._places:
            return None
        return next((place for place in self._locations.chain(location) if place in self._places), None)

    def _depths(self, place: str) -> Iterable[tuple[str, int]]:
        chain = self._locations.chain(place)
        return zip(chain, range(len(chain), 0, -1), strict=True)

    def _trimmed(self, place: str) -> str:
        separator = self._locations.separator
        return place.rstrip(separator) or place if separator else place


NO_RULES: Final = RuleBook(())


def _targets(rules: list[MerchantRule]) -> Targets | None:
    return Targets(rules) if rules else None
