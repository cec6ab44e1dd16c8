import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from schemas.ids import ItemId, ModelVersion
from schemas.ranking import ModelInput, ModelOutput
from schemas.records import SessionEvent
from serving.batcher import Question, blended
from serving.breaker import CircuitBreaker
from serving.chain import Answer, AnswerRequest, Model, Recommender
from serving.fakes import FakeCatalog, FakeRelease, fake_output
from serving.metrics import ServingMetrics
from serving.popular import StreamPopularity
from serving.settings import ServingSettings
from serving.together import GatheredModel, answer_many

REQUESTS = [
    AnswerRequest(
        events=[SessionEvent("view", place, ItemId(name)) for place, name in enumerate(names)],
        location=None,
        bought=bought,
        deadline=math.inf,
        want_personal=True,
    )
    for names, bought in ((["i7", "i9"], []), (["unknown"], []), (["i20"], [ItemId("i21")]), ([], []))
]


class AtOnce:
    """A model that answers each row as it comes."""

    async def rank(self, question: Question) -> ModelOutput:
        """Answer a row."""
        (output,) = blended([question], [fake_output(question.row)])
        return output


@dataclass
class OneRelease:
    """The release in use."""

    current: FakeRelease

    async def resolve_again(self, gone: ModelVersion) -> None:
        """Find no other."""


def recommender_of(model: Model) -> Recommender:
    """Compose the chain."""
    return Recommender(
        model=model,
        gate=CircuitBreaker(failures=0, open_seconds=1),
        releases=OneRelease(FakeRelease()),
        popularity=StreamPopularity(half_life_seconds=1, max_items=0, max_locations=0),
        catalog=FakeCatalog(),
        settings=ServingSettings(),
        metrics=ServingMetrics(CollectorRegistry()),
    )


def test_many_answers_are_those_of_one_at_a_time_and_the_model_is_asked_once() -> None:
    """In order; those for whom the model is not asked are among them."""
    calls = list[int]()

    def predict(rows: Sequence[ModelInput]) -> list[ModelOutput]:
        calls.append(len(rows))
        return [fake_output(row) for row in rows]

    one_by_one = recommender_of(AtOnce())

    async def answered() -> list[Answer]:
        return [await one_by_one.answer(request) for request in REQUESTS]

    assert answer_many(recommender_of(GatheredModel()), REQUESTS, predict) == asyncio.run(answered())
    assert calls == [2]


async def test_a_running_loop_is_no_obstacle() -> None:
    """As in a notebook."""
    answers = answer_many(recommender_of(GatheredModel()), REQUESTS, lambda rows: [fake_output(row) for row in rows])
    assert [answer.tier for answer in answers] == ["model", "popular", "model", "popular"]


def test_a_model_that_fails_is_not_hidden_behind_another_tier() -> None:
    """Lists of what is popular for everybody would go out."""

    def fail(_: Sequence[ModelInput]) -> list[ModelOutput]:
        raise MemoryError

    with pytest.raises(MemoryError):
        answer_many(recommender_of(GatheredModel()), REQUESTS, fail)


def test_nobody_is_no_call() -> None:
    """Nor is somebody of whom nothing is known."""
    assert answer_many(recommender_of(GatheredModel()), [], pytest.fail) == []
