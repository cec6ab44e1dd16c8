import asyncio

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from schemas.ids import ModelVersion
from schemas.ranking import ModelInput
from serving.breaker import CircuitBreaker
from serving.errors import (
    BadRequestError,
    BadResponseError,
    BreakerOpenError,
    DeadlineExceededError,
    ModelUnavailableError,
    PredictError,
    ServerBusyError,
)
from serving.fakes import FakePredictor
from serving.guard import GuardedPredictor
from serving.metrics import ServingMetrics

V1 = ModelVersion(1)
BATCH = [ModelInput(np.array([1], np.int32), np.zeros(1, np.float32))] * 3


class Guarded:
    """A guarded fake server with its clock and metrics."""

    def __init__(self) -> None:
        self.now = 0.0
        self.server = FakePredictor()
        self.registry = CollectorRegistry()
        self.breaker = CircuitBreaker(failures=2, open_seconds=10, clock=lambda: self.now)
        self.predictor = GuardedPredictor(
            self.server, self.breaker, ServingMetrics(self.registry), clock=lambda: self.now
        )

    async def fail(self, *errors: PredictError, budget_seconds: float = 1.0) -> None:
        """Let one call fail for each error."""
        self.server.fail_next(*errors)
        for error in errors:
            with pytest.raises(type(error)):
                await self.predictor.predict(V1, BATCH, budget_seconds)

    async def answer(self, seconds: float) -> None:
        """Let one call be answered after so long."""
        self.server.hold()
        call = asyncio.create_task(self.predictor.predict(V1, BATCH, 1.0))
        await self.server.called(len(self.server.calls) + 1)
        self.now += seconds
        self.server.let_go()
        await call

    def metric(self, name: str, **labels: str) -> float | None:
        """Read a metric."""
        return self.registry.get_sample_value(name, labels)


@pytest.mark.parametrize("kind", [ModelUnavailableError, DeadlineExceededError, ServerBusyError, BadResponseError])
async def test_failures_of_the_server_open_the_breaker(kind: type[PredictError]) -> None:
    """Two failed calls, whatever their rows, open the breaker; the third is not sent; gauge and counter say so."""
    guarded = Guarded()
    await guarded.fail(kind("1"))
    assert guarded.breaker.state == "closed"
    await guarded.fail(kind("2"))
    with pytest.raises(BreakerOpenError):
        await guarded.predictor.predict(V1, BATCH, 1.0)
    assert len(guarded.server.calls) == 2
    assert guarded.metric("insession_breaker_open") == 1
    assert guarded.metric("insession_model_failures_total", reason=kind.reason) == 2


async def test_a_deadline_that_the_rows_had_used_up_says_nothing_of_the_server() -> None:
    """In overload what is left is less than a few times what calls take; with more left, the server is to blame."""
    guarded = Guarded()
    for _ in range(50):
        await guarded.answer(0.1)
    await guarded.fail(*(DeadlineExceededError("late") for _ in range(5)), budget_seconds=0.35)
    assert guarded.breaker.state == "closed"
    await guarded.fail(ModelUnavailableError("1"), ModelUnavailableError("2"), budget_seconds=0.35)
    assert guarded.breaker.state == "open"
    guarded.now += 10
    await guarded.answer(0.1)
    await guarded.fail(DeadlineExceededError("1"), DeadlineExceededError("2"), budget_seconds=0.45)
    assert guarded.breaker.state == "open"


async def test_bad_rows_and_unknown_versions_never_open_it() -> None:
    """BadRequestError and ModelNotFoundError are counted but leave the breaker closed."""
    guarded = Guarded()
    await guarded.fail(*(BadRequestError("no") for _ in range(5)))
    for _ in range(5):
        with pytest.raises(PredictError):
            await guarded.predictor.predict(ModelVersion(9), BATCH, 1.0)
    assert guarded.breaker.state == "closed"
    assert guarded.metric("insession_breaker_open") == 0
    assert guarded.metric("insession_model_failures_total", reason="version_gone") == 5


async def test_a_call_without_verdict_forgets_no_failure() -> None:
    """A refused row between two failures does not make the server healthy."""
    guarded = Guarded()
    await guarded.fail(ModelUnavailableError("1"), BadRequestError("no"), ModelUnavailableError("2"))
    assert guarded.breaker.state == "open"


async def test_a_good_probe_closes_the_breaker() -> None:
    """After the pause one call goes and the gauge falls to 0."""
    guarded = Guarded()
    await guarded.fail(ModelUnavailableError("1"), ModelUnavailableError("2"))
    guarded.now = 10.0
    assert len(await guarded.predictor.predict(V1, BATCH, 1.0)) == 3
    assert guarded.metric("insession_breaker_open") == 0


async def test_a_cancelled_probe_does_not_lock_the_breaker() -> None:
    """A probe that is cancelled leaves the next call to probe."""
    guarded = Guarded()
    await guarded.fail(ModelUnavailableError("1"), ModelUnavailableError("2"))
    guarded.now = 10.0
    guarded.server.hold()
    probe = asyncio.create_task(guarded.predictor.predict(V1, BATCH, 1.0))
    await guarded.server.called(3)
    probe.cancel()
    await asyncio.wait([probe])
    guarded.server.let_go()
    assert len(await guarded.predictor.predict(V1, BATCH, 1.0)) == 3


async def test_latency_and_batch_size_are_observed() -> None:
    """Every call adds its latency and its rows, once."""
    guarded = Guarded()
    await guarded.answer(0.25)
    assert guarded.metric("insession_model_latency_seconds_sum") == 0.25
    assert guarded.metric("insession_model_batch_size_sum") == 3
    assert guarded.metric("insession_model_batch_size_count") == 1
    assert await guarded.predictor.loaded_versions() == {1}
