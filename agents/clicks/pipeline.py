"""The way of one input record, live and in replay alike: decode, sessionize, ask, emit.

`Pipeline.click` is synchronous and gives the state to write and the answer to await; whoever calls it owns the table
and the window.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import msgspec
import structlog

from agents.clicks.answered import AnsweredRecord, moved_session
from agents.clicks.identity_records import IdentityRecords
from agents.clicks.intent_calibration import IntentCalibration
from agents.clicks.output_headers import OutputHeaders
from agents.clicks.shown_answers import ShownAnswers
from agents.clicks.step import StateWrite, Step, StoredValues, UnreadableVisitorError
from agents.clicks.tracing import Tracing
from agents.clicks.watcher import Released, Watcher
from schemas import wire
from schemas.click_reader import ClickReader, Clicks
from schemas.errors import without_input
from schemas.events import EVENT_FACTS, ClickEvent, Erase
from schemas.handovers import Adoption, Control, Handover
from schemas.ids import VisitorId
from schemas.pseudonym import pseudonym
from schemas.records import IntentSignal, Pattern, RecommendationOutcome, RecommendationSet, SessionEvent
from schemas.state import (
    ClosedSession,
    InputPosition,
    StateHeader,
    StateVersionError,
    StoredVisitor,
    UnreadableStateError,
    VisitorState,
    encode_mark,
    encode_state,
    header_or_due,
    read_visitor,
)
from schemas.validation import Ignored, Rejection
from serving.chain import Answer, AnswerRequest, Recommender
from serving.popular import Sighting
from streams.cluster.topics import Topic, TopicSettings
from streams.delivery.dead_letters import MAX_DETAIL_LENGTH, dead_letter, state_letter
from streams.delivery.window import ready
from streams.metrics import DeliveryMetrics
from streams.rare_log import RareLog
from streams.records import InputRecord, OutputRecord
from streams.sessions.identity import Identities, Joined
from streams.sessions.outcomes import OutcomeRules, Outcomes
from streams.sessions.sessionizer import Advance, Arrival, Sessionizer, summarise
from streams.state.blocked_ids import block, block_key, holds, without_blocked

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


class Visitors(Protocol):
    """What the decisions need of the visitors: the stored states, and the answers that no event has followed yet."""

    @property
    def shown(self) -> ShownAnswers:
        """Give the answers."""

    def load(self, key: bytes) -> StoredValues | None:
        """Read what is stored of a visitor."""


class Pipeline:
    """The decisions for every input record; holds no state of a visitor."""

    def __init__(
        self, settings: PipelineSettings, sessionizer: Sessionizer, recommender: Recommender, metrics: DeliveryMetrics
    ) -> None:
        self._settings = settings
        self._sessionizer = sessionizer
        self._outcomes = Outcomes(settings.outcomes, sessionizer.budget)
        self._identities = settings.identities
        self._identity_records = IdentityRecords(settings.topics)
        self._recommender = recommender
        self._metrics = metrics
        self._calibration = IntentCalibration(metrics.intent)
        self._rare_log = RareLog(log)
        self._made_anew: set[str] = set()

    def click(self, record: InputRecord, visitors: Visitors) -> Step:
        """Decide on one clickstream record.

        Raises StateVersionError, and what reading the state raises: then the state must not be touched. Raises
        UnreadableVisitorError where it can be put aside. Any other trouble is a bug with this record, which is
        dead-lettered.
        """
        if self._settings.tracing is None:
            return self._decide(record, visitors)
        return self._settings.tracing.step(record, lambda traced: self._decide(traced, visitors))

    def _decide(self, record: InputRecord, visitors: Visitors) -> Step:
        reader = self._settings.readers[record.position.topic]
        try:
            clicks = reader.read(record.key, record.value, record.time_ms, record.headers)
        except Exception as error:
            log.exception("reading_failed", **_where(record.position))
            return self.rejected(record, Rejection("internal_error", without_input(error)))
        if isinstance(clicks, Rejection | Ignored):
            return self.rejected(record, clicks) if isinstance(clicks, Rejection) else self._ignored(clicks)
        assert record.key is not None
        events: Sequence[ClickEvent] = clicks.events
        stored = self._stored(record.key, record.position.partition, visitors)
        state = None if stored is None else stored.state
        if state is None and self._is_blocked(events[0].visitor_id, record, visitors):
            return self._of_an_erased_visitor(record, clicks, visitors)
        events = without_blocked(events, state, lambda earlier_id: self._is_blocked(earlier_id, record, visitors))
        self._note_void(state, record.position)
        try:
            arrival = Arrival(record.position, record.time_ms)
            advance = self._sessionizer.advance(state, events, arrival)
            if advance.state is not None and not advance.is_replay and not advance.is_still:
                # Also without consent: then it is let go.
                shown = visitors.shown.take(record.position.partition, record.key)
                advance = self._outcomes.follow(advance, events, shown)
            self._note(record, clicks, state, advance)
            visitor_id, controls = events[0].visitor_id, list[OutputRecord]()
            if advance.status == "no_consent":
                joined = Joined(advance.state, advance.closings)
                controls = self._identity_records.forgetting(joined.state, visitor_id, record.position)
            else:
                joined = self._identities.follow(advance, events, arrival)
            controls += self._identity_records.of(visitor_id, joined)
            is_still = advance.is_still and joined.state is advance.state
            advance = replace(advance, closings=joined.closings)
            if joined.state is None:
                write = StateWrite(record.key, None)  # always: the table may have lost the key before the changelog did
            elif is_still and stored is not None:
                mark = encode_mark(stored, joined.state)
                write = StateWrite(record.key, mark, joined.state.clock_lag_ms, is_mark=True)
            else:
                write = self._write(record.key, joined.state, stored, is_repeat=advance.is_replay)
        except Exception as error:
            log.exception("decision_failed", **_where(record.position))
            return self.rejected(record, Rejection("internal_error", without_input(error)))
        if (rejection := self._too_large(write)) is not None:
            return self.rejected(record, rejection)
        # What leaves a state must not be back after a crash: a handover before the replay would move what
        # has ended already.
        return Step(
            write,
            lambda: self._records_or_dead_letter(record, events, advance, controls, visitors.shown),
            is_write_first=bool(joined.closings or controls),
        )

    def _of_an_erased_visitor(self, record: InputRecord, clicks: Clicks, visitors: Visitors) -> Step:
        """Answer a click as one without consent, and write nothing: a tombstone, too, would name the visitor again."""
        self._metrics.blocked_inputs.labels(kind="click").inc()
        advance = Advance(None, "no_consent")
        self._note(record, clicks, None, advance)
        return Step(None, lambda: self._records_or_dead_letter(record, clicks.events, advance, (), visitors.shown))

    def join(self, record: InputRecord, control: Handover | Adoption, visitors: Visitors) -> Step:
        """Decide on a session that goes on under another id; raises as `click` does."""
        key, position = control.visitor_id.encode(), record.position
        stored = self._stored(key, position.partition, visitors)
        state = None if stored is None else stored.state
        if state is None and self._is_blocked(control.visitor_id, record, visitors):
            self._metrics.blocked_inputs.labels(kind="control").inc()
            log.info("control_record_of_an_erased_visitor", **_where(position))
            return Step(None, lambda: ready([]))
        self._note_void(state, position)
        try:
            if isinstance(control, Handover):
                joined = self._identities.hand_over(state, control, position)
            else:
                joined = self._identities.adopt(state, control, position)
            write = None if joined.state is None else self._write(key, joined.state, stored)
            records = self._identity_records.of(control.visitor_id, joined)
            records += self._session_ends(None, control.visitor_id, joined.closings)
        except Exception as error:
            log.exception("decision_failed", **_where(position))
            return self.rejected(record, Rejection("internal_error", without_input(error)))
        if (rejection := self._too_large(write)) is not None:
            return self.rejected(record, rejection)
        if write is None:
            self._metrics.forgotten_adoptions.inc()
            log.info("adoption_of_a_forgotten_visitor", **_where(position))
        return Step(write, lambda: ready(records), is_write_first=True)

    def erasures(self, erase: Erase, position: InputPosition, visitors: Visitors) -> list[OutputRecord]:
        """Give the erasures of the visitor's other ids, and the final one of this visitor that must come after them.

        Where there are none, the visitor can be forgotten at once; also one whose state cannot be decoded: its bytes
        are to be erased, not to be kept as a dead letter.
        """
        try:
            stored = self._stored(erase.visitor_id.encode(), position.partition, visitors)
        except UnreadableVisitorError:
            stored = None
        return self._identity_records.erasing(None if stored is None else stored.state, erase, position.partition)

    def block(self, erase: Erase) -> StateWrite | None:
        """Give what keeps an erased visitor's later clicks out, to be written before the state goes; None = nothing."""
        if erase.blocked_until_ms is None:
            return None
        key = block_key(self._settings.pseudonym_key, erase.visitor_id)
        return self._write(key, block(erase.blocked_until_ms), None)

    def _is_blocked(self, visitor_id: VisitorId, record: InputRecord, visitors: Visitors) -> bool:
        key = block_key(self._settings.pseudonym_key, visitor_id)
        stored = self._stored(key, record.position.partition, visitors)
        return stored is not None and holds(stored.state, record.time_ms)

    def rejected(self, record: InputRecord, rejection: Rejection) -> Step:
        """Give the step of a record that cannot be used."""
        letter = self.reject(record, rejection)
        return Step(None, lambda: ready([letter]))

    def _ignored(self, ignored: Ignored) -> Step:
        """Give the step of a record that is not for us: nothing is written, nothing sent."""
        self._metrics.ignored.labels(reason=ignored.reason).inc()
        self._rare_log.info("record_ignored", reason=ignored.reason, detail=ignored.detail)
        return Step(None, lambda: ready([]))

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
    ) -> tuple[StateWrite, list[OutputRecord]] | None:
        """Decide what a tick does to one visitor, whose entry in the expiry index is taken; None = nothing to write.

        As `Sessionizer.tick`; raises as `click` does.
        """
        visitor_id = self._visitor_of(key, values.state)
        state = self._decoded(key, position.partition, values).state
        result = self._sessionizer.tick(state, position, stream_time_ms, committed)
        if result is None:
            return None
        write = StateWrite(key, None) if result.state is None else self._write(key, result.state, None)
        return write, self._session_ends(None, visitor_id, result.closings)

    def header(self, key: bytes, partition: int, stored: bytes) -> StateHeader:
        """Read the header of a recovered state as `header_or_due` does."""
        try:
            return header_or_due(stored)
        except StateVersionError as error:
            raise self._newer(key, partition, error) from error

    def unreadable(self, error: "UnreadableVisitorError", partition: int, changelog: str) -> OutputRecord:
        """Count and log a stored state that cannot be decoded, and give its dead letter."""
        self._metrics.states_quarantined.inc()
        self._metrics.dead_letters.labels(reason="unreadable_state").inc()
        name = pseudonym(self._settings.pseudonym_key, error.key)
        log.warning("state_unreadable", visitor_key=name, partition=partition, detail=str(error))
        stored = InputRecord(InputPosition(changelog, partition, 0), error.key, error.stored, time_ms=0)
        topic = self._settings.topics.name(Topic.DEAD_LETTERS)
        return state_letter(stored, str(error), topic, letter_id=f"{changelog}-{partition}-{name}")

    def _stored(self, key: bytes, partition: int, visitors: Visitors) -> StoredVisitor | None:
        values = visitors.load(key)
        return None if values is None else self._decoded(key, partition, values)

    def _decoded(self, key: bytes, partition: int, values: StoredValues) -> StoredVisitor:
        try:
            return read_visitor(values.state, values.mark)
        except UnreadableStateError as error:
            raise UnreadableVisitorError(key, values.state, str(error)) from error
        except StateVersionError as error:
            raise self._newer(key, partition, error) from error

    def _newer(self, key: bytes, partition: int, error: StateVersionError) -> StateVersionError:
        name = pseudonym(self._settings.pseudonym_key, key)
        return StateVersionError(f"visitor {name} in partition {partition}: {error}")

    @staticmethod
    def _visitor_of(key: bytes, stored: bytes) -> VisitorId:
        try:
            return VisitorId(key.decode())
        except UnicodeDecodeError as error:
            raise UnreadableVisitorError(key, stored, "a stored visitor state has a key that is no UTF-8") from error

    def reject(self, record: InputRecord, rejection: Rejection) -> OutputRecord:
        """Count, log and dead-letter a record that cannot be used."""
        self._metrics.dead_letters.labels(reason=rejection.reason).inc()
        detail = rejection.detail[:MAX_DETAIL_LENGTH]
        log.warning("dead_letter", reason=rejection.reason, detail=detail, **_where(record.position))
        return dead_letter(record, rejection, self._settings.topics.name(Topic.DEAD_LETTERS))

    def _write(
        self, key: bytes, state: VisitorState, before: StoredVisitor | None, *, is_repeat: bool = False
    ) -> StateWrite:
        """Make the write of a whole state, within its budget."""
        due_ms, is_quiet = self._sessionizer.due_ms(state), self._sessionizer.is_quiet(state)
        value = encode_state(state, due_ms=due_ms, is_quiet=is_quiet)
        budget = self._sessionizer.budget
        if len(value) > budget.max_bytes:
            value = encode_state(budget.cut(state), due_ms=due_ms, is_quiet=is_quiet)
        header = None if before is None else before.header
        return StateWrite(key, value, state.clock_lag_ms, header, is_repeat=is_repeat)

    def _note_void(self, state: VisitorState | None, position: InputPosition) -> None:
        """Count a state whose offset is of an earlier topic of that name, and log each such topic once."""
        if state is None or not state.is_made_void_by(position):
            return
        self._metrics.void_offsets.labels(topic=position.topic).inc()
        if position.topic not in self._made_anew:
            self._made_anew.add(position.topic)
            detail = "the visitors' offsets are of an earlier topic of this name: void; their sessions go on"
            log.warning("topic_made_anew", topic=position.topic, detail=detail)

    def _note(self, record: InputRecord, clicks: Clicks, before: VisitorState | None, advance: Advance) -> None:
        """Count what was accepted for trending, and what was repaired; log what was dropped."""
        for repair in clicks.repairs:
            self._metrics.repaired_fields.labels(field=repair.field, reason=repair.reason).inc()
            self._rare_log.info("field_repaired", field=repair.field, reason=repair.reason, **_where(record.position))
        state, event = advance.state, clicks.events[-1]
        if advance.status == "answered" and state is not None and state.session is not None:
            for event in (clicks.events[line] for line in advance.joined):
                if event.item_id is not None and EVENT_FACTS[event.event_type].shows_interest:
                    time_ms = min(event.event_time_ms, state.latest_ms)  # a clock that runs ahead must not age the rest
                    location = event.location or state.session.location
                    self._recommender.observe(
                        Sighting(
                            visitor_id=event.visitor_id,
                            item_id=event.item_id,
                            location=location,
                            event_time_ms=time_ms,
                            arrived_ms=record.time_ms,
                        )
                    )
        elif advance.status in {"late", "replayed"}:
            log.info(
                "event_dropped", status=advance.status, event_time_ms=event.event_time_ms, **_where(record.position)
            )
        elif advance.status == "bot" and not (before and before.session and before.session.is_bot):
            log.info("session_marked_as_bot", **_where(record.position))

    async def _records_or_dead_letter(
        self,
        record: InputRecord,
        events: Sequence[ClickEvent],
        advance: Advance,
        controls: Sequence[OutputRecord],
        shown: ShownAnswers,
    ) -> list[OutputRecord]:
        try:
            records = await self._records(record, events, advance, shown)
        except Exception as error:
            log.exception("answer_failed", **_where(record.position))
            records = [self.reject(record, Rejection("internal_error", without_input(error)))]
        return [*records, *self._session_ends(record, events[-1].visitor_id, advance.closings), *controls]

    async def _records(
        self, record: InputRecord, events: Sequence[ClickEvent], advance: Advance, shown: ShownAnswers
    ) -> list[OutputRecord]:
        event = events[-1]
        answered = AnsweredRecord(record, events, advance, await self._answer(record, event, advance))
        recommendation, signal, outcomes = (
            answered.recommendation(),
            answered.intent(self._settings.pattern),
            answered.outcomes(),
        )
        records = [self._output(Topic.RECOMMENDATIONS, record, recommendation)]
        if signal is not None:
            records.append(self._output(Topic.INTENT_SIGNALS, record, signal))
        records += [self._output(Topic.OUTCOMES, record, outcome) for outcome in outcomes]
        if (seen := answered.shown()) is not None and record.key is not None:
            shown.keep(record.position.partition, record.key, seen)
        self._count(events, recommendation, signal, outcomes)
        self._show(record, event, recommendation, signal)
        return records

    def _count(
        self,
        events: Sequence[ClickEvent],
        recommendation: RecommendationSet,
        signal: IntentSignal | None,
        outcomes: Sequence[RecommendationOutcome],
    ) -> None:
        self._metrics.events.labels(status=recommendation.status).inc()
        visitor_id = recommendation.visitor_id
        if signal is not None and any(event.event_type == "purchase" for event in events):
            self._calibration.purchased(visitor_id, signal.session_id)
        if signal is not None and signal.purchase_probability is not None:
            self._calibration.told(visitor_id, signal.session_id, signal.purchase_probability)
        for outcome in outcomes:
            self._metrics.outcomes.observe(outcome.action, outcome.tier, outcome.position)

    async def _answer(self, record: InputRecord, event: ClickEvent, advance: Advance) -> Answer:
        if advance.status in _UNANSWERED:
            return _NO_ITEMS
        session = moved_session(advance)
        request = AnswerRequest(
            events=() if session is None else session.events,
            location=event.location or (None if session is None else session.location),
            bought=() if advance.state is None else advance.state.purchased,
            deadline=self._settings.deadline(record.time_ms),
            want_personal=session is not None,
            trace=record.trace,
        )
        return await self._recommender.answer(request)

    def _output(
        self, topic: Topic, record: InputRecord, output: RecommendationSet | IntentSignal | RecommendationOutcome
    ) -> OutputRecord:
        """Keep the output in the input's partition: same key, same partition count, same order."""
        return OutputRecord(
            self._settings.topics.name(topic),
            record.key,
            self._settings.encode(output),
            self._settings.headers.of(record, topic, output.id, output.event_time),
            partition=record.position.partition,
        )

    def _show(
        self, record: InputRecord, event: ClickEvent, recommendation: RecommendationSet, signal: IntentSignal | None
    ) -> None:
        watcher = self._settings.watcher
        if watcher is not None and watcher.is_watching:
            released = Released(
                visitor_key=self._visitor_key(event.visitor_id),
                record_time_ms=record.time_ms,
                event=event,
                recommendation=recommendation,
                signal=signal,
            )
            watcher.released(released)

    def _session_ends(
        self, record: InputRecord | None, visitor_id: VisitorId, closings: Sequence[ClosedSession]
    ) -> list[OutputRecord]:
        """Give the session ends; `record`: the click that closed them, None = a tick."""
        causes = [closed.cause for closed in closings]
        ended = [(causes[:n].count(one.cause), one) for n, one in enumerate(closings) if one.move is None]
        if not ended:
            return []
        visitor_key = self._visitor_key(visitor_id)
        for _, closed in ended:
            self._metrics.session_ends.labels(reason=closed.end_reason).inc()
            self._calibration.ended(visitor_id, closed.session.session_id)
        summaries = [summarise(closed, visitor_key, place) for place, closed in ended]
        topic = self._settings.topics.name(Topic.SESSION_ENDS)
        return [
            OutputRecord(
                topic,
                visitor_key.encode(),
                self._settings.encode(summary),
                self._settings.headers.of(record, Topic.SESSION_ENDS, summary.id, summary.ended_at),
            )
            for summary in summaries
        ]

    def _too_large(self, write: StateWrite | None) -> Rejection | None:
        """Refuse what does not fit with all of it gone that may go, as a state from before there was a budget."""
        max_bytes = self._sessionizer.budget.max_bytes
        if write is None or write.value is None or len(write.value) <= max_bytes:
            return None
        detail = f"the visitor's state would have {len(write.value)} bytes, at most {max_bytes} are kept"
        return Rejection("too_large", detail)

    def _visitor_key(self, visitor_id: VisitorId) -> str:
        """Give the keyed hash that stands for a visitor outside."""
        return pseudonym(self._settings.pseudonym_key, visitor_id.encode())


def _where(position: InputPosition) -> dict[str, object]:
    return {"topic": position.topic, "partition": position.partition, "offset": position.offset}
