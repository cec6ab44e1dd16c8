"""What becomes of a record in which there is no click for us, and when a click is none."""

from dataclasses import dataclass
from typing import Final, Literal

from schemas.events import ITEM_EVENT_TYPES, ClickEvent
from schemas.times import EARLIEST_TIME_MS, LATEST_TIME_MS

RejectReason = Literal[
    "too_large",
    "undecodable",
    "invalid_field",
    "missing_item",
    "absurd_time",
    "key_mismatch",
    "internal_error",
    "unreadable_state",
]
IgnoreReason = Literal["tombstone", "event_type", "empty"]

MAX_FUTURE_MS: Final = 366 * 24 * 3600 * 1000
"""Further ahead of the record's timestamp than this is a unit mistake, not a skewed clock."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a record is dead-lettered."""

    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """Why a record is not for us; it is counted, and no output has it.

    `tombstone`: no value. `event_type`: only of types that are no interaction. `empty`: a list without events.
    """

    reason: IgnoreReason
    detail: str


def problem(event: ClickEvent, key: bytes | None, record_time_ms: int) -> Rejection | None:
    """Return what is wrong with a click whose fields can be read; record_time_ms: the record's timestamp, Unix ms."""
    if key != event.visitor_id.encode():
        return Rejection(
            "key_mismatch", "the record key is not the visitor_id; check the producer's key and partitioner"
        )
    if event.event_type in ITEM_EVENT_TYPES and event.item_id is None:
        return Rejection("missing_item", f"a {event.event_type} event needs an item_id")
    if record_time_ms < EARLIEST_TIME_MS:
        return Rejection(
            "absurd_time",
            f"the record's own timestamp, {record_time_ms}, is no time in milliseconds: does the producer set seconds?",
        )
    if not EARLIEST_TIME_MS <= event.event_time_ms <= min(record_time_ms + MAX_FUTURE_MS, LATEST_TIME_MS):
        return Rejection("absurd_time", f"event_time {event.event_time_ms} ms is no time of a click; check its unit")
    return None
