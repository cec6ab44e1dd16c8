"""Holds the intent signals of a session against the purchases that follow in it."""

from collections import OrderedDict
from typing import Final

from schemas.ids import SessionId, VisitorId
from streams.metrics import IntentMetrics

MAX_SESSIONS: Final = 20_000
MAX_SIGNALS: Final = 64
"""Of one session since its latest purchase; a signal is 24 bytes here, so the whole stays below some 50 MB."""


class IntentCalibration:
    """Remembers each open session's signals until a purchase or the session's end settles them.

    In memory, for the sessions of this worker: what a restart, a rebalance or the bound takes away counts neither as
    expected nor as purchased. A purchase within milliseconds of a click may settle before that click's signal is there.
    """

    def __init__(self, metrics: IntentMetrics) -> None:
        self._metrics = metrics
        self._pending: OrderedDict[tuple[VisitorId, SessionId], list[float]] = OrderedDict()

    def told(self, visitor_id: VisitorId, session_id: SessionId, probability: float) -> None:
        """Remember a signal."""
        key = (visitor_id, session_id)
        pending = self._pending.setdefault(key, [])
        self._pending.move_to_end(key)
        if len(pending) < MAX_SIGNALS:
            pending.append(probability)
        if len(self._pending) > MAX_SESSIONS:
            self._pending.popitem(last=False)

    def purchased(self, visitor_id: VisitorId, session_id: SessionId) -> None:
        """Settle the signals so far: a purchase followed them."""
        self._settle(visitor_id, session_id, purchase_followed=True)

    def ended(self, visitor_id: VisitorId, session_id: SessionId) -> None:
        """Settle what is left: no purchase followed."""
        self._settle(visitor_id, session_id, purchase_followed=False)

    def _settle(self, visitor_id: VisitorId, session_id: SessionId, *, purchase_followed: bool) -> None:
        for probability in self._pending.pop((visitor_id, session_id), ()):
            self._metrics.resolve(probability, purchase_followed=purchase_followed)
