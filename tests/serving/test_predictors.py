"""What every predictor keeps to: the client of TF Serving, the fake that ships, and what is put around them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from schemas.ids import ModelVersion
from schemas.tracing import TraceContext
from serving.breaker import CircuitBreaker
from serving.client import PredictClient
from serving.errors import ModelNotFoundError, ModelUnavailableError, PredictError
from serving.fakes import FakePredictor
from serving.guard import GuardedPredictor
from serving.metrics import ServingMetrics
from serving.predictor import Predictor
from serving.protos import insession_predict_pb2 as pb
from serving.settings import ServingSettings
from serving.traced import TracedPredictor
from tests.serving.grpc_server import Server, echo, row

V7 = ModelVersion(7)
FAR = 60.0
TRACE = TraceContext("a" * 32, "b" * 16, flags=1)


class Strict(Server):
    """Knows version 7 alone."""

    async def predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:
        """Answer as TF Serving does."""
        if self.refuse is None and request.model_spec.version.value != V7:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such version")
        return await super().predict(request, context)


@dataclass
class Asked:
    """A predictor of version 7, and how its server goes away and comes back."""

    predictor: Predictor
    go_away: Callable[[], None]
    come_back: Callable[[], None]


@asynccontextmanager
async def fake() -> AsyncIterator[Asked]:
    """Yield the fake."""
    predictor = FakePredictor([V7])

    def go_away() -> None:
        predictor.reachable = False
        predictor.fail_next(ModelUnavailableError("away"))

    def come_back() -> None:
        predictor.reachable = True

    yield Asked(predictor, go_away, come_back)


@asynccontextmanager
async def client() -> AsyncIterator[Asked]:
    """Yield the client, over a connection."""
    server = Strict(answer=lambda request: echo(request, candidates=3))
    running = await server.start()
    async with PredictClient(ServingSettings(address=server.address)) as predictor:
        away = (grpc.StatusCode.UNAVAILABLE, "away")
        yield Asked(predictor, lambda: setattr(server, "refuse", away), lambda: setattr(server, "refuse", None))
    await running.stop(None)


@asynccontextmanager
async def guarded() -> AsyncIterator[Asked]:
    """Yield the fake behind a breaker that a single failure does not open."""
    async with fake() as asked:
        breaker = CircuitBreaker(failures=5, open_seconds=1.0)
        asked.predictor = GuardedPredictor(asked.predictor, breaker, ServingMetrics(CollectorRegistry()))
        yield asked


@asynccontextmanager
async def traced() -> AsyncIterator[Asked]:
    """Yield the fake with its calls told."""

    class Spans:
        """Takes them."""

        def record(self, _span: Any) -> None:
            """Forget it."""

    async with fake() as asked:
        asked.predictor = TracedPredictor(asked.predictor, Spans())
        yield asked


@pytest.fixture(params=[fake, client, guarded, traced], ids=lambda kind: kind.__name__)
async def asked(request: pytest.FixtureRequest) -> AsyncIterator[Asked]:
    """Yield one of each kind."""
    async with request.param() as made:
        yield made


async def test_every_row_has_its_own_answer_in_order(asked: Asked) -> None:
    """Candidates with falling scores, and intent, whatever is traced."""
    for traces in ((), (TRACE,)):
        outputs = await asked.predictor.predict(V7, [row(1, 2, 3), row(9)], FAR, traces)
        first, second = (output.candidates for output in outputs)
        assert first.item_indices.dtype == second.item_indices.dtype == np.int32
        assert np.all(second.item_indices - first.item_indices == 6)
        assert np.all(np.diff(first.scores) < 0)
        assert all(output.intent.purchase is not None for output in outputs)


async def test_a_version_that_is_not_loaded_is_not_found(asked: Asked) -> None:
    """The caller moves on to one that is."""
    with pytest.raises(ModelNotFoundError):
        await asked.predictor.predict(ModelVersion(8), [row(1)], FAR)
    assert await asked.predictor.loaded_versions() == {V7}


async def test_a_server_that_is_away_is_unavailable_until_it_is_back(asked: Asked) -> None:
    """For rows and for the question which versions there are; the next call is a new one."""
    asked.go_away()
    with pytest.raises(ModelUnavailableError):
        await asked.predictor.predict(V7, [row(1)], FAR)
    with pytest.raises(PredictError):
        await asked.predictor.loaded_versions()
    asked.come_back()
    assert await asked.predictor.predict(V7, [row(1)], FAR)
    assert await asked.predictor.loaded_versions() == {V7}


async def test_a_call_that_is_given_up_disturbs_no_other(asked: Asked) -> None:
    """Who waits no longer is cancelled; the others are answered."""
    given_up = asyncio.ensure_future(asked.predictor.predict(V7, [row(1)], FAR))
    other = asyncio.ensure_future(asked.predictor.predict(V7, [row(2)], FAR))
    given_up.cancel()
    assert len(await other) == 1
    with pytest.raises(asyncio.CancelledError):
        await given_up
