"""The way of one input record, live and in replay alike, in one direction.

    decode ──Clicks──> session ──Decision──> ask > blend > filter ──AnsweredRecord──> emit ──Emission──> acknowledge
    (ClickReader)      (SessionStage)        (Recommender)                            (Emitter)          (the window)

Each stage takes what the one before it gives, and no stage calls another one back. What only looks on (popularity,
metrics, logs, the live page) does so at the end of a stage: `Observers`. `Pipeline.click` is synchronous and gives the
state to write and the answer to await; whoever calls it owns the table and the window.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec
import structlog

from agents.clicks.answered import AnsweredRecord, list_before, moved_session
from agents.clicks.decision import Decision, SessionStage
from agents.clicks.emission import Emitter
from agents.clicks.identity_records import IdentityRecords
from agents.clicks.observers import Observers
from agents.clicks.output_headers import OutputHeaders
from agents.clicks.refusals import Refusals, where
from agents.clicks.shadow import Shadow
from agents.clicks.shown_answers import ShownAnswers
from agents.clicks.step import StateWrite, Step, StoredValues, UnreadableVisitorError
from agents.clicks.stored import StoredStates, Visitors, visitor_of
from agents.clicks.tracing import Tracing
from agents.clicks.watcher import Watcher
from schemas import wire
from schemas.click_reader import ClickReader
from schemas.errors import without_input
from schemas.events import Erase
from schemas.handovers import Adoption, Control, Handover
from schemas.ids import VisitorId
from schemas.records import Pattern, SessionEvent
from schemas.state import ClosedSession, InputPosition
from schemas.validation import Ignored, Rejection
from serving.chain import Answer, Answering, AnswerRequest
from streams.cluster.topics import Topic, TopicSettings
from streams.delivery.window import ready
from streams.metrics import DeliveryMetrics
from streams.records import InputRecord, OutputRecord
from streams.sessions.identity import Identities
from streams.sessions.outcomes import OutcomeRules, Outcomes
from streams.sessions.sessionizer import Sessionizer

log = structlog.get_logger(__name__)

_UNANSWERED = frozenset({"duplicate", "replayed", "ended", "identified"})
_NO_ITEMS = Answer(items=[])


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """What the pipeline needs to know beside its parts.

    pseudonym_key: secret of the keyed hash that stands for a visitor on session ends.
    deadline: from a record's timestamp (Unix ms) to the monotonic second by which to answer; infinite in replay.
    pattern: the rule for the shopping pattern of a session so far.
    readers: how the records of each clickstream topic are read, by its name.
    identities: the rules for a visitor who has two ids.
    outcomes: the rules by which an event is held against the answer before it.
    encode: an output record's bytes.
    tracing: None = replay, where nobody looks at headers.
    watcher: sees what is answered while it happens.
    shadow: has a release on trial asked, too; None = replay, where there is none.
    is_as_of_records: items must be available as of each record's timestamp, as in replay, and not as of its answer.
    """

    topics: TopicSettings
    readers: Mapping[str, ClickReader]
    pseudonym_key: bytes
    deadline: Callable[[int], float]
    pattern: Callable[[Sequence[SessionEvent]], Pattern]
    identities: Identities
    outcomes: OutcomeRules = field(default_factory=OutcomeRules)
    headers: OutputHeaders = field(default_factory=OutputHeaders)
    encode: Callable[[msgspec.Struct], bytes] = wire.encode
    tracing: Tracing | None = None
    watcher: Watcher | None = None
    shadow: Shadow | None = None
    is_as_of_records: bool = False


class Pipeline:
    """The decisions for every input record; holds no state of a visitor."""

    def __init__(
        self, settings: PipelineSettings, sessionizer: Sessionizer, recommender: Answering, metrics: DeliveryMetrics
    ) -> None:
        self._settings = settings
        self._sessionizer = sessionizer
        self._recommender = recommender
        self._metrics = metrics
        self._identity_records = IdentityRecords(settings.topics)
        self.states = StoredStates(sessionizer, settings.pseudonym_key)
        self._session_stage = SessionStage(
            sessionizer,
            Outcomes(settings.outcomes, sessionizer.budget),
            settings.identities,
            self._identity_records,
            self.states,
        )
        self._emitter = Emitter(
            settings.topics, settings.pseudonym_key, settings.pattern, settings.headers, settings.encode
        )
        self.refusals = Refusals(settings.topics.name(Topic.DEAD_LETTERS), metrics, settings.pseudonym_key)
        self._observers = Observers(metrics, recommender.observe, settings.watcher, self._emitter.visitor_key)

    def click(self, record: InputRecord, visitors: Visitors) -> Step:
        """Decide on one clickstream record.

        Raises StateVersionError, and what reading the state raises: then the state must not be touched. Raises
        UnreadableVisitorError where it can be put aside. Any other trouble is a bug with this record, which is
        dead-lettered.
        """
        if self._settings.tracing is None:
            return self._step(record, visitors)
        return self._settings.tracing.step(record, partial(self._step, visitors=visitors))

    def _step(self, record: InputRecord, visitors: Visitors) -> Step:
        reader, position = self._settings.readers[record.position.topic], record.position
        try:
            clicks = reader.read(record.key, record.value, record.time_ms, record.headers)
        except Exception as error:
            log.exception("reading_failed", **where(position))
            return self.refusals.rejected(record, _bug(error))
        if isinstance(clicks, Ignored):
            return self.refusals.ignored(clicks)
        if isinstance(clicks, Rejection):
            return self.refusals.rejected(record, clicks)
        before = self.states.before(clicks.events, position, record.time_ms, visitors)
        self._observers.read(before.state, position)
        try:
            decision = self._session_stage.decide(record, clicks, before, visitors.shown)
            self._observers.decided(decision)
        except Exception as error:
            log.exception("decision_failed", **where(position))
            return self.refusals.rejected(record, _bug(error))
        if (rejection := self.states.too_large(decision.write)) is not None:
            return self.refusals.rejected(record, rejection)
        return Step(decision.write, partial(self._records, decision, visitors.shown), decision.is_write_first)

    async def _records(self, decision: Decision, shown: ShownAnswers) -> list[OutputRecord]:
        """Answer what was decided; where that fails by a bug, the input is dead-lettered, and what ended is told."""
        record, visitor_id, closings = decision.record, decision.events[-1].visitor_id, decision.advance.closings
        try:
            request = self._request(decision)
            answer = _NO_ITEMS if request is None else await self._recommender.answer(request)
            emission = self._emitter.emit(AnsweredRecord(record, decision.events, decision.advance, answer))
            if (seen := emission.answered.shown()) is not None and record.key is not None:
                shown.keep(record.position.partition, record.key, seen)
            self._observers.emitted(emission)
            if self._settings.shadow is not None and request is not None:
                self._settings.shadow.offer(emission.answered, request, self._emitter.shadow)
            records = emission.records
        except Exception as error:
            log.exception("answer_failed", **where(record.position))
            records = [self.refusals.letter(record, _bug(error))]
        return [*records, *self._session_ends(record, visitor_id, closings), *decision.controls]

    def _request(self, decision: Decision) -> AnswerRequest | None:
        """Make what the recommender is asked; None where nothing is to be answered."""
        record, advance = decision.record, decision.advance
        if advance.status in _UNANSWERED:
            return None
        session = moved_session(advance)
        return AnswerRequest(
            events=() if session is None else session.events,
            location=decision.events[-1].location or (None if session is None else session.location),
            bought=() if advance.state is None else advance.state.purchased,
            deadline=self._settings.deadline(record.time_ms),
            want_personal=session is not None,
            trace=record.trace,
            visitor_id=decision.events[-1].visitor_id,
            now_ms=record.time_ms if self._settings.is_as_of_records else None,
            device=decision.events[-1].device or (None if session is None else session.device),
            arm=decision.events[-1].experiment,
            before=list_before(advance),
        )

    def join(self, record: InputRecord, control: Handover | Adoption, visitors: Visitors) -> Step:
        """Decide on a session that goes on under another id; raises as `click` does."""
        key, position = control.visitor_id.encode(), record.position
        stored = self.states.of(key, position.partition, visitors)
        state = None if stored is None else stored.state
        if state is None and self.states.is_blocked(control.visitor_id, position.partition, record.time_ms, visitors):
            self._metrics.blocked_inputs.labels(kind="control").inc()
            log.info("control_record_of_an_erased_visitor", **where(position))
            return Step(None, lambda: ready([]))
        self._observers.read(state, position)
        try:
            if isinstance(control, Handover):
                joined = self._settings.identities.hand_over(state, control, position)
            else:
                joined = self._settings.identities.adopt(state, control, position)
            write = None if joined.state is None else self.states.write(key, joined.state, stored)
            records = self._identity_records.of(control.visitor_id, joined)
            records += self._session_ends(None, control.visitor_id, joined.closings)
        except Exception as error:
            log.exception("decision_failed", **where(position))
            return self.refusals.rejected(record, _bug(error))
        if (rejection := self.states.too_large(write)) is not None:
            return self.refusals.rejected(record, rejection)
        if write is None:
            self._metrics.forgotten_adoptions.inc()
            log.info("adoption_of_a_forgotten_visitor", **where(position))
        return Step(write, lambda: ready(records), is_write_first=True)

    def erasures(self, erase: Erase, position: InputPosition, visitors: Visitors) -> list[OutputRecord]:
        """Return the erasures of the visitor's other ids, and the final one of this visitor that must come after them.

        Where there are none, the visitor can be forgotten at once; also one whose state cannot be decoded: its bytes
        are to be erased, not to be kept as a dead letter.
        """
        try:
            stored = self.states.of(erase.visitor_id.encode(), position.partition, visitors)
        except UnreadableVisitorError:
            stored = None
        return self._identity_records.erasing(None if stored is None else stored.state, erase, position.partition)

    def control(self, record: InputRecord) -> Control | Rejection:
        """Decode a control record."""
        try:
            control: Control = wire.decode_control(record.value or b"")
        except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, nesting without end
            return Rejection("undecodable", str(error))
        return control

    def tick(
        self,
        key: bytes,
        values: StoredValues,
        position: InputPosition,
        stream_time_ms: int,
        committed: Collection[InputPosition] = (),
        moment: Collection[InputPosition] = (),
    ) -> tuple[StateWrite, list[OutputRecord]] | None:
        """Decide what a tick does to one visitor, whose entry in the expiry index is taken; None = nothing to write.

        As `Sessionizer.tick`; raises as `click` does.
        """
        visitor_id = visitor_of(key, values.state)
        state = self.states.decoded(key, position.partition, values).state
        result = self._sessionizer.tick(state, position, stream_time_ms, committed, moment)
        if result is None:
            return None
        write = StateWrite(key, None) if result.state is None else self.states.write(key, result.state, None)
        return write, self._session_ends(None, visitor_id, result.closings)

    def _session_ends(
        self, record: InputRecord | None, visitor_id: VisitorId, closings: Sequence[ClosedSession]
    ) -> list[OutputRecord]:
        """Emit and count what ended; `record`: the click that closed them, None = another input."""
        self._observers.ended(visitor_id, closings)
        return self._emitter.session_ends(record, visitor_id, closings)


def _bug(error: Exception) -> Rejection:
    return Rejection("internal_error", without_input(error))
