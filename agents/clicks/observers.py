"""Who looks on at the end of a stage: popularity, metrics, logs, the live page."""

from collections.abc import Callable, Sequence

import structlog

from agents.clicks.answered import list_before
from agents.clicks.decision import Decision
from agents.clicks.emission import Emission
from agents.clicks.intent_calibration import IntentCalibration
from agents.clicks.list_overlap import kept_share, rank_biased_overlap
from agents.clicks.refusals import where
from agents.clicks.watcher import EmittedAnswer, Watcher
from schemas.events import EVENT_FACTS
from schemas.ids import VisitorId
from schemas.records import PERSONAL_TIERS
from schemas.state import ClosedSession, InputPosition, VisitorState
from serving.popular import Sighting
from streams.metrics import DeliveryMetrics
from streams.rare_log import RareLog

log = structlog.get_logger(__name__)


class Observers:
    """Counts and logs what was decided and said, and lets popularity and the live page see it.

    observe: takes in a click for what is popular. visitor_key: the keyed hash that stands for a visitor outside.
    """

    def __init__(
        self,
        metrics: DeliveryMetrics,
        observe: Callable[[Sighting], None],
        watcher: Watcher | None,
        visitor_key: Callable[[VisitorId], str],
    ) -> None:
        self._metrics = metrics
        self._observe = observe
        self._watcher = watcher
        self._visitor_key = visitor_key
        self._calibration = IntentCalibration(metrics.intent)
        self._rare_log = RareLog(log)
        self._made_anew: set[str] = set()

    def read(self, state: VisitorState | None, position: InputPosition) -> None:
        """Count a state whose offset is of an earlier topic of that name, and log each such topic once."""
        if state is None or not state.is_made_void_by(position):
            return
        self._metrics.void_offsets.labels(topic=position.topic).inc()
        if position.topic not in self._made_anew:
            self._made_anew.add(position.topic)
            detail = "the visitors' offsets are of an earlier topic of this name: void; their sessions go on"
            log.warning("topic_made_anew", topic=position.topic, detail=detail)

    def decided(self, decision: Decision) -> None:
        """Let popularity see what was accepted; count what was repaired; log what was dropped."""
        if decision.before.is_blocked:
            self._metrics.blocked_inputs.labels(kind="click").inc()
        position, advance = decision.record.position, decision.advance
        for repair in decision.clicks.repairs:
            self._metrics.repaired_fields.labels(field=repair.field, reason=repair.reason).inc()
            self._rare_log.info("field_repaired", field=repair.field, reason=repair.reason, **where(position))
        if advance.status == "answered":
            self._see(decision)
        elif advance.status in {"late", "replayed"}:
            event_time_ms = decision.clicks.events[-1].event_time_ms
            log.info("event_dropped", status=advance.status, event_time_ms=event_time_ms, **where(position))
        elif advance.status == "bot":
            before = decision.before.state
            if not (before and before.session and before.session.is_bot):
                log.info("session_marked_as_bot", **where(position))

    def _see(self, decision: Decision) -> None:
        state = decision.advance.state
        if state is None or state.session is None:
            return
        for event in (decision.clicks.events[line] for line in decision.advance.joined):
            if event.item_id is not None and EVENT_FACTS[event.event_type].shows_interest:
                self._observe(
                    Sighting(
                        visitor_id=event.visitor_id,
                        item_id=event.item_id,
                        location=event.location or state.session.location,
                        # A clock that runs ahead must not age the rest.
                        event_time_ms=min(event.event_time_ms, state.latest_ms),
                        arrived_ms=decision.record.time_ms,
                    )
                )

    def emitted(self, emission: Emission) -> None:
        """Count what was said, hold intent against what came, and show it to who watches."""
        recommendation, signal, answered = emission.recommendation, emission.signal, emission.answered
        self._metrics.events.labels(status=recommendation.status).inc()
        visitor_id = recommendation.visitor_id
        if signal is not None and any(event.event_type == "purchase" for event in answered.events):
            self._calibration.purchased(visitor_id, signal.session_id)
        if signal is not None and signal.purchase_probability is not None:
            self._calibration.predicted(visitor_id, signal.session_id, signal.purchase_probability)
        if answered.answer.tier in PERSONAL_TIERS and (before := list_before(answered.advance)):
            now = [item.item_id for item in recommendation.items]
            self._metrics.list_kept.observe(kept_share(before, now))
            self._metrics.list_overlap.observe(rank_biased_overlap(before, now))
        for rule in answered.answer.rules:
            self._metrics.rules_applied[rule.action].inc()
        for outcome in emission.outcomes:
            self._metrics.outcomes.observe(outcome.action, outcome.tier, outcome.position)
        if self._watcher is not None and self._watcher.is_watching:
            self._watcher.emitted(
                EmittedAnswer(
                    visitor_key=self._visitor_key(answered.event.visitor_id),
                    record_time_ms=answered.record.time_ms,
                    event=answered.event,
                    recommendation=recommendation,
                    signal=signal,
                )
            )

    def ended(self, visitor_id: VisitorId, closings: Sequence[ClosedSession]) -> None:
        """Count the sessions that ended; one that goes on under another id has not."""
        for closed in closings:
            if closed.move is None:
                self._metrics.session_ends.labels(reason=closed.end_reason).inc()
                self._calibration.ended(visitor_id, closed.session.session_id)
