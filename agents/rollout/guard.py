"""Reads what is answered, counts it by release, and writes the step back: no person is needed for one."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar

import msgspec
import structlog

from agents.objectives import NOT_THE_MODELS
from agents.rollout.bands import Bands
from agents.rollout.figures import Figures, LiveFigures, Part
from schemas.events import unix_ms
from schemas.ids import ItemId, VisitorId
from schemas.records import RecommendationOutcome, RecommendationSet
from schemas.rollout import Rollout
from session_model.release.rollout import Moves
from session_model.release.rollout_log import RolloutLog
from streams.cluster.topic_reader import TopicReader, latest
from streams.cluster.topics import Topic, TopicSettings
from streams.rare_log import RareLog
from streams.records import InputRecord

BY: Final = "insession release guard"
_MOST_RECORDS: Final = 200_000
"""Of a topic, in one look: more are not read, and the newest count."""
_MOST_LISTS: Final = 50_000
"""Answers of a shadow that wait for a click."""

_Record = TypeVar("_Record", RecommendationSet, RecommendationOutcome)

log = structlog.get_logger(__name__)


class RolloutGuard:
    """Watches one deployment.

    Whose answer it was is told by the visitor, as the workers do: a canary's share is a matter of the id. For a shadow
    the clicks after the champion's answers are held against its lists. decode: reads the value of an output record;
    raises ValueError.
    """

    def __init__(
        self,
        rollouts: RolloutLog,
        topics: TopicSettings,
        bands: Bands,
        decode: Callable[[bytes], object],
    ) -> None:
        self._rollouts = rollouts
        self._topics = topics
        self._bands = bands
        self._decode = decode
        self._rollout: Rollout | None = None
        self._figures = LiveFigures((bands.watched + 2 * bands.window) // timedelta(milliseconds=1))
        self._shadow_lists: OrderedDict[str, frozenset[ItemId]] = OrderedDict()
        self._next: dict[str, dict[int, int]] = {}
        self._rare_log = RareLog(log)

    def look(self, reader: TopicReader, now: datetime) -> Rollout | None:
        """Read on and judge; returns the step back where one was written.

        Raises BusError, RolloutError, and TopicsError where the brokers do not answer: the next look reads on.
        """
        rollout = self._rollouts.in_force()
        if rollout != self._rollout:
            self._begin(rollout, now)
        if rollout is None:
            return None
        for topic in (Topic.SHADOW, Topic.RECOMMENDATIONS, Topic.OUTCOMES):
            for record in self._new_records(reader, topic, rollout, now):
                self._count(topic, record, rollout)
        reason = self._breach(rollout, now)
        if reason is None:
            return None
        log.warning("rollout_breach", revision=rollout.revision, reason=reason)
        return self._step_back(rollout, reason, now)

    def _begin(self, rollout: Rollout | None, now: datetime) -> None:
        """Read anew from before the change: what was counted by other shares tells nothing of it."""
        self._rollout = rollout
        self._figures.clear()
        self._shadow_lists.clear()
        self._next.clear()
        if rollout is not None:
            since = (now - rollout.changed_at) // timedelta(seconds=1)
            log.info("rollout_watched", revision=rollout.revision, change=rollout.change, seconds_ago=since)

    def _new_records(self, reader: TopicReader, topic: Topic, rollout: Rollout, now: datetime) -> list[InputRecord]:
        name = self._topics.name(topic)
        known = self._next.get(name)
        if known is None:
            since = max(rollout.changed_at, now - self._bands.watched) - self._bands.window
            offsets = reader.offsets_since(name, unix_ms(since))
        else:
            bounds = reader.bounds(name)
            offsets = {part: range(max(known.get(part, 0), held.start), held.stop) for part, held in bounds.items()}
        records = list(reader.read(name, latest(offsets, _MOST_RECORDS)))
        self._next[name] = {part: wanted.stop for part, wanted in offsets.items()}
        return records

    def _count(self, topic: Topic, record: InputRecord, rollout: Rollout) -> None:
        if record.value is None:  # a tombstone of an erased visitor
            return
        if topic == Topic.OUTCOMES:
            outcome = self._read(RecommendationOutcome, record.value)
            if outcome is not None and outcome.action == "click":
                self._count_click(record.time_ms, outcome, rollout)
            return
        answer = self._read(RecommendationSet, record.value)
        if answer is None or answer.status != "answered" or answer.reason in {"cheap", "trending_stale"}:
            return
        if topic == Topic.SHADOW:
            self._keep_list(answer)
        part: Part = "candidate" if topic == Topic.SHADOW else _part(answer.visitor_id, rollout)
        delay_ms = None if topic == Topic.SHADOW else record.time_ms - unix_ms(answer.event_time)
        self._figures.answer(
            record.time_ms,
            part,
            is_fallback=answer.tier != "model",
            delay_ms=delay_ms,
            is_owed=answer.reason not in NOT_THE_MODELS,
        )

    def _read(self, kind: type[_Record], value: bytes) -> _Record | None:
        try:
            return msgspec.convert(self._decode(value), kind)
        except ValueError as error:
            self._rare_log.warning("record_unreadable", reason=kind.__name__, error=str(error))
            return None

    def _count_click(self, time_ms: int, outcome: RecommendationOutcome, rollout: Rollout) -> None:
        part = _part(outcome.visitor_id, rollout)
        self._figures.click(time_ms, part, is_hit=outcome.position is not None)
        shadowed = self._shadow_lists.pop(outcome.recommendation_id, None)
        if shadowed is not None:
            self._figures.click(time_ms, "candidate", is_hit=outcome.item_id in shadowed)

    def _keep_list(self, answer: RecommendationSet) -> None:
        self._shadow_lists[answer.id] = frozenset(item.item_id for item in answer.items)
        if len(self._shadow_lists) > _MOST_LISTS:
            self._shadow_lists.popitem(last=False)

    def _breach(self, rollout: Rollout, now: datetime) -> str | None:
        """Hold the candidate against the champion of the same time, or a new champion against the one before."""
        bands = self._bands
        settled = rollout.changed_at + bands.settle
        begin = max(settled, now - bands.window)
        if rollout.candidate is not None:
            new = self._between("candidate", begin, now)
            return bands.breach(new, self._between("champion", begin, now))
        if rollout.change != "promote" or rollout.previous is None or now > rollout.changed_at + bands.watched:
            return None
        before = self._between("champion", rollout.changed_at - bands.window, rollout.changed_at)
        return bands.breach(self._between("champion", begin, now), before)

    def _between(self, part: Part, begin: datetime, end: datetime) -> Figures:
        return self._figures.between(part, unix_ms(begin), unix_ms(end))

    def _step_back(self, judged: Rollout, reason: str, now: datetime) -> Rollout:
        moves = Moves(judged, now, BY)
        step = moves.rollback(reason) if judged.candidate is None else moves.withdraw(reason)
        return self._rollouts.append(step)


def _part(visitor_id: VisitorId, rollout: Rollout) -> Part:
    trial = rollout.candidate
    return "candidate" if trial is not None and trial.stage == "canary" and trial.has(visitor_id) else "champion"
