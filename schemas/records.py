"""The output records, and the catalog record that the shop writes."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from schemas.events import MAX_PRICE, Action, EventType, Instant
from schemas.ids import MAX_ID_BYTES, EventId, ItemId, ModelVersion, RuleId, SessionId, VisitorId

Status = Literal["answered", "duplicate", "late", "replayed", "bot", "no_consent", "ended", "identified"]
Tier = Literal["model", "knn", "popular", "default"]
ImpersonalTier = Literal["popular", "default"]
PERSONAL_TIERS: Final = frozenset[Tier | None]({"model", "knn"})
IntentSource = Literal["model", "features"]
ItemSource = Literal["session", "trending", "rising", "new", "rule", "popular", "default"]
Adjustment = Literal["viewed", "rising", "kept"]
Pattern = Literal["browsing", "exploring", "focused", "deciding"]
EndReason = Literal["inactivity", "max_duration", "session_id_changed", "session_end_event"]

MAX_TITLE_LENGTH = 1024
MAX_CATEGORY_LENGTH = 256
MAX_LOCATIONS = 1024
MAX_NAMED_RULES = 20
DEFAULT_KEY = "__default__"
"""Key of the default list that counts everywhere; the other keys of that topic are locations."""
TRENDING_KEY = "__all__"
"""Key of what is trending everywhere; the other keys of that topic are places."""

Moment = Instant | Annotated[int, Meta(ge=0)]
"""RFC 3339 with an offset, or an integer in Unix milliseconds, as an event's time."""

_RecordId = Annotated[
    str, Meta(description="`{topic}-{partition}-{offset}` of the input; equal ids are the same record.")
]


class RecommendedItem(Struct, frozen=True, omit_defaults=True, gc=False):
    """One place of an answer; the list is in rank order."""

    item_id: ItemId
    score: Annotated[float, Meta(description="Comparable inside one answer only; higher is better.")]
    rule: Annotated[
        RuleId | None,
        Meta(description="The merchants' rule that pinned, boosted or buried it; absent where none did."),
    ] = None
    source: Annotated[
        ItemSource | None,
        Meta(
            description="What placed it; absent where that is what the tier says: `session` for model and knn, "
            "`popular`, `default`. `new`: it has come since training. `rule`: a pin, or an item that an include names."
        ),
    ] = None
    because: Annotated[
        ItemId | None,
        Meta(
            description="The item of the session to which it is owed: without that one it would fall the furthest. Of "
            "the first 5 only, and only where it is so."
        ),
    ] = None


class CountedView(Struct, frozen=True):
    """A view that counts for what is trending."""

    item_id: ItemId
    time_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=2**53,
            description="Event time, Unix milliseconds; no later than the timestamp of the input's record.",
        ),
    ]
    location: Annotated[str | None, Meta(description="Of the event; where it says none, of its session.")] = None


class RecommendationSet(Struct, frozen=True, kw_only=True):
    """The answer to one input offset: exactly one for each that is not dead-lettered."""

    id: _RecordId
    status: Annotated[Status, Meta(description="What became of the input; only `answered` moved the session.")]
    visitor_id: VisitorId
    event_id: EventId
    event_time: Instant
    session_id: SessionId | None = None
    items: Annotated[list[RecommendedItem], Meta(description="Best first; empty for duplicate, replayed and ended.")]
    tier: Annotated[Tier | None, Meta(description="Who answered: model > knn > popular > default.")] = None
    reason: Annotated[
        str | None,
        Meta(
            description="Why no higher tier answered; null for the model tier, or `unseen_items` where it was asked "
            "for items that are like the shopper's, since it knows none of those."
        ),
    ] = None
    age_ms: Annotated[
        int, Meta(ge=0, description="Age of what the answer rests on, milliseconds; 0 = computed now.")
    ] = 0
    model_version: ModelVersion | None = None
    experiment: str | None = None
    valid_until: Annotated[
        Instant | None,
        Meta(
            description="When the first of the items, or the sale of one, ends as the catalog says; null = none does."
        ),
    ] = None
    rules: Annotated[
        list[RuleId] | None,
        Meta(
            description="The merchants' rules that changed the list, those that left items out among them: the first "
            f"{MAX_NAMED_RULES} by id; null where none did."
        ),
    ] = None
    adjusted_by: Annotated[
        list[Adjustment] | None,
        Meta(
            description="What the scores rest on beside the release. `viewed`: what is viewed of late everywhere. "
            "`rising`: what rises at the place has a share of the list. `kept`: what the list before held has a bonus. "
            "Null = on nothing."
        ),
    ] = None
    counts: Annotated[
        list[CountedView],
        Meta(
            description="What the input adds to what is trending: its views of an item that its session had not viewed "
            "yet, nor its visitor within 4.5 hours. Empty for bots, late events and visitors without consent; a "
            "repeated record repeats it."
        ),
    ] = []


class DefaultRecommendations(Struct, frozen=True, kw_only=True):
    """What the worker would answer to a visitor of whom it knows nothing; the latest of its key counts."""

    location: Annotated[str | None, Meta(description="Where the list counts; null = everywhere.")] = None
    items: Annotated[list[RecommendedItem], Meta(min_length=1, description="Best first; never empty.")]
    source: Annotated[ImpersonalTier, Meta(description="What the list rests on; `default` = nothing is popular yet.")]
    updated_at: Annotated[Instant, Meta(description="When the worker wrote it; unchanged lists are not repeated.")]
    model_version: Annotated[
        ModelVersion | None, Meta(description="The release whose training data says what is popular, if one does.")
    ] = None
    valid_until: Annotated[
        Instant | None,
        Meta(
            description="When the first of the items, or the sale of one, ends; another list is written then. Null = "
            "none does."
        ),
    ] = None


class TrendingItem(Struct, frozen=True):
    """An item that is viewed at a place."""

    item_id: ItemId
    share: Annotated[
        float,
        Meta(ge=0, description="Of the place's next views, as far as its views of late tell, and those around it."),
    ]
    lift: Annotated[
        float,
        Meta(
            description="How many times its usual share of the place's views it has in the last minutes, at least: the "
            "5 % quantile (EB05). Above 2 with enough visitors it is rising."
        ),
    ]
    visitors: Annotated[
        int,
        Meta(
            ge=0,
            description="Visitors of late: each counts half after `half_life_long_seconds`, and may count again then.",
        ),
    ]
    rising: Annotated[
        float, Meta(ge=0, le=1, description="Share of the place's views that are more than usual; 0 = not rising.")
    ] = 0.0
    views: Annotated[
        tuple[Annotated[float, Meta(ge=0)], ...],
        Meta(description="Its views, decayed by each of `half_lives_seconds` of the record; of everywhere only."),
    ] = ()


class Trending(Struct, frozen=True, kw_only=True):
    """What is viewed at a place, and what rises there; the latest record of a key counts.

    Shares are shrunk to those of the place around it, root to leaf, by a Dirichlet prior; which half-life and which
    strength is chosen while it runs, by which lists held the views that then came.
    """

    location: Annotated[str | None, Meta(description="The place; null = everywhere.")] = None
    items: Annotated[
        list[TrendingItem],
        Meta(description="By share, the highest first; none that fewer than 3 different visitors have viewed."),
    ]
    rising_share: Annotated[
        float, Meta(ge=0, le=1, description="Sum of `rising` over the items: views that are more than usual.")
    ] = 0.0
    support_short: Annotated[float, Meta(description="Views of late at the place, by `half_life_short_seconds`.")]
    support_long: Annotated[float, Meta(description="The same by `half_life_long_seconds`.")]
    half_life_short_seconds: Annotated[int, Meta(description="Of what rises.")]
    half_life_long_seconds: Annotated[int, Meta(description="Of what is usual.")]
    half_life_seconds: Annotated[int, Meta(description="Of `share`, as chosen for places of this depth.")]
    strength: Annotated[
        float | None,
        Meta(description="Views that the place around it is worth, as chosen; null = that one's shares as they are."),
    ]
    event_time: Annotated[Instant, Meta(description="Latest event time that is counted.")]
    updated_at: Annotated[Instant, Meta(description="When it was written.")]
    positions: Annotated[
        dict[str, int],
        Meta(description="By `{topic}-{partition}` of the clickstream the last offset counted; of everywhere only."),
    ] = {}
    half_lives_seconds: Annotated[
        tuple[int, ...], Meta(description="Of the `views` of the items, the shortest first; of everywhere only.")
    ] = ()
    views: Annotated[
        tuple[Annotated[float, Meta(ge=0)], ...],
        Meta(description="Of all items together, by each of `half_lives_seconds`; of everywhere only."),
    ] = ()


class IntentSignal(Struct, frozen=True, kw_only=True):
    """What the shopper is up to after one more event of the session.

    At most one for each answered input: a click whose record says `replayed`, after a crash, may have none.
    """

    id: _RecordId
    visitor_id: VisitorId
    session_id: SessionId
    event_id: EventId
    event_time: Instant
    prefix_length: Annotated[int, Meta(ge=1, description="Events of the session so far, this one included.")]
    purchase_status: Annotated[
        Literal["calibrated", "unavailable"],
        Meta(description="`unavailable`: the training data had no purchases, or no release is loaded."),
    ]
    purchase_probability: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="P(a purchase later in this session), calibrated on held-out sessions."),
    ] = None
    purchase_source: Annotated[
        IntentSource | None,
        Meta(description="Who gave the probabilities. `model`: the served model; `features`: the same in the worker."),
    ] = None
    leave_probability: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="P(no further event in this session), calibrated; null where it is not known."),
    ] = None
    cart_abandonment_probability: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(
            description="P(the session ends with something in the cart), calibrated; null while the cart is empty, or "
            "where the training data had no carts."
        ),
    ] = None
    pattern: Annotated[Pattern, Meta(description="Shopping pattern by rule; docs/glossary.md has the rule.")]
    model_version: ModelVersion | None = None
    experiment: str | None = None


class RecommendationOutcome(Struct, frozen=True, kw_only=True):
    """What the shopper did after an answer: a click, cart or purchase, joined with the answer that was seen before it.

    A click is joined with the latest answer; a cart or purchase with the one through which its item was clicked, else
    with the latest. An answer may hold the item that is being looked at, and a click on it once more counts like any
    other. Outcomes that share an id are of the same action but may name another answer, since whether one was there in
    time depends on the clock: keep the first. An input whose record says `replayed`, after a crash, may have none.
    """

    id: _RecordId
    recommendation_id: Annotated[str, Meta(description="The `id` of the answer on `recommendations`.")]
    visitor_id: VisitorId
    session_id: SessionId
    event_id: EventId
    event_time: Instant
    action: Annotated[Action, Meta(description="`click`: a view of an item.")]
    item_id: ItemId
    position: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Place of the item in the answer, from 1; null = absent.")
    ] = None
    tier: Annotated[Tier, Meta(description="Who gave the answer.")]
    model_version: ModelVersion | None = None
    experiment: Annotated[str | None, Meta(description="Experiment arm of the answer.")] = None
    delay_ms: Annotated[int, Meta(ge=0, description="Event time from the answered event to this one, milliseconds.")]


class SessionEvent(Struct, frozen=True, array_like=True):
    """One event inside a session, as state and session ends keep it."""

    event_type: EventType
    time_ms: int
    item_id: ItemId | None = None
    price: float | None = None


class SessionSummary(Struct, frozen=True, kw_only=True):
    """A closed session: training data of the next model. The visitor is a keyed hash, never the id."""

    id: Annotated[str, Meta(description="`{topic}-{partition}-{offset}-{visitor_key}` of the input that closed it.")]
    visitor_key: str
    session_id: SessionId
    end_reason: EndReason
    started_at: Instant
    ended_at: Instant
    event_count: Annotated[int, Meta(ge=1, description="All events, those beyond the kept ones included.")]
    events: Annotated[
        list[SessionEvent],
        Meta(description="The last events, in event-time order: [event_type, time in Unix ms, item_id, price]."),
    ]
    is_bot: bool = False
    location: str | None = None
    device: str | None = None


class VisitorRecommendations(Struct, frozen=True, kw_only=True):
    """What batch inference recommends to a visitor: the worker's answer and intent after the visitor's latest session.

    One a visitor. The fields have the meaning that they have in RecommendationSet and IntentSignal.
    """

    id: Annotated[str, Meta(description="The `id` of the session's end.")]
    visitor_key: str
    session_id: SessionId
    ended_at: Annotated[Instant, Meta(description="When the session ended.")]
    items: Annotated[list[RecommendedItem], Meta(description="Best first.")]
    tier: Tier | None = None
    reason: str | None = None
    model_version: ModelVersion | None = None
    purchase_probability: Annotated[float, Meta(ge=0, le=1)] | None = None
    purchase_source: IntentSource | None = None
    leave_probability: Annotated[float, Meta(ge=0, le=1)] | None = None
    cart_abandonment_probability: Annotated[float, Meta(ge=0, le=1)] | None = None
    valid_until: Instant | None = None
    rules: list[RuleId] | None = None


class Sale(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A price for a time. It hides no item: after it the item is for sale as before it, at its own price."""

    price: Annotated[float, Meta(ge=0, le=MAX_PRICE, description="What the item costs meanwhile.")]
    starts_at: Annotated[Moment | None, Meta(description="From then on; null = already.")] = None
    ends_at: Annotated[Moment | None, Meta(description="Up to, and not including, then; null = until told.")] = None
    locations: Annotated[
        Annotated[list[str], Meta(max_length=MAX_LOCATIONS)] | None,
        Meta(description="Where; null = wherever the item is sold."),
    ] = None


class CatalogItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the shop says of an item, on the compacted catalog topic; a tombstone removes it.

    An item whose last record cannot be read is not recommended. Other spellings are read, too: docs/consumers.md.
    """

    item_id: Annotated[ItemId, Meta(min_length=1, max_length=MAX_ID_BYTES)]
    available: Annotated[bool, Meta(description="False: never recommended.")] = True
    title: Annotated[str, Meta(max_length=MAX_TITLE_LENGTH)] | None = None
    category: Annotated[str, Meta(max_length=MAX_CATEGORY_LENGTH)] | None = None
    price: Annotated[float, Meta(ge=0, le=MAX_PRICE)] | None = None
    locations: Annotated[
        Annotated[list[str], Meta(max_length=MAX_LOCATIONS)] | None,
        Meta(description="Where it is sold; null = everywhere."),
    ] = None
    variant_group: Annotated[
        str | None,
        Meta(description="Items of one group are variants of each other; an answer holds one of them."),
    ] = None
    available_from: Annotated[
        Moment | None, Meta(description="Not recommended before: RFC 3339 with an offset, or Unix milliseconds.")
    ] = None
    available_until: Annotated[
        Moment | None, Meta(description="Not recommended from then on, whether or not another record comes.")
    ] = None
    sale: Annotated[Sale | None, Meta(description="A price for a time; its end ends `valid_until` of lists.")] = None
