"""Which views count for what is trending: nobody alone decides what is listed for everybody.

A view counts once in its session, and once for its visitor in `PERIOD_MS` of event time, whatever the sessions: a
session id is the client's to choose, and each click may bring a new one.
"""

from collections.abc import Sequence
from typing import Final
from zlib import crc32

from schemas.events import ClickEvent
from schemas.ids import ItemId
from schemas.state import CountedItems, CountedLine, OpenSession

PERIOD_MS: Final = 16_200_000
"""4.5 h: the half-life at which what is usual is told, so a visitor weighs about one view there."""
MAX_ITEMS: Final = 64
"""Of a visitor that are remembered; of more the oldest may count again."""


def counted_views(
    known: CountedItems | None, sessions: tuple[OpenSession, OpenSession], act: Sequence[ClickEvent], place: int
) -> tuple[tuple[CountedLine, ...], CountedItems | None]:
    """Return the lines of an act that count, and what is remembered from then on.

    known: of the visitor. sessions: the session without and with the act. place: of its first line in the record.
    """
    before, joined = sessions
    found, period, items = list[CountedLine](), joined.latest_ms // PERIOD_MS, tuple[int, ...]()
    if known is not None and known.period >= period:  # time that goes back within a session forgets nothing
        period, items = known.period, known.items
    for line, event in enumerate(act, place):
        if event.event_type != "view" or event.item_id is None or _was_viewed(before, event.item_id):
            continue
        item = crc32(event.item_id.encode(errors="surrogateescape"))
        if item not in items:
            items = (*items, item)[-MAX_ITEMS:]
            found.append(CountedLine(line, None if event.location else joined.location))
    return tuple(found), CountedItems(period, items) if found else known


def _was_viewed(session: OpenSession, item_id: ItemId) -> bool:
    """Return whether the session holds such a view, as far as its events are kept."""
    return any(one.item_id == item_id and one.event_type == "view" for one in session.events)
