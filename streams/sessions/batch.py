"""The sessions of a stored clickstream, by the rules of the stream: no broker, no wall clock, no state that is kept.

Two ways through the same `Sessionizer`, both as generators over sorted records, so that memory is what is open:

`sessions_by_visitor` takes one visitor after the other, as a shuffle by key leaves them. Nothing tells it how far the
others have come, so a session ends by the visitor's next event, or by the end of the data.
`sessions_in_stream_order` takes a whole partition as it was written, with the ticks that `insession replay` has: what
it tells of each session is what a live worker told, but for events that a tick of the live clock fell between.

Both give the same sessions unless an event came more than inactivity gap and grace period behind its partition: in the
stream its session had been ended by then, in the other way it is still open. Two ids of a visitor are not joined.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from typing import Final

from msgspec.structs import replace

from schemas.click_reader import Clicks
from schemas.pseudonym import pseudonym
from schemas.records import SessionSummary
from schemas.state import NEVER_MS, ClosedSession, InputPosition, VisitorState
from schemas.validation import Ignored, Rejection
from streams.records import InputRecord
from streams.sessions.sessionizer import Arrival, Sessionizer, summarise

END_OF_DATA: Final = "end-of-data"
"""Stands for the topic in the id of a session that nothing but the end of the data has ended."""


@dataclass(frozen=True, slots=True)
class BatchRules:
    """What both ways need.

    sessionizer: over the topics `control` and that of the records. read: reads a record by the shop's mapping.
    pseudonym_key: secret of the keyed hash that stands for a visitor. allowed_skew: see `SessionRules`.
    tick_interval: of stream time; by visitor there are no ticks.
    """

    sessionizer: Sessionizer
    read: Callable[[InputRecord], Clicks | Ignored | Rejection]
    pseudonym_key: bytes
    control: str
    allowed_skew: timedelta
    tick_interval: timedelta

    def clicks(self, record: InputRecord, counts: "Counter[str]") -> Clicks | None:
        """Read a record; one that is none for us, or that the stream would dead-letter, is counted."""
        clicks = self.read(record)
        if isinstance(clicks, Clicks):
            return clicks
        counts[f"{'ignored' if isinstance(clicks, Ignored) else 'rejected'}: {clicks.reason}"] += 1
        return None

    def advance(
        self, state: VisitorState | None, record: InputRecord, clicks: Clicks, counts: "Counter[str]"
    ) -> tuple[VisitorState | None, tuple[ClosedSession, ...]]:
        """Apply a record and count its status; one that is there twice ends nothing again."""
        moved = self.sessionizer.advance(state, clicks.events, Arrival(record.position, record.time_ms))
        counts[moved.status] += 1
        if any(event.anonymous_id not in {None, event.visitor_id} for event in clicks.events):
            counts["not joined with another id"] += 1
        return (state if moved.state is None else moved.state), (() if moved.is_redelivery else moved.closings)

    def told(self, key: bytes, closings: Iterable[ClosedSession]) -> Iterator[SessionSummary]:
        """Make the session-end records of what one input ended, as the worker makes them."""
        closings = tuple(closings)
        causes = [closed.cause for closed in closings]
        for number, closed in enumerate(closings):
            yield summarise(closed, pseudonym(self.pseudonym_key, key), causes[:number].count(closed.cause))

    def ended(self, state: VisitorState, position: InputPosition) -> Iterator[ClosedSession]:
        """End what is open, since no more is to come; `position` is that of a tick, and the next ones follow it."""
        while state.open_sessions:
            # What ended before is told, so it takes no room any more.
            result = self.sessionizer.tick(replace(state, closings=()), position, NEVER_MS)
            assert result is not None
            assert result.state is not None
            yield from result.closings
            state, position = result.state, replace(position, offset=position.offset + 1)


def sessions_by_visitor(
    records: Iterable[InputRecord], rules: BatchRules, counts: "Counter[str]"
) -> Iterator[SessionSummary]:
    """Return the sessions of records that are sorted by key, partition and offset; `counts` gets each record's status.

    rules: `control` is `END_OF_DATA`: a session that is open at the end has an id of its own kind.
    """
    for key, run in groupby(records, key=lambda record: record.key):
        state: VisitorState | None = None
        end: InputPosition | None = None
        for record in run:
            end = replace(record.position, topic=rules.control)
            clicks = rules.clicks(record, counts)
            if clicks is not None:
                state, closings = rules.advance(state, record, clicks, counts)
                yield from rules.told(key or b"", closings)
        if state is not None and end is not None:
            yield from rules.told(key or b"", rules.ended(state, end))


def sessions_in_stream_order(
    records: Iterable[InputRecord], rules: BatchRules, counts: "Counter[str]"
) -> Iterator[SessionSummary]:
    """Return the sessions of records that are sorted by partition and offset; memory is the visitors of a partition.

    rules: `control` is the topic of the ticks, whose name the ids of sessions that a tick ended begin with.
    """
    for partition, run in groupby(records, key=lambda record: record.position.partition):
        yield from _Partition(rules, partition, counts).sessions(run)


@dataclass(slots=True)
class _Partition:
    """One partition on its way: the visitors' states, and when a tick is to look at them again.

    ticks: those that were. due: a heap; `looks` has the earliest entry of a visitor in it.
    """

    rules: BatchRules
    number: int
    counts: "Counter[str]"
    states: dict[bytes, VisitorState] = field(default_factory=dict)
    due: list[tuple[int, bytes]] = field(default_factory=list)
    looks: dict[bytes, int] = field(default_factory=dict)
    stream_time_ms: int = 0
    next_tick_ms: int = 0
    ticks: int = 0

    def sessions(self, records: Iterable[InputRecord]) -> Iterator[SessionSummary]:
        for record in records:
            clicks = self.rules.clicks(record, self.counts)
            if clicks is None or record.key is None:
                continue
            latest_ms = record.time_ms + _ms(self.rules.allowed_skew)
            times_ms = [min(event.event_time_ms, latest_ms) for event in clicks.events]
            self.stream_time_ms = max(self.stream_time_ms, *times_ms)
            if self.stream_time_ms >= self.next_tick_ms:
                yield from self._tick()
                self.next_tick_ms = self.stream_time_ms + _ms(self.rules.tick_interval)
            state, closings = self.rules.advance(self.states.get(record.key), record, clicks, self.counts)
            if state is not None:
                self._keep(record.key, state)
            yield from self.rules.told(record.key, closings)
        end = self._position()
        for key, state in self.states.items():
            yield from self.rules.told(key, self.rules.ended(state, end))

    def _tick(self) -> Iterator[SessionSummary]:
        position, again = self._position(), list[tuple[bytes, VisitorState]]()
        self.ticks += 1
        while self.due and self.due[0][0] <= self.stream_time_ms:
            due_ms, key = heapq.heappop(self.due)
            if self.looks.get(key) != due_ms:
                continue
            del self.looks[key]
            state = self.states[key]
            if self.rules.sessionizer.due_ms(state) > self.stream_time_ms:
                again.append((key, state))
                continue
            result = self.rules.sessionizer.tick(state, position, self.stream_time_ms)
            if result is None:
                again.append((key, state))
            elif result.state is None:
                del self.states[key]
            else:
                again.append((key, result.state))
                yield from self.rules.told(key, result.closings)
        for key, state in again:  # only now: what this tick has ended waits for a later one to be let go
            self._keep(key, state)

    def _keep(self, key: bytes, state: VisitorState) -> None:
        self.states[key] = state
        due_ms = self.rules.sessionizer.due_ms(state)
        if due_ms < self.looks.get(key, NEVER_MS):
            self.looks[key] = due_ms
            heapq.heappush(self.due, (due_ms, key))

    def _position(self) -> InputPosition:
        return InputPosition(self.rules.control, self.number, self.ticks)


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
