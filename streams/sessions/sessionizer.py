"""Sessions in event time, as pure decisions: `(state, events, arrival) -> (state, outputs)`.

A worked example (gap 30 min, grace 60 s; times in minutes):

    arrives  event time  what happens
    1        0           opens session S1
    2        20          joins S1 (within the gap)
    3        19.5        joins S1 before the event of 20 (30 s behind the visitor's latest: within grace)
    4        18          late (2 min behind): answered from a cheap tier, no state moves
    5        50          joins S1: the gap is inclusive
    6        80.1        ends S1 (`inactivity`) and opens S2
    7        80.05       joins S2: it is not older than the end of S1, and within grace of 80.1

A session also ends at `max_session_duration` and on a `session_end` event. Explicit session ids part sessions that are
open side by side (two devices); beyond `max_open_sessions` the quietest ends (`session_id_changed`). A session is never
merged and never reopened. Ticks end sessions that nobody clicks in any more; see `Sessionizer.tick`.

A record may hold several events, which are applied one after the other and written once. The lines of one order (equal
event_id, type and time) are one *act*: it is a duplicate or none, and it counts once for the bot rule.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from itertools import groupby
from typing import Final, Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from schemas.events import ClickEvent, from_unix_ms
from schemas.ids import EventId, ItemId, SessionId
from schemas.records import SessionEvent, SessionSummary, Status
from schemas.state import (
    NEVER_MS,
    ClosedSession,
    CountedInput,
    CountedLine,
    Identity,
    InputPosition,
    OpenSession,
    Outcome,
    VisitorState,
)
from streams.sessions.counted_views import counted_views
from streams.sessions.parked import quietest, turned_to, without
from streams.sessions.rules import SessionRules
from streams.sessions.state_budget import StateBudget


class Arrival(Struct, frozen=True, gc=False):
    """Where and when an input record reached Kafka; record_time_ms is the record's timestamp, Unix milliseconds."""

    position: InputPosition
    record_time_ms: int


class Advance(Struct, frozen=True, gc=False):
    """What one input does to one visitor.

    state: to be written, also when nothing moved (a redelivery writes again); None = nothing is to be written.
    closings: sessions that this input ended; each becomes one session-end record.
    joined: the places, from 0, of those of its events that are in the session that is open now.
    outcomes: what the input says of the answer before it; of a redelivered input, what it said the first time.
    counted: its events that count for what is trending, of a redelivered input the same.
    is_redelivery: the state held this offset already.
    is_still: the input moved nothing, so that a mark of its offset is all that has to be stored.
    """

    state: VisitorState | None
    status: Status
    closings: tuple[ClosedSession, ...] = ()
    joined: tuple[int, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    is_redelivery: bool = False
    is_still: bool = False
    counted: tuple[CountedLine, ...] = ()


@dataclass(frozen=True, slots=True)
class TickResult:
    """What a tick does to one visitor; state None = forget the visitor (tombstone)."""

    state: VisitorState | None
    closings: tuple[ClosedSession, ...] = ()


_T = TypeVar("_T")
_STILL: Final[frozenset[Status]] = frozenset({"duplicate", "late", "identified"})
"""What becomes of an act that moves no session."""
Timing = Literal["fits", "late", "inactivity", "max_duration"]


@dataclass(frozen=True, slots=True)
class InputTopics:
    """The two kinds of inputs of the actor, and how many offsets of a partition can be unacknowledged at once.

    A closing whose cause lies further back than that is known to be on the broker, so the state drops it. Of a topic
    that is gone nobody knows: what its inputs have closed is told again, by the first input of the one made anew.
    """

    clickstream: str
    control: str
    clickstream_window: int = 256
    control_window: int = 4

    def window(self, topic: str) -> int:
        """Return the most offsets of a partition of `topic` that can be unacknowledged at once."""
        return self.control_window if topic == self.control else self.clickstream_window

    def applied(self, state: VisitorState, position: InputPosition) -> VisitorState:
        """Note that an input was applied, and drop the closings that are on the broker for sure by now."""
        applied = state.with_applied(position)
        if not state.closings:
            return applied
        oldest = position.offset - self.window(position.topic)
        closings = [
            replace(closed, again=position) if _is_of_an_earlier_topic(closed.emitted_by, position) else closed
            for closed in state.closings
        ]
        return replace(
            applied,
            closings=tuple(
                c for c in closings if c.emitted_by.topic != position.topic or c.emitted_by.offset >= oldest
            ),
        )

    def counted(
        self, state: VisitorState, position: InputPosition, lines: tuple[CountedLine, ...]
    ) -> tuple[CountedInput, ...]:
        """Keep what an input counts, and drop what is on the broker for sure by now."""
        oldest = position.offset - self.window(position.topic)
        kept = (
            one
            for one in state.counted
            if one.position.topic != position.topic
            or (one.position.offset >= oldest and one.position.shares_topic_with(position))
        )
        return (*kept, CountedInput(position, lines))


class Sessionizer:
    """The session rules; holds no state, so every method is a function of its arguments."""

    def __init__(self, rules: SessionRules, topics: InputTopics) -> None:
        self._rules = rules
        self._topics = topics
        self._gap_ms = _ms(rules.inactivity_gap)
        self._grace_ms = _ms(rules.grace_period)
        self._max_duration_ms = _ms(rules.max_session_duration)
        self._skew_ms = _ms(rules.allowed_skew)
        self._retention_ms = _ms(rules.visitor_retention)
        self._bot_events_per_ms = rules.bot_events_per_minute / 60_000
        self.budget = StateBudget(rules)

    def advance(self, state: VisitorState | None, events: Sequence[ClickEvent], arrival: Arrival) -> Advance:
        """Apply the events of one record, at least one, to their visitor's state.

        The status is that of the last act that moved the session; where none did, of the last one.
        """
        if any(event.consent is False for event in events):
            return self._without_consent(state, arrival.position)
        if self._rules.ignore_session_ids:
            events = [replace(event, session_id=None) for event in events]
        redelivered = _redelivered(state, arrival.position)
        if redelivered is not None:
            return redelivered
        first_ms = self._time_ms(events[0], arrival)
        if state is None:
            begun = VisitorState(offsets={}, last_status="answered", latest_ms=first_ms)
        else:
            begun = replace(state, latest_ms=first_ms) if state.is_forgotten else state
        whole = Advance(begun, "duplicate")
        for first, act in _acts(events):
            places = range(first, first + len(act))
            whole = _followed(whole, self._acted(whole.state, act, arrival, first), places)
        return self._followed_by_a_mark(state, whole, arrival.position)

    def _followed_by_a_mark(self, before: VisitorState | None, moved: Advance, position: InputPosition) -> Advance:
        """Note that the input was applied, and whether a mark says all that it has changed."""
        applied = self._applied(moved, position)
        is_still = before is not None and moved.state is before and _differ_in_the_mark_only(before, applied.state)
        return replace(applied, is_still=is_still)

    def _without_consent(self, state: VisitorState | None, position: InputPosition) -> Advance:
        """Forget a visitor, but for what a redelivery of inputs before must find: without it they would be told anew.

        That is the offsets, the closings that may not be on the broker yet, and other ids that are still to be
        forgotten. A tick writes the tombstone as soon as no redelivery can come; where nothing is kept, it is written
        now.
        """
        if state is None:
            return Advance(None, "no_consent")
        last = state.applied_offset(position)
        if last is not None and position.offset <= last:
            return Advance(state, "no_consent", caused_by(state, position), is_redelivery=True)
        forgotten = _forgotten(state)
        if state.is_forgotten and _differ_in_the_mark_only(state, forgotten):
            forgotten = state
        return self._followed_by_a_mark(state, Advance(forgotten, "no_consent"), position)

    def _acted(self, state: VisitorState | None, act: Sequence[ClickEvent], arrival: Arrival, place: int) -> Advance:
        """Apply one act, whose events are lines of each other; place: of its first line in the record."""
        assert state is not None
        event, time_ms = act[0], self._time_ms(act[0], arrival)
        if event.event_type == "identify":  # streams/sessions/identity.py makes something of it
            return Advance(state, "identified")
        turned = turned_to(state, event.session_id)
        if _is_duplicate(turned.session, event):
            return Advance(state, "duplicate")
        if time_ms < state.latest_ms - self._grace_ms or self._is_of_a_closed_session(turned, event, time_ms):
            return Advance(state, "late")
        if event.event_type == "session_end":
            return self._ended(state, event, time_ms, arrival.position)
        if turned.session is None and len(turned.parked) == self._rules.max_open_sessions and time_ms < state.latest_ms:
            return Advance(state, "late")  # it would end a session for one that is older
        moved = self._clicked(turned, act, time_ms, arrival, place)
        return Advance(state, moved.status) if moved.state is turned else moved

    def _is_of_a_closed_session(self, turned: VisitorState, event: ClickEvent, time_ms: int) -> bool:
        """Return whether it is older than the end of a session; an event that names an open session belongs to that."""
        session = turned.session
        is_named = event.session_id is not None and session is not None and session.explicit_id == event.session_id
        return time_ms < turned.ended_ms and not is_named

    def _time_ms(self, event: ClickEvent, arrival: Arrival) -> int:
        return min(event.event_time_ms, arrival.record_time_ms + self._skew_ms)

    def tick(
        self,
        state: VisitorState,
        position: InputPosition,
        stream_time_ms: int,
        committed: Collection[InputPosition] = (),
        moment: Collection[InputPosition] = (),
    ) -> TickResult | None:
        """End the visitor's session if it expired by `stream_time_ms`; None where there is nothing to write.

        committed: where a restart would begin to read the inputs of this partition; none = nothing is read twice. A
        visitor is forgotten only when nothing that was applied can come again. moment: behind which click of each
        clickstream the tick was made; it says nothing of a visitor who has clicked since.

        A session expires when no event that belongs to it can arrive in time any more: after gap and grace (as in Kafka
        Streams, apache/kafka#10824). A visitor without a session is forgotten after `visitor_retention`.
        """
        if repeated := caused_by(state, position):
            return TickResult(state, repeated)
        last = state.applied_offset(position)
        if last is not None and position.offset < last:
            return None
        if any((last := state.applied_offset(one)) is not None and last >= one.offset for one in moment):
            stream_time_ms = -1
        expired = [session for session in state.open_sessions if stream_time_ms > self._expires_ms(session)]
        if expired:
            moved, closings = state, tuple[ClosedSession, ...]()
            for session in expired:
                if not self.budget.can_close(moved):
                    break  # a later tick ends it, when those before it are surely told
                moved, closed = close(moved, ClosedSession(position, "inactivity", session), self.budget)
                closings += closed
            applied = self._topics.applied(moved, position)
            return TickResult(applied, emitted_again(applied, position) + closings)
        if stream_time_ms >= self._forget_ms(state) and _cannot_come_again(state, committed):
            return TickResult(None)
        applied = self._topics.applied(state, position)
        return TickResult(applied, emitted_again(applied, position)) if applied.closings != state.closings else None

    def is_quiet(self, state: VisitorState) -> bool:
        """Return whether nothing but to be forgotten is before the visitor, some time after `visitor_retention`."""
        if state.open_sessions or _is_forgotten_soon(state):
            return False
        return all(closed.emitted_by.topic != self._topics.control for closed in state.closings)

    def due_ms(self, state: VisitorState) -> int:
        """Event time from which a tick has work with `state`: a session to end, a closing or the visitor to forget."""
        if any(closed.emitted_by.topic == self._topics.control for closed in state.closings):
            return state.latest_ms
        if state.open_sessions:
            return min(map(self._expires_ms, state.open_sessions)) + 1
        return min(self._forget_ms(state), NEVER_MS)

    def _forget_ms(self, state: VisitorState) -> int:
        """Return the event time at which a visitor without an open session is forgotten."""
        if state.open_sessions:
            return NEVER_MS
        if _is_forgotten_soon(state):
            return state.latest_ms
        return _quiet_since_ms(state) + self._retention_ms + 1

    def _expires_ms(self, session: OpenSession) -> int:
        return session.latest_ms + self._gap_ms + self._grace_ms

    def _ended(self, state: VisitorState, event: ClickEvent, time_ms: int, position: InputPosition) -> Advance:
        """Apply a `session_end` event: it ends the open session it belongs to and opens none."""
        session = turned_to(state, event.session_id).session
        if session is None or self._timing(session, time_ms) == "late":
            return Advance(state, "ended")
        if self.budget.closing_room_bytes(state) < 0:
            return Advance(state, "bot")
        state, closings = close(state, ClosedSession(position, "session_end_event", session), self.budget)
        ended_ms = max(state.ended_ms, time_ms)
        return Advance(replace(state, ended_ms=ended_ms, latest_ms=max(state.latest_ms, ended_ms)), "ended", closings)

    def _clicked(
        self, state: VisitorState, act: Sequence[ClickEvent], time_ms: int, arrival: Arrival, place: int
    ) -> Advance:
        """Apply a click to the current session, or open one; the same state where it moves none."""
        event, session = act[0], state.session
        closings: tuple[ClosedSession, ...] = ()
        if session is not None:
            timing = self._timing(session, time_ms)
            if timing == "late":  # too old for the session that it names
                return Advance(state, "late")
            if timing != "fits":
                if self.budget.closing_room_bytes(state) < 0:
                    return Advance(state, "bot")
                state, closings = close(state, ClosedSession(arrival.position, timing, session), self.budget)
        session = state.session
        if session is None:
            is_full = len(state.parked) >= self._rules.max_open_sessions
            if is_full and not closings and self.budget.closing_room_bytes(state) < 0:
                return Advance(state, "bot")
            session = _open(event, time_ms, arrival.position, place)
            state, evicted = self._with_room(state, arrival.position)
            closings += evicted
        if session.is_bot:
            return Advance(state, "bot", closings)
        if not _is_of_the_last_order(session, event, time_ms):
            state = self._metered(state, time_ms)
        if self._rules.has_bots and state.rate_level > self._rules.bot_burst_events:
            return Advance(replace(state, session=replace(session, is_bot=True)), "bot", closings)
        joined = self._joined(session, act, time_ms)
        counted, counted_items = counted_views(state.counted_items, (session, joined), act, place)
        moved = replace(
            state,
            latest_ms=max(state.latest_ms, time_ms),
            clock_lag_ms=max(0, arrival.record_time_ms - time_ms),
            session=joined,
            purchased=self._purchased(state, act),
            counted_items=counted_items,
        )
        return Advance(moved, "answered", closings, counted=counted)

    def _with_room(
        self, state: VisitorState, position: InputPosition
    ) -> tuple[VisitorState, tuple[ClosedSession, ...]]:
        """End parked sessions, the quietest first, until one more may be open."""
        closings: tuple[ClosedSession, ...] = ()
        while len(state.parked) >= self._rules.max_open_sessions and (session := quietest(state)) is not None:
            if not self.budget.can_close(state):
                break
            state, closed = close(state, ClosedSession(position, "session_id_changed", session), self.budget)
            closings += closed
        return state, closings

    def _timing(self, session: OpenSession, time_ms: int) -> Timing:
        """Return how an event that is in time for its visitor lies to its session."""
        if time_ms > session.latest_ms + self._gap_ms:
            return "inactivity"
        if time_ms - session.started_ms > self._max_duration_ms:
            return "max_duration"
        return "late" if session.latest_ms - time_ms > self._max_duration_ms else "fits"

    def _joined(self, session: OpenSession, act: Sequence[ClickEvent], time_ms: int) -> OpenSession:
        event, kept = act[0], session.events
        for line in act:
            kept = _inserted(kept, SessionEvent(line.event_type, time_ms, line.item_id, line.price))
        seen = session.seen if event.event_id is None else (*session.seen, _act_hash(event.event_id, event.item_id))
        is_latest = time_ms >= session.latest_ms
        return replace(
            session,
            explicit_id=session.explicit_id or event.session_id,
            started_ms=min(session.started_ms, time_ms),
            latest_ms=max(session.latest_ms, time_ms),
            event_count=session.event_count + len(act),
            events=latest(kept, self._rules.max_kept_events),
            seen=latest(seen, self._rules.max_seen_event_ids),
            location=(event.location if is_latest else None) or session.location,
            device=(event.device if is_latest else None) or session.device,
        )

    def _purchased(self, state: VisitorState, act: Sequence[ClickEvent]) -> tuple[ItemId, ...]:
        if act[0].event_type != "purchase":
            return state.purchased
        new = dict.fromkeys(line.item_id for line in act if line.item_id is not None)
        kept = (*state.purchased, *(item_id for item_id in new if item_id not in state.purchased))
        return latest(kept, self._rules.max_purchased_items)

    def _metered(self, state: VisitorState, time_ms: int) -> VisitorState:
        """Leaky bucket in event time: an event adds one, `bot_events_per_minute` leak."""
        leaked = max(0, time_ms - state.rate_ms) * self._bot_events_per_ms
        return replace(state, rate_level=max(0.0, state.rate_level - leaked) + 1, rate_ms=max(state.rate_ms, time_ms))

    def _applied(self, moved: Advance, position: InputPosition) -> Advance:
        assert moved.state is not None
        state = self._topics.applied(moved.state, position)
        has_further = len(state.offsets.keys() - {self._topics.control}) > 1
        state = replace(
            state,
            last_status=moved.status,
            last_topic=position.topic if has_further else "",
            last_outcome=None,
            further_outcomes=(),
            counted=self._topics.counted(state, position, moved.counted) if moved.counted else state.counted,
        )
        return Advance(
            state,
            moved.status,
            emitted_again(state, position) + moved.closings,
            moved.joined,
            counted=moved.counted,
        )


def _forgotten(state: VisitorState) -> VisitorState:
    predecessors = () if state.identity is None else state.identity.predecessors
    return VisitorState(
        state.offsets,
        "no_consent",
        state.latest_ms,
        clock_lag_ms=state.clock_lag_ms,
        closings=state.closings,
        identity=Identity(predecessors=predecessors) if predecessors else None,
        topic_ids=state.topic_ids,
        counted=state.counted,
    )


def _is_forgotten_soon(state: VisitorState) -> bool:
    """Return whether nothing but a redelivery that may come keeps the visitor."""
    return state.is_forgotten and state.identity is None


def _cannot_come_again(state: VisitorState, committed: Iterable[InputPosition]) -> bool:
    return all((last := state.applied_offset(one)) is None or last < one.offset for one in committed)


def _quiet_since_ms(state: VisitorState) -> int:
    """Return the event time of the last that is known of a visitor without an open session."""
    successors = () if state.identity is None else state.identity.successors
    return max([state.latest_ms, *(successor.until_ms for successor in successors)])


def latest(values: tuple[_T, ...], count: int) -> tuple[_T, ...]:
    """Return the last `count` values; 0 = none."""
    return values[-count:] if count else ()


def _open(event: ClickEvent, time_ms: int, position: InputPosition, place: int) -> OpenSession:
    own_id = position.record_id + (f"-{place}" if place else "")  # a batch may open more than one
    return OpenSession(
        session_id=event.session_id or SessionId(own_id),
        explicit_id=event.session_id,
        started_ms=time_ms,
        latest_ms=time_ms,
        event_count=0,
        events=(),
        seen=(),
        location=event.location,
        device=event.device,
    )


def close(
    state: VisitorState, closed: ClosedSession, budget: StateBudget
) -> tuple[VisitorState, tuple[ClosedSession, ...]]:
    """End an open session. One that a bot opened and never joined has no event and leaves no session end."""
    session = closed.session
    closings = (budget.kept(state, closed),) if session.event_count else ()
    ended = replace(
        without(state, session),
        closings=(*state.closings, *closings),
        ended_ms=max(state.ended_ms, session.latest_ms),
    )
    return ended, closings


def summarise(closed: ClosedSession, visitor_key: str, place: int = 0) -> SessionSummary:
    """Make the session-end record of a closed session.

    visitor_key: the pseudonym of its visitor. place: among the sessions of the visitor that the same input ended.
    """
    session = closed.session
    return SessionSummary(
        id=f"{closed.cause.record_id}-{visitor_key}" + (f"-{place}" if place else ""),
        visitor_key=visitor_key,
        session_id=session.session_id,
        end_reason=closed.end_reason,
        started_at=from_unix_ms(session.started_ms),
        ended_at=from_unix_ms(session.latest_ms),
        event_count=session.event_count,
        events=list(session.events),
        is_bot=session.is_bot,
        location=session.location,
        device=session.device,
    )


def _redelivered(state: VisitorState | None, position: InputPosition) -> Advance | None:
    """Recognise an offset that the state holds already: the state is rewritten unchanged, what it caused re-emitted."""
    last = None if state is None else state.applied_offset(position)
    if state is None or last is None or position.offset > last:
        return None
    closings = caused_by(state, position)
    counted = next((one.lines for one in state.counted if one.position.is_same_as(position)), ())
    if position.offset < last or state.last_topic not in {"", position.topic}:
        return Advance(state, "replayed", closings, is_redelivery=True, counted=counted)
    outcomes = state.last_outcomes
    return Advance(state, state.last_status, closings, outcomes=outcomes, is_redelivery=True, counted=counted)


def _is_of_an_earlier_topic(one: InputPosition, position: InputPosition) -> bool:
    return one.topic == position.topic and not one.shares_topic_with(position)


def _differ_in_the_mark_only(before: VisitorState, applied: VisitorState | None) -> bool:
    """Return whether an applied input leaves nothing behind but what a mark holds."""
    return applied is not None and before == replace(
        applied,
        offsets=before.offsets,
        last_status=before.last_status,
        last_topic=before.last_topic,
        last_outcome=before.last_outcome,
        further_outcomes=before.further_outcomes,
    )


def caused_by(state: VisitorState, position: InputPosition) -> tuple[ClosedSession, ...]:
    """Return the closings of an input that the state still holds."""
    return tuple(closed for closed in state.closings if closed.emitted_by.is_same_as(position))


def emitted_again(state: VisitorState, position: InputPosition) -> tuple[ClosedSession, ...]:
    """Return the closings of inputs whose topic is gone, which the state has left to `position` to tell."""
    return tuple(closed for closed in state.closings if closed.again == position)


def _inserted(events: tuple[SessionEvent, ...], event: SessionEvent) -> tuple[SessionEvent, ...]:
    """Insert by event time; events of equal time keep their order of arrival."""
    at = len(events)
    while at > 0 and events[at - 1].time_ms > event.time_ms:
        at -= 1
    return (*events[:at], event, *events[at:])


def _acts(events: Sequence[ClickEvent]) -> Iterator[tuple[int, list[ClickEvent]]]:
    """Part events into acts, each with the place of its first line."""
    if len(events) == 1:
        yield 0, list(events)
        return
    first = 0
    for _, lines in groupby(events, key=lambda event: (event.event_id, event.event_type, event.event_time_ms)):
        act = list(lines)
        yield first, act
        first += len(act)


def _followed(before: Advance, moved: Advance, places: range) -> Advance:
    """Put what an act did behind what the acts of the record before it did."""
    joined = before.joined if moved.state is not None and not moved.closings else ()
    is_move = moved.status not in _STILL
    is_first = not before.closings and not before.joined and before.status in _STILL
    return Advance(
        moved.state,
        moved.status if is_move or is_first else before.status,
        before.closings + moved.closings,
        (*joined, *places) if moved.status == "answered" else joined,
        counted=before.counted + moved.counted,
    )


def _is_of_the_last_order(session: OpenSession, event: ClickEvent, time_ms: int) -> bool:
    """Return whether it is a further line of an order that comes a record a line: another purchase of the moment."""
    last = session.events[-1] if session.events else None
    return (
        event.event_type == "purchase" and last is not None and (last.event_type, last.time_ms) == ("purchase", time_ms)
    )


def _is_duplicate(session: OpenSession | None, event: ClickEvent) -> bool:
    """Return whether it was sent before; the lines of an order may all have the id of the message that they came in."""
    if session is None or event.event_id is None:
        return False
    return _act_hash(event.event_id, event.item_id) in session.seen


def _act_hash(event_id: EventId, item_id: ItemId | None) -> int:
    key = event_id.encode() if item_id is None else b"%b\0%b" % (event_id.encode(), item_id.encode())
    return int.from_bytes(blake2b(key, digest_size=8).digest())


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
