"""A predictor that tells how long each call of a sampled trace took, with links to the other traces in its batch."""

import time
from collections.abc import Sequence

from schemas.ids import ModelVersion
from schemas.ranking import ModelInput, ModelOutput
from schemas.tracing import PREDICT, SpanRecord, SpanRecorder, TraceContext, leading
from serving.errors import PredictError
from serving.predictor import Predictor


class TracedPredictor:
    """Records a span a call; what the predictor raises passes through."""

    def __init__(self, predictor: Predictor, recorder: SpanRecorder) -> None:
        self._predictor = predictor
        self._recorder = recorder

    async def predict(
        self,
        version: ModelVersion,
        batch: Sequence[ModelInput],
        deadline_seconds: float,
        traces: Sequence[TraceContext] = (),
    ) -> list[ModelOutput]:
        """Answer the rows of `batch`; see `Predictor`."""
        asker = leading(traces)
        if asker is None or not asker.is_sampled:
            return await self._predictor.predict(version, batch, deadline_seconds, traces)
        started_ns, failure = time.time_ns(), None
        try:
            return await self._predictor.predict(version, batch, deadline_seconds, traces)
        except PredictError as error:
            failure = error.reason
            raise
        finally:
            span = SpanRecord(
                PREDICT,
                asker.child(PREDICT),
                asker.span_id,
                started_ns,
                time.time_ns(),
                kind="CLIENT",
                links=tuple(trace for trace in traces if trace != asker),
                attributes=(("rpc.system", "grpc"), ("insession.rows", len(batch)), ("insession.version", version)),
                error=failure,
            )
            self._recorder.record(span)

    async def loaded_versions(self) -> frozenset[ModelVersion]:
        """Return the versions that answer."""
        return await self._predictor.loaded_versions()
