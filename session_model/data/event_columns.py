"""Events as growing columns: what the loaders fill line by line and turn into `Sessions`."""

from array import array
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from schemas.events import EventType
from schemas.ids import ItemId, SessionId
from session_model.data.sessions import EVENT_TYPE_CODES, Sessions

NO_ITEM = -1
_NOWHERE = -1
_TYPE_CODE = {event_type: code for code, event_type in enumerate(EVENT_TYPE_CODES)}


class Interner:
    """Numbers distinct strings from 0 in order of first appearance."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def code(self, text: str) -> int:
        """Return the number of `text`, a new one if it is new."""
        return self._codes.setdefault(text, len(self._codes))

    @property
    def texts(self) -> list[str]:
        """All strings, in order of their numbers."""
        return list(self._codes)


@dataclass(slots=True)
class EventColumns:
    """One entry an event, in file order; about 30 bytes each, strings are kept once."""

    item_ids: Interner = field(default_factory=Interner)
    sessions: "array[int]" = field(default_factory=lambda: array("q"))
    items: "array[int]" = field(default_factory=lambda: array("i"))
    times_ms: "array[int]" = field(default_factory=lambda: array("q"))
    event_types: "array[int]" = field(default_factory=lambda: array("B"))
    prices: "array[float]" = field(default_factory=lambda: array("f"))
    location_names: Interner = field(default_factory=Interner)
    locations: "array[int]" = field(default_factory=lambda: array("i"))
    is_cut: "array[int]" = field(default_factory=lambda: array("B"))

    def add(  # noqa: PLR0913 - one parameter a column
        self,
        session: int,
        item_id: str | None,
        time_ms: int = 0,
        event_type: EventType = "view",
        price: float | None = None,
        location: str | None = None,
        *,
        is_cut: bool = False,
    ) -> None:
        """Append an event of the session numbered `session`; is_cut: those before it were not kept."""
        self.sessions.append(session)
        self.items.append(NO_ITEM if item_id is None else self.item_ids.code(item_id))
        self.times_ms.append(time_ms)
        self.event_types.append(_TYPE_CODE[event_type])
        self.prices.append(float("nan") if price is None else price)
        self.locations.append(_NOWHERE if location is None else self.location_names.code(location))
        self.is_cut.append(is_cut)

    def __len__(self) -> int:
        """Count the events."""
        return len(self.sessions)


def assemble(
    columns: EventColumns, sessions: NDArray[np.int64], session_ids: list[SessionId], *, has_times: bool
) -> Sessions:
    """Sort the events into `Sessions`: events by time in a session, sessions by end, ties in file order.

    sessions: (n_events,) int64, the session of each event in file order, a position in `session_ids`. Without times
    sessions stand in file order, and what stands for times orders their events.
    """
    times_ms = np.array(columns.times_ms, np.int64)
    by_session = np.lexsort((times_ms, sessions))
    starts = np.searchsorted(sessions[by_session], np.arange(len(session_ids) + 1))
    ends_ms = times_ms[by_session[starts[1:] - 1]] if has_times else np.zeros(len(session_ids), np.int64)
    first_rows = np.minimum.reduceat(by_session, starts[:-1])
    session_order = np.lexsort((first_rows, ends_ms))
    place = np.empty(len(session_ids), np.int64)
    place[session_order] = np.arange(len(session_ids))
    order = np.lexsort((times_ms, place[sessions]))
    starts = np.searchsorted(place[sessions[order]], np.arange(len(session_ids) + 1)).astype(np.int64)
    return Sessions(
        session_ids=[session_ids[i] for i in session_order],
        starts=starts,
        items=np.array(columns.items, np.int32)[order],
        item_ids=[ItemId(text) for text in columns.item_ids.texts],
        times_ms=times_ms[order] if has_times else None,
        event_types=np.array(columns.event_types, np.uint8)[order],
        prices=np.array(columns.prices, np.float32)[order],
        locations=_last_locations(columns, order, starts),
        is_cut=np.maximum.reduceat(np.array(columns.is_cut, np.bool_)[order], starts[:-1])
        if any(columns.is_cut)
        else None,
    )


def _last_locations(
    columns: EventColumns, order: NDArray[np.int64], starts: NDArray[np.int64]
) -> list[str | None] | None:
    """Return where each session was seen last; the events in `order`, parted at `starts`."""
    names: list[str | None] = [*columns.location_names.texts]
    if not names:
        return None
    codes = np.array(columns.locations, np.int32)[order]
    last = np.maximum.reduceat(np.where(codes == _NOWHERE, -1, np.arange(len(codes))), starts[:-1])
    return [names[codes[place]] if place >= 0 else None for place in last.tolist()]
