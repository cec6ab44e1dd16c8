"""A release in the shadow: what it would have answered is on the side topic, and nobody waits for it."""

import asyncio
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from agents.clicks.answered import AnsweredRecord
from agents.clicks.shadow import AT_MOST, Shadow, ShadowMetrics
from schemas import wire
from schemas.events import ClickEvent
from schemas.ids import EventId, ItemId, VisitorId
from schemas.records import RecommendedItem
from schemas.state import InputPosition
from serving.chain import Answer, AnswerRequest
from serving.trial import TriedRecommender
from streams.fakes import ListSink
from streams.records import InputRecord, OutputRecord
from streams.sessions.sessionizer import Advance

SHOWN = Answer([RecommendedItem(ItemId(name), 1.0) for name in ("a", "b", "c", "d")], tier="model")


class FakeCandidate:
    """Answers b, c, x, when it is let."""

    def __init__(self) -> None:
        self.asked: list[AnswerRequest] = []
        self.open = asyncio.Event()
        self.error: Exception | None = None

    async def answer(self, request: AnswerRequest) -> Answer:
        """Wait, then answer."""
        self.asked.append(request)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return Answer([RecommendedItem(ItemId(name), 1.0) for name in ("b", "c", "x")], tier="model")


class Shadowed:
    """A shadow of every visitor but `alone`, with what it writes and counts at hand."""

    def __init__(self) -> None:
        self.candidate = FakeCandidate()
        self.sink = ListSink()
        self.registry = CollectorRegistry()
        self.shadow = Shadow(cast("TriedRecommender", self), self.sink, ShadowMetrics(self.registry), 0.5)

    def is_shadowed(self, visitor_id: VisitorId | None) -> bool:
        """Leave one out."""
        return visitor_id != "alone"

    def offer(self, visitor: str = "v", offset: int = 0) -> None:
        """Offer an answer that was shown."""
        event = ClickEvent(
            visitor_id=VisitorId(visitor), event_type="view", event_time=0, item_id=ItemId("i"), event_id=EventId("e")
        )
        record = InputRecord(InputPosition("clickstream", 2, offset), visitor.encode(), b"", 0)
        answered = AnsweredRecord(record, [event], Advance(None, "answered"), SHOWN)
        request = AnswerRequest(
            events=(), location=None, bought=(), deadline=0.0, want_personal=True, visitor_id=event.visitor_id
        )
        self.shadow.offer(answered, request, _record)

    async def settle(self) -> None:
        """Let the candidate answer and the brokers take what follows."""
        self.candidate.open.set()
        while self.shadow.is_asking:
            self.sink.acknowledge_all()
            await asyncio.sleep(0)

    def count(self, name: str, **labels: str) -> float | None:
        """Read a metric."""
        return self.registry.get_sample_value(f"insession_shadow_{name}_total", labels)


def _record(answered: AnsweredRecord) -> OutputRecord:
    return OutputRecord("shadow-recommendations", answered.record.key, wire.encode(answered.recommendation()))


@pytest.fixture
async def shadowed() -> Shadowed:
    """Begin with nothing asked."""
    return Shadowed()


async def test_what_it_would_have_answered_is_on_the_side_topic(shadowed: Shadowed) -> None:
    """Under the id of the answer that was shown."""
    shadowed.offer(offset=7)
    assert not shadowed.sink.records
    await shadowed.settle()
    (record,) = shadowed.sink.records
    assert (record.topic, record.key) == ("shadow-recommendations", b"v")
    answer = wire.decode_recommendation_set(record.value or b"")
    assert (answer.id, answer.visitor_id, [item.item_id for item in answer.items]) == (
        "clickstream-2-7",
        "v",
        ["b", "c", "x"],
    )


async def test_how_far_it_agrees_is_counted(shadowed: Shadowed) -> None:
    """Two of the four items that were shown."""
    shadowed.offer()
    await shadowed.settle()
    assert (shadowed.count("compared_items"), shadowed.count("shared_items")) == (4, 2)


async def test_it_has_a_budget_of_its_own(shadowed: Shadowed) -> None:
    """The champion has used up what the click had."""
    shadowed.offer()
    await shadowed.settle()
    assert shadowed.candidate.asked[0].deadline > 0


async def test_who_is_not_in_its_share_is_not_asked_for(shadowed: Shadowed) -> None:
    """Nothing happens."""
    shadowed.offer("alone")
    assert not shadowed.shadow.is_asking


async def test_more_than_it_can_bear_is_left_out_and_counted(shadowed: Shadowed) -> None:
    """A candidate that hangs keeps a bounded number of questions."""
    for offset in range(AT_MOST + 3):
        shadowed.offer(offset=offset)
    await asyncio.sleep(0)
    assert len(shadowed.candidate.asked) == AT_MOST
    assert shadowed.count("skipped", reason="busy") == 3
    await shadowed.settle()


@pytest.mark.parametrize("fault", ["the candidate", "the topic"])
async def test_what_fails_is_counted_and_nothing_else(shadowed: Shadowed, fault: str) -> None:
    """No shopper sees it."""
    error = OSError("away")
    shadowed.candidate.error = error if fault == "the candidate" else None
    shadowed.sink.refusal = error if fault == "the topic" else None
    shadowed.offer()
    await shadowed.settle()
    assert shadowed.count("skipped", reason="failed") == 1


async def test_a_worker_that_ends_waits_for_no_shadow(shadowed: Shadowed) -> None:
    """What is under way is given up."""
    shadowed.offer()
    await shadowed.shadow.close()
    assert not shadowed.shadow.is_asking
    assert not shadowed.sink.records
