"""From columns back to the events that the stream keeps of a session, so that learning reads what serving reads."""

import math

from schemas.records import SessionEvent
from session_model.data.sessions import EVENT_TYPE_CODES, Sessions


def session_events(sessions: Sessions, number: int) -> list[SessionEvent]:
    """Return the events of one session, oldest first; time 0 where the format has no times."""
    rows = slice(int(sessions.starts[number]), int(sessions.starts[number + 1]))
    items = sessions.items[rows].tolist()
    times = sessions.times_ms[rows].tolist() if sessions.times_ms is not None else [0] * len(items)
    codes = sessions.event_types[rows].tolist()
    prices = sessions.prices[rows].tolist()
    return [
        SessionEvent(
            EVENT_TYPE_CODES[code],
            time,
            sessions.item_ids[item] if item >= 0 else None,
            None if math.isnan(price) else price,
        )
        for code, time, item, price in zip(codes, times, items, prices, strict=True)
    ]
