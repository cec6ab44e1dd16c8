"""Spans to an OpenTelemetry collector. Needs the extra `tracing`: only whoever sets a collector imports this module."""

import threading
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace.span import TraceState

from schemas.tracing import SpanRecord, TraceContext

_SERVICE: Final = "insession"
_EXPORT_SECONDS: Final = 5.0


def to_collector(endpoint: str) -> "OpenTelemetrySpans":
    """Send spans to an OTLP collector by gRPC, from a thread of its own; what it cannot take in time is dropped."""
    exporter = OTLPSpanExporter(endpoint, insecure=endpoint.startswith("http://"), timeout=_EXPORT_SECONDS)
    return OpenTelemetrySpans(BatchSpanProcessor(exporter))


class OpenTelemetrySpans:
    """Tells finished spans to `processor`, under the ids that the headers have told already."""

    def __init__(self, processor: SpanProcessor) -> None:
        self._ids = _GivenIds()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # what comes here is sampled already
            resource=Resource.create({SERVICE_NAME: _SERVICE}),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(_SERVICE)

    def record(self, span: SpanRecord) -> None:
        """Hand a span over; see `SpanRecorder`."""
        context = Context()
        if span.parent_id is not None:
            context = set_span_in_context(NonRecordingSpan(_span_context(span.context, span.parent_id)), context)
        self._ids.give(span.context)
        exported = self._tracer.start_span(
            span.name,
            context,
            SpanKind[span.kind],
            dict(span.attributes),
            [Link(_span_context(other, other.span_id)) for other in span.links],
            span.start_ns,
        )
        if span.error is not None:
            exported.set_status(Status(StatusCode.ERROR, span.error))
        exported.end(span.end_ns)

    def close(self) -> None:
        """Send what is left; blocks for `_EXPORT_SECONDS` at most, as a full queue may be several exports."""
        closing = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        closing.start()
        closing.join(_EXPORT_SECONDS)


class _GivenIds(IdGenerator):
    """Gives the next span the ids it already has."""

    def __init__(self) -> None:
        self._trace_id = self._span_id = 0

    def give(self, context: TraceContext) -> None:
        """Set the ids of the span that is started next."""
        self._trace_id, self._span_id = int(context.trace_id, 16), int(context.span_id, 16)

    def generate_span_id(self) -> int:
        """See `IdGenerator`."""
        return self._span_id

    def generate_trace_id(self) -> int:
        """See `IdGenerator`."""
        return self._trace_id


def _span_context(trace: TraceContext, span_id: str) -> SpanContext:
    return SpanContext(
        int(trace.trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(trace.flags),
        trace_state=TraceState.from_header([trace.tracestate or ""]),
    )
