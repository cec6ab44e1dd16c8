"""One decided record with its answer, and the records that this makes."""

from collections.abc import Callable, Sequence

from msgspec import Struct, structs

from schemas.events import ClickEvent, from_unix_ms
from schemas.ids import EventId, ItemId
from schemas.records import (
    MAX_NAMED_RULES,
    CountedView,
    IntentSignal,
    Pattern,
    RecommendationOutcome,
    RecommendationSet,
    SessionEvent,
)
from schemas.state import AnswerRef, OpenSession, Outcome, ShownAnswer
from serving.chain import Answer
from streams.records import InputRecord
from streams.sessions.outcomes import ACTIONS, event_time_ms
from streams.sessions.sessionizer import Advance


class AnsweredRecord(Struct, frozen=True, gc=False):
    """What there is to tell of one record once its answer is there; the answer may hold no items.

    events: what the record holds, at least one; it is answered as of the last one.
    """

    record: InputRecord
    events: Sequence[ClickEvent]
    advance: Advance
    answer: Answer

    @property
    def event(self) -> ClickEvent:
        """Return the event that is answered."""
        return self.events[-1]

    @property
    def event_id(self) -> EventId:
        """Return the event's id; the record's where the shop sent none."""
        return self._event_id(self.event)

    @property
    def session(self) -> OpenSession | None:
        """Return the session that the event moved."""
        return moved_session(self.advance)

    def recommendation(self) -> RecommendationSet:
        """Make the one record that every input has."""
        session = None if self.advance.state is None else self.advance.state.session
        return RecommendationSet(
            id=self.record.position.record_id,
            status=self.advance.status,
            visitor_id=self.event.visitor_id,
            event_id=self.event_id,
            event_time=from_unix_ms(self.event.event_time_ms),
            session_id=None if session is None else session.session_id,
            items=self.answer.items,
            tier=self.answer.tier,
            reason=self.answer.reason,
            age_ms=self.answer.age_ms,
            model_version=self.answer.model_version,
            experiment=self.event.experiment,
            valid_until=None if self.answer.valid_until_ms is None else from_unix_ms(self.answer.valid_until_ms),
            rules=[rule.rule_id for rule in self.answer.rules[:MAX_NAMED_RULES]] or None,
            adjusted_by=list(self.answer.adjusted_by) or None,
            counts=self._counts(),
        )

    def _counts(self) -> list[CountedView]:
        """Return the views that count; a record whose mapping changed between two readings counts what it still has."""
        lines = ((one, self.events[one.line]) for one in self.advance.counted if one.line < len(self.events))
        return [
            CountedView(event.item_id, min(event.event_time_ms, self.record.time_ms), event.location or line.location)
            for line, event in lines
            if event.item_id is not None
        ]

    def intent(self, pattern: Callable[[Sequence[SessionEvent]], Pattern]) -> IntentSignal | None:
        """Make the intent signal; None where no session was moved."""
        session = self.session
        if session is None:
            return None
        intent = self.answer.intent
        return IntentSignal(
            id=self.record.position.record_id,
            visitor_id=self.event.visitor_id,
            session_id=session.session_id,
            event_id=self.event_id,
            event_time=from_unix_ms(self.event.event_time_ms),
            prefix_length=session.event_count,
            purchase_status="unavailable" if intent.purchase is None else "calibrated",
            purchase_probability=intent.purchase,
            purchase_source=self.answer.intent_source,
            leave_probability=intent.leave,
            cart_abandonment_probability=intent.cart_abandonment,
            pattern=pattern(session.events),
            model_version=self.answer.model_version,
            experiment=self.event.experiment,
        )

    def outcomes(self) -> list[RecommendationOutcome]:
        """Make what the events say of the answer before them: one for each that says something."""
        return [self._outcome(outcome, place) for place, outcome in enumerate(self.advance.outcomes)]

    def _outcome(self, outcome: Outcome, place: int) -> RecommendationOutcome:
        event, position = self.events[outcome.line], self.record.position
        assert event.item_id is not None
        answer = outcome.answer
        answer_position = structs.replace(
            position,
            topic=answer.topic or position.topic,
            partition=position.partition if answer.partition < 0 else answer.partition,
            offset=answer.offset,
        )
        return RecommendationOutcome(
            id=position.record_id + (f"-{place}" if place else ""),
            recommendation_id=answer_position.record_id,
            visitor_id=event.visitor_id,
            session_id=outcome.session_id,
            event_id=self._event_id(event),
            event_time=from_unix_ms(event.event_time_ms),
            action=ACTIONS[event.event_type],
            item_id=event.item_id,
            position=outcome.position,
            tier=answer.tier,
            model_version=answer.model_version,
            experiment=answer.experiment,
            delay_ms=outcome.delay_ms,
        )

    def _event_id(self, event: ClickEvent) -> EventId:
        return event.event_id or EventId(self.record.position.record_id)

    def shown(self) -> ShownAnswer | None:
        """Return what the visitor sees now, for the outcome of the next event; None where that is nothing."""
        state, session, tier = self.advance.state, self.session, self.answer.tier
        if state is None or session is None or tier is None:
            return None
        time_ms = event_time_ms(state, self.event)
        position = self.record.position
        answer = AnswerRef(
            position.offset,
            time_ms,
            tier,
            self.answer.model_version,
            self.event.experiment,
            position.topic,
            position.topic_id,
        )
        return ShownAnswer(answer, session.session_id, tuple(item.item_id for item in self.answer.items))


def moved_session(advance: Advance) -> OpenSession | None:
    """Return the session that an event moved; None where it moved none."""
    return advance.state.session if advance.state is not None and advance.status == "answered" else None


def list_before(advance: Advance) -> Sequence[ItemId]:
    """Return the items of the open session's latest answer that was there before this record; () = there is none."""
    shown = None if advance.state is None else advance.state.last_answer
    return () if shown is None else shown.items
