"""Holds the intent signals of a session against the purchases that follow in it."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from schemas.ids import SessionId, VisitorId
from streams.metrics import IntentMetrics

MAX_SESSIONS: Final = 20_000
MAX_SIGNALS: Final = 64
"""Of one session; a signal is 32 bytes here, so all of them stay below some 50 MB."""


@dataclass(slots=True)
class _Session:
    """n_followed: of the signals, the first ones, those that a purchase has followed."""

    signals: list[float] = field(default_factory=list)
    n_followed: int = 0


class IntentCalibration:
    """Remembers each open session's signals, and counts them when it ends: then both outcomes are known alike.

    In memory, for the sessions of this worker: what a restart, a rebalance or the bound takes away counts neither as
    expected nor as purchased. A purchase within milliseconds of a click may come before that click's signal.
    """

    def __init__(self, metrics: IntentMetrics) -> None:
        self._metrics = metrics
        self._sessions: OrderedDict[tuple[VisitorId, SessionId], _Session] = OrderedDict()

    def predicted(self, visitor_id: VisitorId, session_id: SessionId, probability: float) -> None:
        """Remember a signal."""
        key = (visitor_id, session_id)
        session = self._sessions.setdefault(key, _Session())
        self._sessions.move_to_end(key)
        if len(session.signals) < MAX_SIGNALS:
            session.signals.append(probability)
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)

    def purchased(self, visitor_id: VisitorId, session_id: SessionId) -> None:
        """Note that a purchase followed the signals so far."""
        if session := self._sessions.get((visitor_id, session_id)):
            session.n_followed = len(session.signals)

    def ended(self, visitor_id: VisitorId, session_id: SessionId) -> None:
        """Count the session's signals; a session that ends twice counts once."""
        if session := self._sessions.pop((visitor_id, session_id), None):
            for number, probability in enumerate(session.signals):
                self._metrics.resolve(probability, purchase_followed=number < session.n_followed)
