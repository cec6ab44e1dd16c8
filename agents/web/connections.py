"""Which connections to the web port may stay: a bounded number, each with a bounded time for its one request."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

C = TypeVar("C", bound=Hashable)

MAX_CONNECTIONS: Final = 64
HEAD_TIMEOUT_SECONDS: Final = 5.0
"""For the head of the request to arrive whole."""
ANSWER_TIMEOUT_SECONDS: Final = 15.0
"""For the answer to be taken; a stream has no end and is timed by who writes it."""


@dataclass(slots=True)
class _Connection:
    opened_seconds: float
    asked_seconds: float | None = None
    is_stream: bool = False


class Connections(Generic[C]):
    """Decides on connections; who holds them cuts those that are named. Time is monotonic and given.

    Where there are too many, the one that is oldest goes, so that whoever comes to ask is let in and answered within
    milliseconds, however many others only hold the line. A stream stays: there are few, and who opens one was let in.
    """

    def __init__(self, most: int = MAX_CONNECTIONS) -> None:
        self._most = most
        self._open: dict[C, _Connection] = {}

    def __len__(self) -> int:
        """Count those that are open."""
        return len(self._open)

    def opened(self, connection: C, now_seconds: float) -> C | None:
        """Note a new connection; returns the one to be cut for it, which may be itself where all others are streams."""
        self._open[connection] = _Connection(now_seconds)
        if len(self._open) <= self._most:
            return None
        return next(one for one, known in self._open.items() if not known.is_stream)

    def asked(self, connection: C, now_seconds: float, *, is_stream: bool = False) -> None:
        """Note that the head of its request is here."""
        if connection in self._open:
            self._open[connection].asked_seconds = now_seconds
            self._open[connection].is_stream = is_stream

    def closed(self, connection: C) -> None:
        """Forget a connection."""
        self._open.pop(connection, None)

    def overdue(self, now_seconds: float) -> list[C]:
        """Return those whose time is over."""
        return [one for one, known in self._open.items() if _is_overdue(known, now_seconds)]


def _is_overdue(known: _Connection, now_seconds: float) -> bool:
    if known.is_stream:
        return False
    if known.asked_seconds is None:
        return now_seconds - known.opened_seconds > HEAD_TIMEOUT_SECONDS
    return now_seconds - known.asked_seconds > ANSWER_TIMEOUT_SECONDS
