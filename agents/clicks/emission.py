"""The last stage: the output records of one answered input, and of what ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from agents.clicks.answered import AnsweredRecord
from agents.clicks.output_headers import OutputHeaders
from schemas import wire
from schemas.ids import VisitorId
from schemas.pseudonym import pseudonym
from schemas.records import IntentSignal, Pattern, RecommendationOutcome, RecommendationSet, SessionEvent
from schemas.state import ClosedSession
from streams.cluster.topics import Topic, TopicSettings
from streams.records import InputRecord, OutputRecord
from streams.sessions.sessionizer import summarise


class Emission(Struct, frozen=True, gc=False):
    """What is said to one record, and the records that say it; signal: None where no session was moved."""

    answered: AnsweredRecord
    recommendation: RecommendationSet
    signal: IntentSignal | None
    outcomes: Sequence[RecommendationOutcome]
    records: Sequence[OutputRecord]


@dataclass(frozen=True, slots=True)
class Emitter:
    """Makes the output records; settings as in `PipelineSettings`."""

    topics: TopicSettings
    pseudonym_key: bytes
    pattern: Callable[[Sequence[SessionEvent]], Pattern]
    headers: OutputHeaders
    encode: Callable[[msgspec.Struct], bytes] = wire.encode

    def emit(self, answered: AnsweredRecord) -> Emission:
        """Emit the answer: one recommendation, and what is known of intent and outcomes."""
        recommendation, signal, outcomes = answered.recommendation(), answered.intent(self.pattern), answered.outcomes()
        records = [self._output(Topic.RECOMMENDATIONS, answered.record, recommendation)]
        if signal is not None:
            records.append(self._output(Topic.INTENT_SIGNALS, answered.record, signal))
        records += [self._output(Topic.OUTCOMES, answered.record, outcome) for outcome in outcomes]
        return Emission(answered, recommendation, signal, outcomes, records)

    def shadow(self, answered: AnsweredRecord) -> OutputRecord:
        """Return what a release in the shadow would have answered."""
        return self._output(Topic.SHADOW, answered.record, answered.recommendation())

    def session_ends(
        self, record: InputRecord | None, visitor_id: VisitorId, closings: Sequence[ClosedSession]
    ) -> list[OutputRecord]:
        """Emit the sessions that ended; `record`: the click that closed them, None = a tick."""
        causes = [closed.cause for closed in closings]
        ended = [(causes[:n].count(one.cause), one) for n, one in enumerate(closings) if one.move is None]
        if not ended:
            return []
        visitor_key = self.visitor_key(visitor_id)
        topic = self.topics.name(Topic.SESSION_ENDS)
        return [
            OutputRecord(
                topic,
                visitor_key.encode(),
                self.encode(summary),
                self.headers.of(record, Topic.SESSION_ENDS, summary.id, summary.ended_at),
            )
            for summary in (summarise(closed, visitor_key, place) for place, closed in ended)
        ]

    def visitor_key(self, visitor_id: VisitorId) -> str:
        """Return the keyed hash that stands for a visitor outside."""
        return pseudonym(self.pseudonym_key, visitor_id.encode())

    def _output(
        self, topic: Topic, record: InputRecord, output: RecommendationSet | IntentSignal | RecommendationOutcome
    ) -> OutputRecord:
        """Keep the output in the input's partition: same key, same partition count, same order."""
        headers = self.headers.of(record, topic, output.id, output.event_time)
        return OutputRecord(
            self.topics.name(topic), record.key, self.encode(output), headers, partition=record.position.partition
        )
