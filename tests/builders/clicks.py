"""Clicks as the records in which a shop writes them."""

import json
import time

from tests.kafka.deployment import NewRecord

VISITORS = 5
"""Of `clicks`."""


def click(visitor_id: str, event_time_ms: int | None = None, **fields: object) -> NewRecord:
    """Make the JSON record of a view of item "i1"; of this moment, unless told otherwise."""
    moment = time.time_ns() // 1_000_000 if event_time_ms is None else event_time_ms
    event = {"visitor_id": visitor_id, "event_type": "view", "event_time": moment, "item_id": "i1", **fields}
    return NewRecord(visitor_id.encode(), json.dumps(event).encode())


def clicks(count: int, item: str) -> list[NewRecord]:
    """Make clicks of the same few visitors."""
    return [click(f"v{number % VISITORS}", item_id=f"{item}{number}") for number in range(count)]
