"""The guard over records on a topic that is a list: whose answer it was, and when it steps back."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from agents.artifact_bus import open_bus
from agents.rollout.bands import Bands
from agents.rollout.guard import BY, RolloutGuard
from schemas import wire
from schemas.events import from_unix_ms
from schemas.ids import EventId, ItemId, ModelVersion, SessionId, VisitorId
from schemas.payload import decode_payload
from schemas.records import RecommendationOutcome, RecommendationSet, RecommendedItem, Tier
from schemas.rollout import Rollout
from schemas.state import InputPosition
from serving.errors import Reason
from session_model.release.rollout import Moves
from session_model.release.rollout_log import RolloutLog
from streams.cluster.topic_reader import TopicReader
from streams.cluster.topics import TopicSettings
from streams.records import InputRecord

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE, TWO = ModelVersion(1), ModelVersion(2)


class FakeTopics:
    """Topics of one partition, read as `TopicReader` does."""

    def __init__(self) -> None:
        self.records: dict[str, list[InputRecord]] = {}

    def write(self, topic: str, at: datetime, record: RecommendationSet | RecommendationOutcome | bytes) -> None:
        """Append a record."""
        log = self.records.setdefault(topic, [])
        value = record if isinstance(record, bytes) else wire.encode(record)
        log.append(InputRecord(InputPosition(topic, 0, len(log)), b"", value, round(at.timestamp() * 1000)))

    def bounds(self, topic: str) -> dict[int, range]:
        """Hold all."""
        return {0: range(len(self.records.get(topic, [])))}

    def offsets_since(self, topic: str, since_ms: int) -> dict[int, range]:
        """Find the first that is not older."""
        log = self.records.get(topic, [])
        first = next((place for place, record in enumerate(log) if record.time_ms >= since_ms), len(log))
        return {0: range(first, len(log))}

    def read(self, topic: str, offsets: Mapping[int, range]) -> Iterator[InputRecord]:
        """Read them."""
        return iter([self.records[topic][offset] for offset in offsets[0]])


class Watched:
    """A deployment under guard."""

    def __init__(self, directory: Path) -> None:
        self.topics = FakeTopics()
        self.rollouts = RolloutLog(open_bus(f"memory:{directory}"), "session_gru")
        self.guard = RolloutGuard(self.rollouts, TopicSettings(), Bands(), decode_payload)
        self.clicks = 0

    def roll_out(self, *versions: ModelVersion, canary: float = 0, shadow: float = 0) -> None:
        """Promote one after the other an hour before now; put version 2 on trial a minute before."""
        for version in versions:
            self.rollouts.append(self._moves(NOW - timedelta(minutes=20)).promote(version, ""))
        for stage, share in (("canary", canary), ("shadow", shadow)):
            if share:
                self.rollouts.append(self._moves(NOW - timedelta(minutes=1)).trial(TWO, stage, share, ""))  # type: ignore[arg-type]

    def _moves(self, now: datetime) -> Moves:
        return Moves(self.rollouts.in_force(), now, "ana")

    def click(
        self,
        at: datetime,
        *,
        tier: Tier = "model",
        reason: Reason | None = None,
        is_hit: bool = True,
        shadow_has: bool | None = None,
    ) -> None:
        """Let somebody new get an answer, and click an item of it or another one; `shadow_has` it, or was not asked."""
        self.clicks += 1
        visitor, item = VisitorId(f"v{self.clicks}"), ItemId("a" if is_hit else "z")
        answer = RecommendationSet(
            id=f"clickstream-0-{self.clicks}",
            status="answered",
            visitor_id=visitor,
            event_id=EventId("e"),
            event_time=from_unix_ms(round(at.timestamp() * 1000) - 20),
            items=[RecommendedItem(ItemId("a"), 1.0)],
            tier=tier,
            reason=reason,
        )
        self.topics.write("recommendations", at, answer)
        if shadow_has is not None:
            items = [RecommendedItem(item if shadow_has else ItemId("y"), 1.0)]
            shadowed = wire.encode(answer).replace(b'"a"', f'"{items[0].item_id}"'.encode())
            self.topics.write("shadow-recommendations", at, shadowed)
        outcome = RecommendationOutcome(
            id=f"clickstream-0-{self.clicks}x",
            recommendation_id=answer.id,
            visitor_id=visitor,
            session_id=SessionId("s"),
            event_id=EventId("e"),
            event_time=answer.event_time,
            action="click",
            item_id=item,
            position=1 if is_hit else None,
            tier=tier,
            delay_ms=0,
        )
        self.topics.write("recommendation-outcomes", at, outcome)

    def has_canary(self) -> bool:
        """Return whether the next visitor is the canary's."""
        rollout = self.rollouts.in_force()
        assert rollout is not None
        return rollout.candidate is not None and rollout.candidate.has(VisitorId(f"v{self.clicks + 1}"))

    def look(self) -> Rollout | None:
        """Let the guard look."""
        return self.guard.look(cast("TopicReader", self.topics), NOW)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """Begin without a rollout."""
    return Watched(tmp_path)


def test_without_a_rollout_nothing_is_judged(watched: Watched) -> None:
    """The newest serves."""
    assert watched.look() is None


def test_a_canary_that_falls_back_is_withdrawn_with_the_reason(watched: Watched) -> None:
    """In the audit, by the guard; its visitors alone count for it."""
    watched.roll_out(ONE, canary=0.3)
    for _ in range(400):
        watched.click(NOW - timedelta(seconds=20), tier="knn" if watched.has_canary() else "model")
    step = watched.look()
    assert step is not None
    assert (step.change, step.by, step.champion, step.candidate, step.rejected) == ("withdraw", BY, ONE, None, (TWO,))
    assert "by a lower tier" in step.reason
    assert watched.rollouts.in_force() == step
    assert watched.look() is None


def test_a_canary_that_spends_the_budget_of_the_models_share_is_withdrawn(watched: Watched) -> None:
    """What it owes and does not give counts, whatever lower tiers answer both alike for other reasons."""
    watched.roll_out(ONE, canary=0.5)
    for number in range(2_400):
        tier: Tier = "knn" if number % 20 else "model"
        reason: Reason | None = "unseen_items" if number % 20 else None
        if watched.has_canary() and number % 20 in (1, 2):
            reason = "bad_response"
        watched.click(NOW - timedelta(seconds=20), tier=tier, reason=reason)
    step = watched.look()
    assert step is not None
    assert "miss the objective model-share" in step.reason


def test_a_canary_whose_lists_are_not_clicked_is_withdrawn(watched: Watched) -> None:
    """Against the champion's visitors of the same time."""
    watched.roll_out(ONE, canary=0.5)
    for _ in range(600):
        watched.click(NOW - timedelta(seconds=20), is_hit=not watched.has_canary())
    step = watched.look()
    assert step is not None
    assert "clicks are on an item" in step.reason


def test_a_canary_that_does_as_well_stays(watched: Watched) -> None:
    """Also while everybody falls back: that is the server's."""
    watched.roll_out(ONE, canary=0.5)
    for _ in range(300):
        watched.click(NOW - timedelta(seconds=20), tier="knn")
    assert watched.look() is None


def test_what_comes_before_the_workers_follow_does_not_count(watched: Watched) -> None:
    """Nor does what the canary's visitors got before it."""
    watched.roll_out(ONE, canary=0.5)
    for seconds in (300, 50):
        for _ in range(300):
            watched.click(NOW - timedelta(seconds=seconds), tier="knn" if watched.has_canary() else "model")
    assert watched.look() is None


def test_a_shadow_is_held_against_what_was_clicked(watched: Watched) -> None:
    """As if its lists had been shown."""
    watched.roll_out(ONE, shadow=1.0)
    for number in range(300):
        watched.click(NOW - timedelta(seconds=20), is_hit=number % 2 == 0, shadow_has=number % 2 == 0)
    assert watched.look() is None
    for number in range(300):
        watched.click(NOW - timedelta(seconds=20), is_hit=number % 2 == 0, shadow_has=number % 20 == 0)
    step = watched.look()
    assert step is not None
    assert step.change == "withdraw"


def test_a_new_champion_that_does_worse_is_rolled_back(watched: Watched) -> None:
    """To the one before, against what that one did just before the change."""
    watched.roll_out(ONE, TWO)
    for _ in range(200):
        watched.click(NOW - timedelta(minutes=22))
        watched.click(NOW - timedelta(seconds=30), tier="popular")
    step = watched.look()
    assert step is not None
    assert (step.change, step.champion, step.rejected) == ("rollback", ONE, (TWO,))


def test_an_old_champion_is_not_judged_by_its_beginning(watched: Watched) -> None:
    """After an hour it is held against nothing."""
    watched.roll_out(ONE, TWO)
    for _ in range(200):
        watched.click(NOW - timedelta(minutes=22))
        watched.click(NOW + timedelta(hours=1), tier="popular")
    assert watched.guard.look(cast("TopicReader", watched.topics), NOW + timedelta(hours=1, seconds=10)) is None


def test_what_is_no_record_is_passed_over(watched: Watched) -> None:
    """And so is the tombstone of an erased visitor."""
    watched.roll_out(ONE, canary=0.5)
    for topic in ("recommendations", "recommendation-outcomes", "shadow-recommendations"):
        watched.topics.write(topic, NOW - timedelta(seconds=20), b"garbage")
        log = watched.topics.records[topic]
        log.append(InputRecord(InputPosition(topic, 0, len(log)), b"v", None, log[0].time_ms))
    assert watched.look() is None


def test_a_second_look_reads_on(watched: Watched) -> None:
    """What was counted counts once."""
    watched.roll_out(ONE, canary=0.5)
    for _ in range(60):
        watched.click(NOW - timedelta(seconds=20), tier="knn" if watched.has_canary() else "model")
    assert watched.look() is None
    for _ in range(200):
        assert watched.look() is None
