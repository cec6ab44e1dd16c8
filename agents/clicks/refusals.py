"""Inputs that have no answer: dead letters with their reason, and records that are not for us."""

import structlog

from agents.clicks.step import Step, UnreadableVisitorError
from schemas.pseudonym import pseudonym
from schemas.state import InputPosition
from schemas.validation import Ignored, Rejection
from streams.delivery.dead_letters import MAX_DETAIL_LENGTH, dead_letter, state_letter
from streams.delivery.window import ready
from streams.metrics import DeliveryMetrics
from streams.rare_log import RareLog
from streams.records import InputRecord, OutputRecord

log = structlog.get_logger(__name__)


class Refusals:
    """Counts and logs every one of them. dead_letters: the topic."""

    def __init__(self, dead_letters: str, metrics: DeliveryMetrics, pseudonym_key: bytes) -> None:
        self._topic = dead_letters
        self._metrics = metrics
        self._pseudonym_key = pseudonym_key
        self._rare_log = RareLog(log)

    def rejected(self, record: InputRecord, rejection: Rejection) -> Step:
        """Return the step of a record that cannot be used."""
        letter = self.letter(record, rejection)
        return Step(None, lambda: ready([letter]))

    def letter(self, record: InputRecord, rejection: Rejection) -> OutputRecord:
        """Dead-letter a record that cannot be used."""
        self._metrics.dead_letters.labels(reason=rejection.reason).inc()
        detail = rejection.detail[:MAX_DETAIL_LENGTH]
        log.warning("dead_letter", reason=rejection.reason, detail=detail, **where(record.position))
        return dead_letter(record, rejection, self._topic)

    def ignored(self, ignored: Ignored) -> Step:
        """Return the step of a record that is not for us: nothing is written, nothing sent."""
        self._metrics.ignored.labels(reason=ignored.reason).inc()
        self._rare_log.info("record_ignored", reason=ignored.reason, detail=ignored.detail)
        return Step(None, lambda: ready([]))

    def unreadable(self, error: UnreadableVisitorError, partition: int, changelog: str) -> OutputRecord:
        """Return the dead letter of a stored state that cannot be decoded."""
        self._metrics.states_quarantined.inc()
        self._metrics.dead_letters.labels(reason="unreadable_state").inc()
        name = pseudonym(self._pseudonym_key, error.key)
        log.warning("state_unreadable", visitor_key=name, partition=partition, detail=str(error))
        stored = InputRecord(InputPosition(changelog, partition, 0), error.key, error.stored, time_ms=0)
        return state_letter(stored, str(error), self._topic, letter_id=f"{changelog}-{partition}-{name}")


def where(position: InputPosition) -> dict[str, object]:
    """Describe, for a log line, which input it is about."""
    return {"topic": position.topic, "partition": position.partition, "offset": position.offset}
