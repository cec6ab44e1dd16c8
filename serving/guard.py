"""A predictor behind a circuit breaker, measured."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from schemas.ids import ModelVersion
from schemas.ranking import ModelInput, ModelOutput
from schemas.tracing import TraceContext
from serving.breaker import CircuitBreaker
from serving.errors import BreakerOpenError, DeadlineExceededError, PredictError
from serving.metrics import ServingMetrics
from serving.predictor import Predictor

PATIENCE: Final = 4
"""Times the usual time of a call within which a good server answers."""
_NEWEST_SHARE: Final = 0.1
"""Of the latest call in what is usual."""


class GuardedPredictor:
    """Sends a call only if the breaker lets it, tells the breaker how it ended, and counts.

    A call counts once, however many rows it had. What says nothing of the server's health (a version that is gone,
    rows that it refuses, cancellation) leaves the breaker as it was. So does a deadline that left less than `PATIENCE`
    times what calls take: those rows had waited too long, and in overload an open breaker would answer nobody.
    """

    def __init__(
        self,
        predictor: Predictor,
        breaker: CircuitBreaker,
        metrics: ServingMetrics,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._predictor = predictor
        self._breaker = breaker
        self._metrics = metrics
        self._clock = clock
        self._usual_seconds = 0.0

    async def predict(
        self,
        version: ModelVersion,
        batch: Sequence[ModelInput],
        deadline_seconds: float,
        traces: Sequence[TraceContext] = (),
    ) -> list[ModelOutput]:
        """Answer the rows of `batch`; raises BreakerOpenError, or what the predictor raises."""
        permit = self._breaker.acquire()
        if permit is None:
            raise BreakerOpenError("the model is left alone for a while after repeated failure")
        started = self._clock()
        verdict = self._breaker.undecided
        try:
            outputs = await self._predictor.predict(version, batch, deadline_seconds, traces)
            verdict = self._breaker.succeeded
            self._note(self._clock() - started)
        except PredictError as error:
            self._metrics.model_failures.labels(error.reason).inc()
            if error.counts_for_breaker and not self._was_hurried(error, deadline_seconds):
                verdict = self._breaker.failed
            raise
        finally:
            verdict(permit)
            self._metrics.breaker_open.set(self._breaker.state != "closed")
            self._metrics.model_latency.observe(self._clock() - started)
            self._metrics.model_batch_size.observe(len(batch))
        return outputs

    def _was_hurried(self, error: PredictError, deadline_seconds: float) -> bool:
        return isinstance(error, DeadlineExceededError) and deadline_seconds < PATIENCE * self._usual_seconds

    def _note(self, seconds: float) -> None:
        """Keep a moving average of what calls take."""
        self._usual_seconds += _NEWEST_SHARE * (seconds - self._usual_seconds)

    async def loaded_versions(self) -> frozenset[ModelVersion]:
        """Return the versions that answer; not guarded, a status call says nothing of Predict."""
        return await self._predictor.loaded_versions()
