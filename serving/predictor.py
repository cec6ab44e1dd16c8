"""The edge between the serving tier and whoever answers a Predict: gRPC in production, a fake in tests."""

from collections.abc import Sequence
from typing import Protocol

from schemas.ids import ModelVersion
from schemas.ranking import ModelInput, ModelOutput
from schemas.tracing import TraceContext


class Predictor(Protocol):
    """Answers batches of rows by a named model version."""

    async def predict(
        self,
        version: ModelVersion,
        batch: Sequence[ModelInput],
        deadline_seconds: float,
        traces: Sequence[TraceContext] = (),
    ) -> list[ModelOutput]:
        """Answer every row of `batch`, in order, within `deadline_seconds` (may be infinite) from now.

        traces: of those rows that have one; the call goes on in the `leading` one.

        Raises a PredictError: all rows share its fate.
        """

    async def loaded_versions(self) -> frozenset[ModelVersion]:
        """Return the versions that answer at this moment; raises a PredictError where that cannot be learnt."""
