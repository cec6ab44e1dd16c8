"""What the shop knows and no event says: the answers against which recommendations and intent are scored."""

from collections import OrderedDict
from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.events import ClickEvent
from schemas.ids import EventId, ItemId

Intent = Literal["bounce", "browse", "compare", "buy"]


class Truth(Struct, frozen=True, kw_only=True, gc=False):
    """The hidden side of one event."""

    event_id: EventId
    session_number: Annotated[int, Meta(description="The visitor's session in this stream, 1-based, by construction.")]
    intent: Annotated[Intent | None, Meta(description="The shopper's state of mind at the event; null for bots.")]
    purchase_follows: Annotated[bool, Meta(description="Whether a purchase comes later in the session.")]
    next_item_id: Annotated[ItemId | None, Meta(description="The item of the session's next view; null at its end.")]
    is_bot: bool
    is_duplicate: Annotated[bool, Meta(description="A resend: the first arrival has the same event_id.")]
    is_late: Annotated[
        bool, Meta(description="More than 60 s behind the latest event of its session that arrived before it.")
    ]
    flash_sale: Annotated[int | None, Meta(description="The number of the sale that the item is in.")]
    is_sold_out: Annotated[bool, Meta(description="Whether the item could not be bought then.")] = False


class GeneratedEvent(Struct, frozen=True, kw_only=True, gc=False):
    """One arrival at the clickstream: `click` is all that a recommender may see."""

    click: ClickEvent
    arrival_ms: Annotated[int, Meta(description="When it reaches the clickstream, Unix milliseconds.")]
    truth: Truth


class TruthLedger:
    """Truth by event id, for whoever scores answers as they come back; forgets the oldest beyond `capacity`."""

    def __init__(self, capacity: int = 1_000_000) -> None:
        if capacity < 1:
            raise ValueError(f"a ledger of capacity {capacity} remembers nothing; give 1 or more")
        self._capacity = capacity
        self._truths: OrderedDict[EventId, Truth] = OrderedDict()

    def __len__(self) -> int:
        """Count the remembered events; a duplicate is the same event."""
        return len(self._truths)

    def record(self, truth: Truth) -> None:
        """Remember `truth`; a duplicate leaves that of the first arrival."""
        if truth.event_id in self._truths:
            return
        self._truths[truth.event_id] = truth
        if len(self._truths) > self._capacity:
            self._truths.popitem(last=False)

    def truth_of(self, event_id: EventId) -> Truth | None:
        """Look an event up; None if it was never recorded or is forgotten."""
        return self._truths.get(event_id)
