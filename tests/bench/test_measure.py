from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

from bench.measure import answer_counts, answers_of, came_twice, latency_of
from bench.programs import Cpu
from bench.traffic import clicks
from schemas import wire
from schemas.ids import EventId, ItemId, VisitorId
from schemas.records import RecommendationSet, RecommendedItem, Status, Tier
from tests.kafka.topic_log import LoggedRecord

NO_CPU = Cpu({}, {})


def logged(offset: int, time_ms: int, value: bytes = b"") -> LoggedRecord:
    """Return a record of partition 3."""
    return LoggedRecord(3, offset, b"v", value, time_ms, ())


def answered(offset: int, time_ms: int, *, status: Status = "answered", tier: Tier | None = "model") -> LoggedRecord:
    """Return the answer to the click at `offset`, appended at `time_ms` and at an offset of its own."""
    answer = RecommendationSet(
        id=f"clicks-3-{offset}",
        status=status,
        visitor_id=VisitorId("v"),
        event_id=EventId("e"),
        event_time=datetime(2026, 1, 5, tzinfo=UTC),
        items=[] if tier is None else [RecommendedItem(ItemId("i"), 1.0)],
        tier=tier,
        reason="cheap" if tier == "popular" else None,
    )
    return logged(1000 - offset, time_ms, wire.encode(answer))


def test_answers_are_counted_by_tier_and_reason_or_by_status() -> None:
    """An answer with items counts under its tier and reason, an event without an answer under its status."""
    outputs = [
        answered(1, 0),
        answered(2, 0),
        answered(3, 0, status="bot", tier="popular"),
        answered(4, 0, status="duplicate", tier=None),
    ]
    assert answer_counts(answers_of(outputs)) == Counter({"model": 2, "popular (cheap)": 1, "duplicate": 1})


def test_an_answer_came_twice_whose_id_was_there_before() -> None:
    """Wherever it lies, and however it was given the second time."""
    outputs = [answered(1, 0), answered(2, 0), answered(1, 0, status="replayed"), answered(1, 9)]
    assert came_twice(answers_of(outputs)) == 2
    assert came_twice(answers_of(outputs[:2])) == 0


def test_latency_pairs_each_click_with_its_own_answer() -> None:
    """Answers are found by the id they carry, in whatever order they lie; those to the warm-up are left out."""
    inputs = [logged(offset, 100 * offset) for offset in range(1, 102)]
    outputs = [answered(offset, 100 * offset + offset - 1) for offset in reversed(range(102))]
    found = latency_of("clicks", inputs, outputs, NO_CPU)
    assert (found.events, found.p50_ms, found.p90_ms, found.p99_ms, found.max_ms) == (101, 50.0, 90.0, 99.0, 100.0)
    assert found.answers == Counter({"model": 101})


def test_the_models_share_is_of_what_it_should_have_answered() -> None:
    """Events without an answer, bots and sessions of unseen items are not its to answer; what came too late is."""
    answers = Counter(
        {"model": 6, "knn (deadline)": 2, "popular (cheap)": 5, "popular (unseen_items)": 4, "duplicate": 3}
    )
    found = replace(latency_of("clicks", [logged(1, 0)], [answered(1, 9)], NO_CPU), answers=answers)
    assert found.model_share == 6 / 8


def test_every_program_gets_the_same_bytes() -> None:
    """The events are a function of nothing, and a longer stretch begins with a shorter one."""
    assert clicks(60) == clicks(60)
    assert clicks(60)[:20] == clicks(20)
