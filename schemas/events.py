"""The input records: one click of a shopper, and the control records that travel beside the clicks."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta, Struct

from schemas.ids import MAX_ID_BYTES, EventId, ItemId, SessionId, VisitorId

MAX_QUERY_LENGTH = 1024
MAX_PRICE = 1e9
MAX_QUANTITY = 1_000_000
MAX_BLOCKED_UNTIL_MS = 253_402_300_799_000
"""The end of the year 9999."""

EventType = Literal["view", "cart", "remove", "purchase", "favorite", "search", "session_end", "identify"]
Action = Literal["click", "cart", "purchase"]


class EventFacts(NamedTuple):
    """What follows from an event's type.

    needs_item: without an item it is dead-lettered; what needs one, a model can be trained on. shows_interest: its
    item counts for what is popular. cart: whether it puts its item into the cart or takes it out. action: as which
    outcome of an answer it counts.
    """

    needs_item: bool = True
    shows_interest: bool = True
    cart: Literal["in", "out"] | None = None
    action: Action | None = None


EVENT_FACTS: Final[Mapping[EventType, EventFacts]] = {
    "view": EventFacts(action="click"),
    "cart": EventFacts(cart="in", action="cart"),
    "remove": EventFacts(shows_interest=False, cart="out"),
    "purchase": EventFacts(cart="out", action="purchase"),
    "favorite": EventFacts(),
    "search": EventFacts(needs_item=False),
    "session_end": EventFacts(needs_item=False),
    "identify": EventFacts(needs_item=False),
}
"""In the order of `EventType`, which numbers them in training data: a new type goes to the end."""
EVENT_TYPES: frozenset[str] = frozenset(EVENT_FACTS)
ITEM_EVENT_TYPES: frozenset[str] = frozenset(name for name, facts in EVENT_FACTS.items() if facts.needs_item)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

Instant = Annotated[datetime, Meta(tz=True)]
"""A time with its offset. One without is refused where it is read: nobody knows when it was."""

_Id = Meta(min_length=1, max_length=MAX_ID_BYTES)
_Label = Annotated[str, Meta(max_length=MAX_ID_BYTES)]
"""JSON Schema counts characters; the readers count bytes of UTF-8."""


class ClickEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event of a shopper on the shop's clickstream; an id or label has at most 128 bytes in UTF-8."""

    visitor_id: Annotated[VisitorId, _Id, Meta(description="Who clicked; must equal the Kafka record key.")]
    event_type: Annotated[
        EventType,
        Meta(
            description="What happened; `session_end` closes the session at once, `identify` says only that the "
            "visitor was `anonymous_id` before."
        ),
    ]
    event_time: Annotated[
        Instant | Annotated[int, Meta(ge=0)],
        Meta(description="When it happened: RFC 3339 with an offset, or an integer in Unix milliseconds."),
    ]
    item_id: Annotated[
        Annotated[ItemId, _Id] | None,
        Meta(description="The item; required for view, cart, remove, purchase and favorite."),
    ] = None
    event_id: Annotated[
        Annotated[EventId, _Id] | None,
        Meta(description="Unique in its session. Without it nothing is deduplicated."),
    ] = None
    session_id: Annotated[
        Annotated[SessionId, _Id] | None,
        Meta(description="The shop's own session id; a change of it starts a new session."),
    ] = None
    location: Annotated[_Label | None, Meta(description="Where the shopper is, in the shop's own words.")] = None
    device: Annotated[_Label | None, Meta(description="Device class, in the shop's own words.")] = None
    price: Annotated[
        Annotated[float, Meta(ge=0, le=MAX_PRICE)] | None,
        Meta(description="Unit price in the shop's currency."),
    ] = None
    quantity: Annotated[Annotated[int, Meta(ge=1, le=MAX_QUANTITY)] | None, Meta(description="Pieces.")] = None
    query: Annotated[
        Annotated[str, Meta(max_length=MAX_QUERY_LENGTH)] | None,
        Meta(description="Search text, for search events."),
    ] = None
    consent: Annotated[
        bool | None,
        Meta(description="False: no state is kept and nothing personal is answered. Absent counts as given."),
    ] = None
    experiment: Annotated[_Label | None, Meta(description="Experiment arm, copied to the answer.")] = None
    anonymous_id: Annotated[
        Annotated[VisitorId, _Id] | None,
        Meta(
            description="The visitor_id under which the same shopper clicked before it was known who it is, as a "
            "cookie: the session that is open there goes on under this visitor_id."
        ),
    ] = None

    @property
    def event_time_ms(self) -> int:
        """Event time in Unix milliseconds."""
        return self.event_time if isinstance(self.event_time, int) else unix_ms(self.event_time)


class Tick(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="tick", tag_field="kind"):
    """Close what expired, if the partition is caught up.

    It is ignored where a click before one of the offsets is not taken yet: lag never makes input late.
    """

    next_offset: Annotated[
        int, Meta(ge=0, description="The clickstream offset behind every click that there was at this time.")
    ]
    stream_time_ms: Annotated[
        int, Meta(ge=0, description="Event time that has been reached in the partition, Unix milliseconds.")
    ]
    next_offsets: Annotated[
        dict[str, int], Meta(description="The same of further clickstreams, by topic; absent where there are none.")
    ] = {}


Reach = Literal["all", "predecessors", "self"]


class Erase(Struct, frozen=True, kw_only=True, tag="erase", tag_field="kind", omit_defaults=True):
    """Forget a visitor: the state is tombstoned. Sent to every partition."""

    # Whose id is from before there was a bound can go, too; our own entries of a table cannot.
    visitor_id: Annotated[VisitorId, Meta(min_length=1, pattern="^[^\\x00]+$")]
    reach: Annotated[
        Reach,
        Meta(
            description="Which other ids of the visitor are forgotten, too: `all`; `predecessors`, those that became "
            "this one; `self`, none. Workers write the narrower ones."
        ),
    ] = "all"
    blocked_until_ms: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_BLOCKED_UNTIL_MS)] | None,
        Meta(
            description="Clicks of the visitor whose records are not younger than this, Unix milliseconds, build no "
            "state again: they are answered as without consent. Absent = the next click begins anew."
        ),
    ] = None
    request_id: Annotated[
        Annotated[str, Meta(max_length=64)] | None,
        Meta(
            description="Tells one request from others. Workers repeat it when they pass the erasure on to further ids "
            "of the visitor."
        ),
    ] = None


def unix_ms(moment: datetime) -> int:
    """Whole Unix milliseconds of an aware `moment`, rounded down."""
    return (moment - _EPOCH) // _MILLISECOND


def from_unix_ms(milliseconds: int) -> datetime:
    """Return the aware UTC datetime of `milliseconds`; exact inverse of `unix_ms`."""
    return _EPOCH + milliseconds * _MILLISECOND
