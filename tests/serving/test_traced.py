from dataclasses import replace

import numpy as np
import pytest

from schemas.ids import ModelVersion
from schemas.ranking import ModelInput
from schemas.tracing import SpanRecord, TraceContext
from serving.errors import ModelUnavailableError
from serving.fakes import FakePredictor
from serving.traced import TracedPredictor

V1 = ModelVersion(1)
BATCH = [ModelInput(np.array([1], np.int32), np.zeros(1, np.float32))] * 3
FIRST = TraceContext("ab" * 16, "cd" * 8, 1)
SECOND = TraceContext("12" * 16, "34" * 8, 1)
UNSAMPLED = replace(FIRST, flags=0)


class Traced:
    """A fake server behind a predictor that tells its spans to a list."""

    def __init__(self) -> None:
        self.server = FakePredictor()
        self.spans: list[SpanRecord] = []
        self.predictor = TracedPredictor(self.server, self)

    def record(self, span: SpanRecord) -> None:
        """Keep a span."""
        self.spans.append(span)


async def test_a_call_for_many_links_the_other_traces() -> None:
    """One span a call, below the first trace's, with links to the rest and the number of its rows."""
    traced = Traced()
    assert len(await traced.predictor.predict(V1, BATCH, 1.0, [FIRST, SECOND])) == 3
    (span,) = traced.spans
    assert (span.context, span.parent_id, span.links) == (FIRST.child("predict"), FIRST.span_id, (SECOND,))
    assert dict(span.attributes)["insession.rows"] == 3
    assert span.error is None
    assert traced.server.calls[0].traces == (FIRST, SECOND)


async def test_a_failed_call_is_a_span_with_its_reason() -> None:
    """The error passes through."""
    traced = Traced()
    traced.server.fail_next(ModelUnavailableError("away"))
    with pytest.raises(ModelUnavailableError):
        await traced.predictor.predict(V1, BATCH, 1.0, [FIRST])
    assert traced.spans[0].error == ModelUnavailableError.reason


@pytest.mark.parametrize("traces", [[], [UNSAMPLED]])
async def test_what_nobody_records_is_no_span(traces: list[TraceContext]) -> None:
    """The traces go on to the server all the same."""
    traced = Traced()
    await traced.predictor.predict(V1, BATCH, 1.0, traces)
    assert traced.spans == []
    assert traced.server.calls[0].traces == tuple(traces)
    assert await traced.predictor.loaded_versions() == {V1}
