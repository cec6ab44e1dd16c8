"""The control records by which a session goes on under another id of its visitor, across partitions.

A click that names both ids sends a handover to the owner of the earlier one, who sends what is open there to the later
one's owner as an adoption. streams/sessions/identity.py has the rules.
"""

from typing import Annotated

from msgspec import Meta, Struct

from schemas.events import Erase, Tick
from schemas.ids import ItemId, VisitorId
from schemas.state import InputPosition, OpenSession


class Handover(Struct, frozen=True, kw_only=True, tag="handover", tag_field="kind"):
    """Hand over the open sessions of a visitor, as far as they go back behind `until_ms`, to another id.

    It may come twice: what was handed over once is not there any more.
    """

    visitor_id: Annotated[VisitorId, Meta(description="Whose sessions go on elsewhere.")]
    to: Annotated[VisitorId, Meta(description="The visitor_id under which they go on.")]
    partition: Annotated[int, Meta(ge=0, description="Where the state of `to` lies.")]
    until_ms: Annotated[int, Meta(description="Event time of the click that named both, Unix milliseconds.")]
    clock_lag_ms: Annotated[int, Meta(ge=0, description="How far that click lay behind its record's timestamp.")] = 0


class Adoption(Struct, frozen=True, kw_only=True, tag="adoption", tag_field="kind"):
    """Go on with the sessions that another id handed over.

    It may come twice: those of one source partition come in the order of their offsets, so an offset that was taken in
    is known.
    """

    visitor_id: Annotated[VisitorId, Meta(description="Who goes on with the sessions.")]
    predecessor: Annotated[VisitorId, Meta(description="Whose they were.")]
    source: Annotated[InputPosition, Meta(description="The input that moved them.")]
    sessions: tuple[OpenSession, ...]
    purchased: tuple[ItemId, ...] = ()
    hops: Annotated[int, Meta(ge=0, description="Moves of these sessions before this one.")] = 0


Control = Tick | Erase | Handover | Adoption
