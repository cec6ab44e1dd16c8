"""Merchants' rules: what a person decides about lists, as records of the compacted topic `merchant-rules`.

A record is keyed by its `rule_id`. The latest one that can be read counts, a tombstone ends the rule. What the topic
keeps of earlier ones, 30 days by its settings, is the audit of who put which rule when.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from schemas.errors import without_input
from schemas.events import Instant, unix_ms
from schemas.ids import MAX_ID_BYTES, ItemId, RuleId, utf8_bytes
from schemas.records import MAX_CATEGORY_LENGTH, Pattern, Tier

RuleAction = Literal["pin", "boost", "bury", "block", "include"]
UnreadableRuleReason = Literal["unreadable_key", "too_large", "undecodable", "invalid_rule", "key_mismatch", "too_many"]

RULE_ACTIONS: Final[tuple[RuleAction, ...]] = get_args(RuleAction)
UNREADABLE_RULE_REASONS: Final[tuple[UnreadableRuleReason, ...]] = get_args(UnreadableRuleReason)
MAX_RULE_BYTES: Final = 1 << 18
MAX_RULES: Final = 10_000
"""That a worker holds, of those that are not over. One more is refused, those that are there stay."""
MAX_RULE_ITEMS: Final = 1_000
MAX_RULE_PLACES: Final = 1_000
MAX_POSITION: Final = 100
MAX_FACTOR: Final = 100.0
MAX_NEW_DAYS: Final = 3_650
MAX_PRIORITY: Final = 1_000_000
MAX_NOTE_LENGTH: Final = 1024
TARGETS: Final = ("items", "category", "variant_group", "on_sale", "new_days")
"""The fields that say which items a rule is about; a rule has one of them."""
END_OF_TIME_MS: Final = 2**62

_Label = Annotated[str, Meta(min_length=1, max_length=MAX_ID_BYTES)]


class MerchantRule(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a merchant has decided about some items, where and when; an unknown field refuses the rule.

    It has one of `items`, `category`, `variant_group`, `on_sale` and `new_days`. A pin has a `position`, a boost and a
    bury have a `factor`. Without a condition it holds everywhere, always, for everybody.
    """

    rule_id: Annotated[RuleId, Meta(min_length=1, max_length=MAX_ID_BYTES, description="The record's key.")]
    action: Annotated[
        RuleAction,
        Meta(
            description="`pin`: at its position. `boost`, `bury`: the score times the factor. `block`: never listed. "
            "`include`: nothing else is listed."
        ),
    ]
    items: Annotated[
        Annotated[
            tuple[Annotated[ItemId, Meta(min_length=1, max_length=MAX_ID_BYTES)], ...],
            Meta(min_length=1, max_length=MAX_RULE_ITEMS),
        ]
        | None,
        Meta(description="These items; a pin takes the first of them that may be listed."),
    ] = None
    category: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MAX_CATEGORY_LENGTH)] | None,
        Meta(description="Items of this category of the catalog, and of those below it: `food` has `food/fruit`."),
    ] = None
    variant_group: Annotated[_Label | None, Meta(description="Items of this variant group of the catalog.")] = None
    on_sale: Annotated[bool, Meta(description="Items that are on sale where the shopper is.")] = False
    new_days: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_NEW_DAYS)] | None,
        Meta(description="Items that have been available for at most so many days."),
    ] = None
    position: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_POSITION)] | None, Meta(description="Of a pin: its place in the list, from 1.")
    ] = None
    factor: Annotated[
        Annotated[float, Meta(gt=0, le=MAX_FACTOR)] | None,
        Meta(description="Of a boost, above 1; of a bury, below 1."),
    ] = None
    where: Annotated[
        tuple[_Label, ...],
        Meta(
            max_length=MAX_RULE_PLACES,
            description="Places where it holds, with all below them: `nl` has `nl/ams`; absent = everywhere.",
        ),
    ] = ()
    starts_at: Annotated[Instant | None, Meta(description="From then on; absent = at once.")] = None
    ends_at: Annotated[Instant | None, Meta(description="Until then, exclusive; absent = until it is removed.")] = None
    device: Annotated[_Label | None, Meta(description="Only on this device, in the words of the clicks.")] = None
    pattern: Annotated[Pattern | None, Meta(description="Only while the session looks like this.")] = None
    arm: Annotated[_Label | None, Meta(description="Only in this arm: the click's `experiment`.")] = None
    tiers: Annotated[tuple[Tier, ...], Meta(description="Only in answers of these tiers; absent = of all.")] = ()
    priority: Annotated[
        int,
        Meta(
            ge=-MAX_PRIORITY,
            le=MAX_PRIORITY,
            description="Of rules that contradict each other the one for the deeper place holds, then the higher "
            "priority, then the earlier rule_id.",
        ),
    ] = 0
    author: Annotated[str, Meta(max_length=MAX_ID_BYTES, description="Who put it, for the audit.")] = ""
    note: Annotated[str, Meta(max_length=MAX_NOTE_LENGTH, description="Why, for the audit.")] = ""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself; the message names the field."""
        for name, problem in self._problems():
            raise ValueError(f"{name}: {problem}")

    @property
    def target(self) -> str:
        """Return the name of the field that says which items it is about."""
        return next(name for name in TARGETS if getattr(self, name))

    @property
    def starts_ms(self) -> int:
        """Unix milliseconds from which it holds."""
        return 0 if self.starts_at is None else unix_ms(self.starts_at)

    @property
    def ends_ms(self) -> int:
        """Unix milliseconds from which it does not hold any more."""
        return END_OF_TIME_MS if self.ends_at is None else unix_ms(self.ends_at)

    def _problems(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        given = [name for name in TARGETS if getattr(self, name)]
        if len(given) != 1:
            found.append((" | ".join(TARGETS), f"give one of them, found {', '.join(given) or 'none'}"))
        if (self.position is None) is (self.action == "pin"):
            found.append(("position", "a pin has one, from 1" if self.action == "pin" else "only a pin has one"))
        found += [("factor", problem) for problem in self._factor_problems()]
        if self.starts_at is not None and self.ends_at is not None and self.ends_at <= self.starts_at:
            found.append(("ends_at", "must be after starts_at"))
        return found + [("ids and labels", problem) for problem in self._size_problems()]

    def _factor_problems(self) -> list[str]:
        if self.action not in {"boost", "bury"}:
            return [] if self.factor is None else ["only a boost and a bury have one"]
        if self.factor is None:
            return [f"a {self.action} has one"]
        if self.action == "boost" and self.factor <= 1:
            return [f"of a boost must be above 1, found {self.factor:g}"]
        if self.action == "bury" and self.factor >= 1:
            return [f"of a bury must be below 1, found {self.factor:g}"]
        return []

    def _size_problems(self) -> list[str]:
        """Count in bytes, which the schema counts in characters."""
        labels = (self.rule_id, self.variant_group, self.device, self.arm, self.author, *self.where)
        texts = [text for text in (*labels, *(self.items or ())) if text is not None]
        return [f"{text!r:.60} has more than {MAX_ID_BYTES} bytes" for text in texts if utf8_bytes(text) > MAX_ID_BYTES]


@dataclass(frozen=True, slots=True)
class UnreadableRule:
    """A record that is no rule; rule_id: of which rule it is, None = nobody knows.

    `unreadable_key`: no key, or no text. `too_large`: more than MAX_RULE_BYTES. `undecodable`: no JSON.
    `invalid_rule`: a field that is none, is missing or contradicts another. `key_mismatch`: the value names another
    rule. `too_many`: there are MAX_RULES others.
    """

    rule_id: RuleId | None
    reason: UnreadableRuleReason
    detail: str


@dataclass(frozen=True, slots=True)
class RemovedRule:
    """A tombstone."""

    rule_id: RuleId


RuleRecord = MerchantRule | RemovedRule | UnreadableRule

_decode: Final[Callable[[bytes | str], MerchantRule]] = msgspec.json.Decoder(MerchantRule).decode


def read_rule(key: bytes | None, value: bytes | None) -> RuleRecord:
    """Read one record of the topic; never raises."""
    try:
        rule_id = RuleId((key or b"").decode())
    except UnicodeDecodeError as error:
        return UnreadableRule(None, "unreadable_key", without_input(error))
    if not rule_id or utf8_bytes(rule_id) > MAX_ID_BYTES:
        return UnreadableRule(None, "unreadable_key", f"the key must be the rule_id, at most {MAX_ID_BYTES} bytes")
    return RemovedRule(rule_id) if value is None else _read_value(rule_id, value)


def _read_value(rule_id: RuleId, value: bytes) -> MerchantRule | UnreadableRule:
    if len(value) > MAX_RULE_BYTES:
        return UnreadableRule(rule_id, "too_large", f"{len(value):,} bytes, at most {MAX_RULE_BYTES:,}")
    try:
        rule = _decode(value)
    except msgspec.ValidationError as error:
        return UnreadableRule(rule_id, "invalid_rule", str(error))
    except (ValueError, RecursionError) as error:  # among them msgspec's DecodeError, and text that is no UTF-8
        return UnreadableRule(rule_id, "undecodable", without_input(error))
    if rule.rule_id != rule_id:
        return UnreadableRule(rule_id, "key_mismatch", f"the value names rule {rule.rule_id!r:.60}")
    return rule
