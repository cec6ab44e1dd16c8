"""Clicks of a file of JSON lines, read as the worker reads the records of its topic, by the same mapping.

A file has no record keys, timestamps and headers: every visitor of a line is taken, and a mapping that takes the time
of the record finds none.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from schemas.click_reader import REKEYED_HEADER, ClickReader, Clicks
from schemas.events import ITEM_EVENT_TYPES, ClickEvent
from schemas.ids import EventId
from schemas.mapping import FieldMapping
from schemas.validation import Ignored, Rejection
from session_model.data.event_times import LATEST_TIME_MS, EventClock, in_bounds
from session_model.data.text_lines import MalformedLines, read_lines

_OF_ONE_VISITOR: Final = ((REKEYED_HEADER, b""),)
"""What else is in the line is not this visitor's."""

_decode_click = msgspec.json.Decoder(ClickEvent).decode


class ClickLog:
    """Reads lines by `mapping`; what is no interaction, such as a page view, is ignored and counted."""

    def __init__(self, mapping: FieldMapping) -> None:
        self._is_identity = mapping.is_identity
        self._reader = ClickReader(mapping)

    def records(self, malformed: MalformedLines) -> Iterator[tuple[ClickEvent, ...]]:
        """Return the clicks of each line, apart by visitor; those of an order share event_id and time.

        Our own times are in milliseconds; what is in another unit is read, and told.
        """
        clock = EventClock(malformed.path, "ms")
        for number, line in read_lines(malformed):
            own = self._own(line, clock)
            if own is not None:
                yield (own,)
            else:
                yield from self._read(number, line.encode(), malformed)

    def events(self, malformed: MalformedLines) -> Iterator[ClickEvent]:
        """Return each click with an event_id of its own, so that each line of an order is one."""
        for first, *others in self.records(malformed):
            yield first
            for place, event in enumerate(others, 1):
                event_id = None if event.event_id is None else EventId(f"{event.event_id}-{place}")
                yield msgspec.structs.replace(event, event_id=event_id)

    def _own(self, line: str, clock: EventClock) -> ClickEvent | None:
        """Return the click that a line of our own form is; None where it needs a second look."""
        if not self._is_identity:
            return None
        try:
            event = _decode_click(line)
            time_ms = clock.ms(event.event_time)
        except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
            return None
        if event.item_id is None and event.event_type in ITEM_EVENT_TYPES:
            return None
        return event if time_ms == event.event_time_ms else msgspec.structs.replace(event, event_time=time_ms)

    def _read(self, number: int, value: bytes, malformed: MalformedLines) -> Iterator[tuple[ClickEvent, ...]]:
        visitors = self._reader.visitor_ids(None, value)
        keys = [visitor.encode() for visitor in visitors] if isinstance(visitors, tuple) else [None]
        found = [self._reader.read(key, value, LATEST_TIME_MS, _OF_ONE_VISITOR) for key in keys]
        records = [one for one in found if isinstance(one, Clicks)]
        refused = next((one for one in found if isinstance(one, Rejection)), None)
        ignored = next((one for one in found if isinstance(one, Ignored)), None)
        if refused is not None and not records:
            malformed.add(number, refused.detail)
        elif ignored is not None and not records:
            malformed.ignore(ignored.detail)
        for clicks in records:
            for repair in clicks.repairs:
                malformed.repaired[f"{repair.field} {repair.reason}"] += 1
            try:
                for event in clicks.events:
                    in_bounds(event.event_time_ms, event.event_time)
            except ValueError as error:
                malformed.add(number, str(error))
                continue
            yield clicks.events
