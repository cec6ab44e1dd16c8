"""What an undisturbed run makes of a clickstream as it lies in Kafka: the session rules alone, offset by offset."""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from agents.settings import Settings
from agents.wiring import session_rules
from schemas.click_reader import ClickReader
from schemas.events import ClickEvent
from schemas.ids import SessionId
from schemas.records import CountedView, SessionEvent, SessionSummary, Status
from schemas.state import (
    InputPosition,
    ParkedSession,
    VisitorState,
    decode_state,
    encode_state,
    is_mark,
    mark_key,
    read_visitor,
)
from schemas.validation import Ignored, Rejection, RejectReason
from streams.cluster.topics import Topic
from streams.sessions.sessionizer import Arrival, summarise
from tests.kafka.topic_log import LoggedRecord

StateKey = tuple[int, bytes]
"""Partition and key of a visitor's state."""


@dataclass(slots=True)
class UndisturbedRun:
    """What must be on the topics and in the tables, by record id and by partition and key."""

    statuses: dict[str, Status] = field(default_factory=dict)
    rejections: dict[str, RejectReason] = field(default_factory=dict)
    session_ends: dict[str, SessionSummary] = field(default_factory=dict)
    states: dict[StateKey, bytes] = field(default_factory=dict)
    counts: dict[str, list[CountedView]] = field(default_factory=dict)

    def sessions(self) -> dict[SessionId, list[SessionEvent]]:
        """Return the events of every session, the ones still open included."""
        found = {end.session_id: end.events for end in self.session_ends.values()}
        for state in map(decode_state, self.states.values()):
            found |= {session.session_id: list(session.events) for session in state.open_sessions}
        return found


def undisturbed_run(settings: Settings, clickstream: Iterable[LoggedRecord]) -> UndisturbedRun:
    """Apply the session rules to the records, in offset order of each partition; there are no ticks and no erasures."""
    run, rules = UndisturbedRun(), session_rules(settings)
    states: dict[StateKey, VisitorState] = {}
    reader = ClickReader(settings.clickstream.mapping)
    for record in clickstream:
        position = InputPosition(settings.topics.name(Topic.CLICKSTREAM), record.partition, record.offset)
        clicks = reader.read(record.key, record.value, record.time_ms, record.headers)
        if isinstance(clicks, Ignored):
            continue
        if isinstance(clicks, Rejection):
            run.rejections[position.record_id] = clicks.reason
            continue
        event = clicks.events[0]
        key = (record.partition, event.visitor_id.encode())
        advance = rules.advance(states.get(key), clicks.events, Arrival(position, record.time_ms))
        run.statuses[position.record_id] = advance.status
        run.counts[position.record_id] = [
            CountedView(line.item_id, min(line.event_time_ms, record.time_ms), line.location or one.location)
            for one in advance.counted
            if (line := clicks.events[one.line]).item_id is not None
        ]
        if advance.state is not None:
            states[key] = advance.state
        elif advance.status == "no_consent":
            states.pop(key, None)
        for place, closed in enumerate(advance.closings):
            summary = summarise(closed, _visitor_key(settings, event), place)
            run.session_ends[summary.id] = summary
    run.states = {
        key: encode_state(state, due_ms=rules.due_ms(state), is_quiet=rules.is_quiet(state))
        for key, state in states.items()
    }
    return run


def whole_states(values: Mapping[StateKey, bytes]) -> dict[StateKey, bytes]:
    """Put the states of a table and the marks beside them together, as a worker reads them."""
    return {
        (partition, key): _without_shown(value, values.get((partition, mark_key(key))))
        for (partition, key), value in values.items()
        if not is_mark(key)
    }


def _without_shown(value: bytes, mark: bytes | None) -> bytes:
    """Leave out of a stored state what depends on the run: which answers were there in time, and the topics' ids."""
    visitor = read_visitor(value, mark)
    stored = visitor.state
    closings = tuple(replace(closed, cause=replace(closed.cause, topic_id=0)) for closed in stored.closings)
    counted = tuple(replace(one, position=replace(one.position, topic_id=0)) for one in stored.counted)
    stored = replace(stored, topic_ids=(), closings=closings, counted=counted)
    parked = tuple(ParkedSession(one.session) for one in stored.parked)
    state = replace(stored, parked=parked, last_answer=None, click_throughs=(), last_outcome=None, further_outcomes=())
    return encode_state(state, due_ms=visitor.header.due_ms, is_quiet=visitor.header.is_quiet)


def _visitor_key(settings: Settings, event: ClickEvent) -> str:
    secret = settings.clickstream.pseudonym_secret.reveal().encode()
    return hmac.digest(secret, event.visitor_id.encode(), "sha256").hex()[:32]
