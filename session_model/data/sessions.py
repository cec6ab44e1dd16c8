"""Sessions as columns: the one in-memory form between the loaders and everything that learns or measures."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.events import EVENT_FACTS, EventType
from schemas.ids import ItemId, SessionId

EVENT_TYPE_CODES: Final[tuple[EventType, ...]] = tuple(EVENT_FACTS)


@dataclass(frozen=True, slots=True)
class Sessions:
    """Many sessions, ordered by their end (ties by first appearance), events inside a session oldest first.

    starts: (n_sessions + 1,) int64; session i owns events[starts[i]:starts[i + 1]].
    items: (n_events,) int32, position in `item_ids`, 0-based; -1 where the event has no item.
    times_ms: (n_events,) int64 Unix milliseconds; None where the format has no times (order is then file order).
    event_types: (n_events,) uint8, position in `EVENT_TYPE_CODES`.
    prices: (n_events,) float32, NaN where unknown.
    locations: where each session was seen last, a name or None; None where the format has none.
    is_cut: (n_sessions,) bool, whether events before the first one were not kept; None where all are there.
    """

    session_ids: list[SessionId]
    starts: NDArray[np.int64]
    items: NDArray[np.int32]
    item_ids: list[ItemId]
    times_ms: NDArray[np.int64] | None
    event_types: NDArray[np.uint8]
    prices: NDArray[np.float32]
    locations: list[str | None] | None = None
    is_cut: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        """Count the sessions."""
        return len(self.session_ids)

    def latest(self, most: int) -> "Sessions":
        """Return the last `most` sessions, the columns shared; `most` is 1 or more."""
        return replace(
            self,
            session_ids=self.session_ids[-most:],
            starts=self.starts[-most - 1 :],
            locations=None if self.locations is None else self.locations[-most:],
            is_cut=None if self.is_cut is None else self.is_cut[-most:],
        )
