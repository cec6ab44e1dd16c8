"""One shopper under two ids, as pure decisions: what is open under the cookie goes on under the customer.

A click of visitor V that names `anonymous_id` A says that whatever A did until then was V. The states of the two lie on
different partitions, so three inputs move what is open, each an atomic step in one state:

    input                        at the owner of    what happens
    click of V, naming A         V                  V notes A as predecessor; handover(A to V, until the click's time)
    handover                     A                  A notes V as successor; A's events until then leave its state,
                                                    and are kept as closings as session ends are; adoption
    adoption                     V                  V's open session takes them in by event time

The rules that make it exactly once, whatever crashes:

- A record that moves on is sent after the write that it follows from is in the changelog, and so is a session end. So
  whoever reads one knows that it will be sent again as it was, or not at all.
- A handover may come twice: it moves what is there. An adoption may come twice: V keeps, a source partition, the last
  offset it took in, and they come in that order.
- What A did until the click and what comes only afterwards, since A's partition lags, is moved by A's own click.
- Events belong to the first successor whose click was not before them; those after it stay with A (a shopper who logged
  out). So the outcome does not depend on how the partitions lie to each other in time.

V unites sessions that are within the inactivity gap of each other, which is how one session comes out of two, or of
many in any order. What fits none is parked and ends by a tick: nothing is lost. A visitor who was forgotten (erasure,
consent, retention) adopts nothing: the predecessors went with the rest.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from schemas.events import ClickEvent, Erase
from schemas.handovers import Adoption, Handover
from schemas.ids import ItemId, SessionId, VisitorId
from schemas.records import SessionEvent
from schemas.state import (
    ClosedSession,
    Identity,
    InputPosition,
    Move,
    OpenSession,
    ParkedSession,
    Predecessor,
    Successor,
    VisitorState,
    encoded_bytes,
)
from streams.sessions.parked import quietest, without
from streams.sessions.rules import SessionRules
from streams.sessions.sessionizer import Advance, Arrival, InputTopics, caused_by, close, emitted_again, latest
from streams.sessions.state_budget import StateBudget

MAX_PREDECESSORS: Final = 16
"""Of a visitor, the latest; an adoption from an older one is taken in all the same."""
MAX_SUCCESSORS: Final = 8
MAX_SOURCES: Final = 256
"""Source partitions of which the last adopted offset is kept, the latest."""
MAX_HOPS: Final = 8
"""A session that went on under so many ids stays: ids that name each other in a ring must not pass it on for ever."""
MAX_MOVED_PURCHASES: Final = 200
AGAIN_AFTER_MS: Final = 5 * 60_000
"""Event time after which a further click that names both hands over again: the shopper may have been logged out."""


class Joined(Struct, frozen=True, gc=False):
    """What an input does about the ids of its visitor; state None = nothing is to be written.

    closings: sessions that ended, and those that go on elsewhere (`move`). handovers: to be sent.
    """

    state: VisitorState | None
    closings: tuple[ClosedSession, ...] = ()
    handovers: tuple[Handover, ...] = ()


class Identities:
    """The rules; holds no state, so every method is a function of its arguments."""

    def __init__(self, rules: SessionRules, topics: InputTopics) -> None:
        self._rules = rules
        self._topics = topics
        self._gap_ms = rules.inactivity_gap // timedelta(milliseconds=1)
        self._skew_ms = rules.allowed_skew // timedelta(milliseconds=1)
        self._max_duration_ms = rules.max_session_duration // timedelta(milliseconds=1)
        self._budget = StateBudget(rules)

    def follow(self, advance: Advance, events: Sequence[ClickEvent], arrival: Arrival) -> Joined:
        """Add to what a record's `events` did to their visitor what they say of its ids."""
        state, position = advance.state, arrival.position
        if state is None:
            return Joined(None, advance.closings)
        if advance.is_redelivery:
            predecessors = () if state.identity is None else state.identity.predecessors
            again = [known for known in predecessors if known.cause.is_same_as(position)]
            return Joined(state, advance.closings, _handovers(events[0].visitor_id, state, again))
        named: list[Predecessor] = []
        if self._rules.join_identities and advance.status != "bot":
            state, named = self._named(state, events, arrival)
        state, moved = _moved(state, position, self._budget, hops=0)
        return Joined(state, advance.closings + moved, _handovers(events[0].visitor_id, state, named))

    def hand_over(self, state: VisitorState | None, handover: Handover, position: InputPosition) -> Joined:
        """Apply a handover to the visitor whose sessions go on elsewhere."""
        if state is None:  # what comes of this visitor later, and happened before, goes on there, too
            state = VisitorState({}, "answered", latest_ms=0, clock_lag_ms=handover.clock_lag_ms)
        if _is_applied(state, position):
            return Joined(state, caused_by(state, position))
        identity = state.identity or Identity()
        if not any(known.visitor_id == handover.to for known in identity.predecessors):  # else they name each other
            successor = Successor(handover.to, handover.partition, handover.until_ms)
            state = replace(state, identity=replace(identity, successors=_with(identity.successors, successor)))
        state, moved = _moved(state, position, self._budget, hops=0)
        applied = self._topics.applied(state, position)
        return Joined(applied, emitted_again(applied, position) + moved)

    def adopt(self, state: VisitorState | None, adoption: Adoption, position: InputPosition) -> Joined:
        """Apply an adoption to the visitor who goes on with the sessions; nothing where that one was forgotten."""
        if state is None or (identity := state.identity) is None or not _knows(identity, adoption.predecessor):
            return Joined(None)
        if _is_applied(state, position):
            return Joined(state, caused_by(state, position))
        names = _source_names(adoption.source)
        if any(adoption.source.offset <= identity.adopted.get(name, -1) for name in names):
            applied = self._topics.applied(state, position)
            return Joined(applied, emitted_again(applied, position))
        others = [(known, offset) for known, offset in identity.adopted.items() if known not in names]
        adopted = dict([*others, (names[0], adoption.source.offset)][-MAX_SOURCES:])
        closings: tuple[ClosedSession, ...] = ()
        state = replace(
            state,
            identity=replace(identity, adopted=adopted),
            purchased=self._purchased(state.purchased, adoption.purchased),
        )
        for session in adoption.sessions:
            state, closed = self._with_session(state, session, position)
            closings += closed
        state, moved = _moved(state, position, self._budget, hops=adoption.hops + 1)
        applied = self._topics.applied(state, position)
        return Joined(applied, emitted_again(applied, position) + closings + moved)

    def _named(
        self, state: VisitorState, events: Sequence[ClickEvent], arrival: Arrival
    ) -> tuple[VisitorState, list[Predecessor]]:
        """Note the ids that events name beside the visitor's, and give those that may have something to hand over."""
        identity = state.identity or Identity()
        session_id = None if state.session is None else state.session.session_id
        fresh: dict[VisitorId, Predecessor] = {}
        for event in events:
            anonymous_id = event.anonymous_id
            if anonymous_id is None or anonymous_id == event.visitor_id:
                continue
            if any(successor.to == anonymous_id for successor in identity.successors):  # they name each other
                continue
            time_ms = min(event.event_time_ms, arrival.record_time_ms + self._skew_ms)
            known = next((known for known in identity.predecessors if known.visitor_id == anonymous_id), None)
            if known is None or known.session_id != session_id or time_ms >= known.time_ms + AGAIN_AFTER_MS:
                before_ms = fresh[anonymous_id].time_ms if anonymous_id in fresh else time_ms
                fresh[anonymous_id] = Predecessor(anonymous_id, arrival.position, max(time_ms, before_ms), session_id)
        if not fresh:
            return state, []
        others = (known for known in identity.predecessors if known.visitor_id not in fresh)
        predecessors = latest((*others, *fresh.values()), MAX_PREDECESSORS)
        return replace(state, identity=replace(identity, predecessors=predecessors)), list(fresh.values())

    def _purchased(self, own: tuple[ItemId, ...], others: tuple[ItemId, ...]) -> tuple[ItemId, ...]:
        return latest((*(item for item in others if item not in own), *own), self._rules.max_purchased_items)

    def _with_session(
        self, state: VisitorState, session: OpenSession, position: InputPosition
    ) -> tuple[VisitorState, tuple[ClosedSession, ...]]:
        """Unite a session with those of the visitor that it fits, until none does; it is parked where there is none."""
        was_current = False
        while (fitting := self._fitting(state, session)) is not None:
            was_current = was_current or fitting is state.session
            session = self._united(fitting, session)
            state = _taken_out(state, fitting)
        state = replace(state, latest_ms=max(state.latest_ms, session.latest_ms))
        if was_current or (state.session is None and session.latest_ms >= state.ended_ms):
            return replace(state, session=session), ()
        state = replace(state, parked=(*state.parked, ParkedSession(session)))
        closings: tuple[ClosedSession, ...] = ()
        while len(state.parked) >= self._rules.max_open_sessions and (most_quiet := quietest(state)) is not None:
            if not self._budget.can_close(state):
                break  # it ends by a tick
            state, closed = close(state, ClosedSession(position, "inactivity", most_quiet), self._budget)
            closings += closed
        return state, closings

    def _fitting(self, state: VisitorState, session: OpenSession) -> OpenSession | None:
        """Return an open session that is one with `session`: that of the same id of the shop, else the current one."""
        fitting = [own for own in reversed(state.open_sessions) if self._are_one(own, session)]
        same = (own for own in fitting if own.explicit_id is not None and own.explicit_id == session.explicit_id)
        return next(same, fitting[0] if fitting else None)

    def _are_one(self, one: OpenSession, other: OpenSession) -> bool:
        return (
            not one.is_bot
            and (None in {one.explicit_id, other.explicit_id} or one.explicit_id == other.explicit_id)
            and one.started_ms - self._gap_ms <= other.latest_ms
            and other.started_ms - self._gap_ms <= one.latest_ms
            and max(one.latest_ms, other.latest_ms) - min(one.started_ms, other.started_ms) <= self._max_duration_ms
        )

    def _united(self, own: OpenSession, other: OpenSession) -> OpenSession:
        """Put the events of another session into one's own, whose id stays."""
        events = sorted((*other.events, *own.events), key=lambda event: event.time_ms)
        return replace(
            own,
            explicit_id=own.explicit_id or other.explicit_id,
            started_ms=min(own.started_ms, other.started_ms),
            latest_ms=max(own.latest_ms, other.latest_ms),
            event_count=own.event_count + other.event_count,
            events=latest(tuple(events), self._rules.max_kept_events),
            seen=latest((*other.seen, *own.seen), self._rules.max_seen_event_ids),
            location=own.location or other.location,
            device=own.device or other.device,
        )


def adoptions(
    visitor_id: VisitorId, state: VisitorState | None, closings: Iterable[ClosedSession]
) -> list[tuple[Move, Adoption]]:
    """Make the records by which sessions go on elsewhere, one for each id that they go to."""
    going: dict[tuple[Move, InputPosition], list[ClosedSession]] = {}
    for closed in closings:
        if closed.move is not None:
            going.setdefault((closed.move, closed.cause), []).append(closed)
    purchased = () if state is None else state.purchased[-MAX_MOVED_PURCHASES:]
    return [
        (
            move,
            Adoption(
                visitor_id=move.to,
                predecessor=visitor_id,
                source=cause,
                sessions=tuple(closed.session for closed in moved),
                purchased=purchased,
                hops=move.hops,
            ),
        )
        for (move, cause), moved in going.items()
    ]


def erasures(state: VisitorState | None, erase: Erase) -> list[tuple[Erase, int | None]]:
    """Return the erasures of a visitor's other ids, each with its partition (None = that of its key).

    The visitor's state must stay until they are on the broker, or a crash would forget whom to forget: where there are
    any, its own final erasure has to follow them.
    """
    if erase.reach == "self" or state is None or state.identity is None:
        return []
    identity = state.identity
    found: list[tuple[Erase, int | None]] = [
        (replace(erase, visitor_id=known.visitor_id, reach="predecessors"), None) for known in identity.predecessors
    ]
    if erase.reach == "all":
        ids = {successor.to: successor.partition for successor in identity.successors}
        found += [(replace(erase, visitor_id=visitor_id), partition) for visitor_id, partition in ids.items()]
    return found


def _handovers(visitor_id: VisitorId, state: VisitorState, named: Iterable[Predecessor]) -> tuple[Handover, ...]:
    return tuple(
        Handover(
            visitor_id=known.visitor_id,
            to=visitor_id,
            partition=known.cause.partition,
            until_ms=known.time_ms,
            clock_lag_ms=state.clock_lag_ms,
        )
        for known in named
    )


def _with(successors: tuple[Successor, ...], new: Successor) -> tuple[Successor, ...]:
    """Insert by time; of two in a row that are the same id, the later one says it all."""
    ordered = sorted({*successors, new}, key=lambda successor: successor.until_ms)
    lasting = [group[-1] for _, one in groupby(ordered, key=lambda successor: successor.to) if (group := list(one))]
    return latest(tuple(lasting), MAX_SUCCESSORS)


def _moved(
    state: VisitorState, position: InputPosition, budget: StateBudget, *, hops: int
) -> tuple[VisitorState, tuple[ClosedSession, ...]]:
    """Take out what goes on under another id; it stays among the closings until its adoption is on the broker."""
    if state.identity is None or not state.identity.successors or hops >= MAX_HOPS:
        return state, ()
    moved: list[ClosedSession] = []
    room_bytes = budget.closing_room_bytes(state)
    for session in state.open_sessions:
        parts = _parts(session, state.identity.successors, position)
        going = [(successor, part) for successor, part in parts if successor is not None]
        leaving = [
            ClosedSession(position, "inactivity", part, Move(successor.to, successor.partition, hops))
            for successor, part in going
        ]
        leaving_bytes = sum(map(encoded_bytes, leaving))
        if session.is_bot or not going or leaving_bytes > room_bytes:
            continue
        moved += leaving
        room_bytes -= leaving_bytes
        rest = parts[-1][1] if parts[-1][0] is None else None
        state = without(state, session) if rest is None else _with_rest(state, session, rest)
    return (replace(state, closings=(*state.closings, *moved)), tuple(moved)) if moved else (state, ())


def _parts(
    session: OpenSession, successors: Sequence[Successor], position: InputPosition
) -> list[tuple[Successor | None, OpenSession]]:
    """Cut a session where its events change hands; the events that are only counted are the oldest.

    What stays keeps the session's id; where nothing does, the first part.
    """

    def successor_of(event: SessionEvent) -> Successor | None:
        return next((successor for successor in successors if event.time_ms <= successor.until_ms), None)

    runs = [(successor, tuple(events)) for successor, events in groupby(session.events, key=successor_of)]
    if len(runs) == 1:
        return [(runs[0][0], session)]
    uncounted = session.event_count - len(session.events)
    keeper = len(runs) - 1 if runs[-1][0] is None else 0
    parts: list[tuple[Successor | None, OpenSession]] = []
    for number, (successor, events) in enumerate(runs):
        own_id = session.explicit_id or SessionId(f"{position.record_id}-{number}")
        part = replace(
            session,
            session_id=session.session_id if number == keeper else own_id,
            started_ms=events[0].time_ms if parts else session.started_ms,
            latest_ms=events[-1].time_ms,
            event_count=len(events) + (0 if parts else uncounted),
            events=events,
        )
        parts.append((successor, part))
    return parts


def _with_rest(state: VisitorState, session: OpenSession, rest: OpenSession) -> VisitorState:
    if state.session is session:
        return replace(state, session=rest)
    parked = (replace(one, session=rest) if one.session is session else one for one in state.parked)
    return replace(state, parked=tuple(parked))


def _taken_out(state: VisitorState, session: OpenSession) -> VisitorState:
    """Take out a session that comes back united; what was shown in the current one stays."""
    return replace(state, session=None) if state.session is session else without(state, session)


def _is_applied(state: VisitorState, position: InputPosition) -> bool:
    applied = state.applied_offset(position)
    return applied is not None and position.offset <= applied


def _source_names(source: InputPosition) -> tuple[str, ...]:
    """Return the names of a source partition, as of its topic's id and as it was named before there were ids."""
    bare = f"{source.topic}-{source.partition}"
    return (f"{bare}@{source.topic_id:x}", bare) if source.topic_id else (bare,)


def _knows(identity: Identity, predecessor: VisitorId) -> bool:
    """Return whether the visitor had this id, as far as that is still known."""
    known = [one.visitor_id for one in identity.predecessors]
    return predecessor in known or len(known) == MAX_PREDECESSORS
