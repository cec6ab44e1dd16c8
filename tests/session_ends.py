"""Session ends as a worker writes them."""

from datetime import timedelta

from schemas.events import from_unix_ms
from schemas.ids import ItemId, SessionId
from schemas.records import SessionEvent, SessionSummary

START_MS = 1_769_860_800_000
"""2026-01-31T12:00Z."""


def session_end(number: int, *, is_bot: bool = False, n_events: int = 4) -> SessionSummary:
    """Make the end of session `number`, which began `number` seconds after `START_MS`; a view each second."""
    begin_ms = START_MS + number * 1000
    events = [
        SessionEvent("view", begin_ms + place * 1000, ItemId(f"i{(number + place) % 7}")) for place in range(n_events)
    ]
    return SessionSummary(
        id=f"clickstream-0-{number}-visitor{number}",
        visitor_key=f"visitor{number}",
        session_id=SessionId(f"s{number}"),
        end_reason="inactivity",
        started_at=from_unix_ms(begin_ms),
        ended_at=from_unix_ms(begin_ms) + timedelta(seconds=n_events - 1),
        event_count=n_events,
        events=events,
        is_bot=is_bot,
    )
