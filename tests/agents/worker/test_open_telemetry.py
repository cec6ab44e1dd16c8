import sys
import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agents.settings import TracingSettings
from agents.worker.open_telemetry import OpenTelemetrySpans
from agents.worker.span_export import collector_spans, exporting
from schemas.errors import UsageError
from schemas.tracing import SpanRecord, TraceContext, root_context

CALLER = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1, "shop=1")
OTHER = root_context("other", is_sampled=True)


def test_a_span_is_told_under_the_ids_of_the_headers() -> None:
    """Trace, span and parent are those that consumers of the outputs see; times, links and attributes come along."""
    exporter = InMemorySpanExporter()
    spans = OpenTelemetrySpans(SimpleSpanProcessor(exporter))
    ours = CALLER.child("clickstream-0-7")
    spans.record(
        SpanRecord(
            "process clickstream",
            ours,
            CALLER.span_id,
            10,
            20,
            kind="CONSUMER",
            links=(OTHER,),
            attributes=(("rows", 3),),
            error="deadline",
        )
    )
    root = root_context("clickstream-0-8@1", is_sampled=True)
    spans.record(SpanRecord("process clickstream", root, None, 30, 40))
    spans.close()
    below, top = exporter.get_finished_spans()
    assert below.context is not None
    assert below.parent is not None
    assert f"{below.context.trace_id:032x}-{below.context.span_id:016x}" == f"{ours.trace_id}-{ours.span_id}"
    assert f"{below.parent.span_id:016x}" == CALLER.span_id
    assert below.context.trace_state.to_header() == "shop=1"
    assert (below.start_time, below.end_time, below.kind.name) == (10, 20, "CONSUMER")
    assert dict(below.attributes or {}) == {"rows": 3}
    assert (below.status.status_code.name, below.status.description) == ("ERROR", "deadline")
    assert [f"{link.context.span_id:016x}" for link in below.links] == [OTHER.span_id]
    assert top.context is not None
    assert (top.parent, f"{top.context.trace_id:032x}") == (None, root.trace_id)


class SilentExporter(InMemorySpanExporter):
    """An exporter whose collector does not answer before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Wait for the answer."""
        self.answers.wait()
        return super().export(spans)


def test_a_collector_that_is_silent_holds_up_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last spans have their time, then the worker ends without them."""
    monkeypatch.setattr("agents.worker.open_telemetry._EXPORT_SECONDS", 0.05)
    exporter = SilentExporter()
    spans = OpenTelemetrySpans(BatchSpanProcessor(exporter))
    spans.record(SpanRecord("process clickstream", OTHER, None, 30, 40))
    spans.close()
    assert not exporter.get_finished_spans()
    exporter.answers.set()


def test_without_a_collector_there_is_nothing() -> None:
    """That is the default: no span is made."""
    assert collector_spans(TracingSettings()) is None


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector is set, but the SDK is not installed: the message says what to install."""
    monkeypatch.delitem(sys.modules, "agents.worker.open_telemetry")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(UsageError, match=r"pip install 'insession\[tracing\]'"):
        collector_spans(TracingSettings(endpoint="http://127.0.0.1:4317"))


async def test_a_collector_that_is_away_does_not_hold_up_the_end() -> None:
    """What cannot be sent is given up."""
    spans = collector_spans(TracingSettings(endpoint="http://127.0.0.1:1"))
    assert spans is not None
    async with exporting(spans):
        spans.record(SpanRecord("decide", OTHER, None, 10, 20))
