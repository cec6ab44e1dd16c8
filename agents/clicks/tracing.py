"""One input through the worker as a trace: the caller's goes on, and a sampled one is told as spans where asked for."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace
from prometheus_client import Counter

from agents.clicks.step import Step
from schemas.tracing import SpanRecord, SpanRecorder, TraceContext, read_trace, root_context
from streams.records import Delivery, InputRecord, OutputRecord, RecordSink

_SAMPLE_STEPS = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """Follows one input record from the decision to the answer.

    malformed: counts trace headers that are ignored; label: the header.
    recorder: gets the spans of sampled traces; None = the trace is handed on and nothing is told.
    sample_ratio: of the inputs that bring no trace, the share that begins one; only with a recorder.
    """

    malformed: Counter
    recorder: SpanRecorder | None = None
    sample_ratio: float = 0.0

    def step(self, record: InputRecord, decide: Callable[[InputRecord], Step]) -> Step:
        """Decide on `record` in its trace."""
        if self.recorder is None and not record.headers:
            return decide(record)
        caller, context = self._contexts(record)
        if context is None:
            return decide(record)
        record = replace(record, trace=context)
        if self.recorder is None or not context.is_sampled:
            return decide(record)
        spans = _InputSpans(self.recorder, record, None if caller is None else caller.span_id)
        step = decide(record)
        spans.decided()
        return replace(step, answer=partial(spans.answered, step.answer))

    def _contexts(self, record: InputRecord) -> tuple[TraceContext | None, TraceContext | None]:
        """Return the caller's span and ours; both None = no trace."""
        caller, malformed = read_trace(record.headers)
        for header in malformed:
            self.malformed.labels(header=header).inc()
        record_id = record.position.record_id
        if caller is not None:
            return caller, caller.child(record_id)
        if self.recorder is None:
            return None, None
        root = root_context(f"{record_id}@{record.time_ms}", is_sampled=True)
        is_chosen = int(root.trace_id[-8:], 16) < self.sample_ratio * _SAMPLE_STEPS
        return None, root if is_chosen else None


class _InputSpans:
    """The spans of one input: the whole of it, the decision, and the wait for the answer."""

    def __init__(self, recorder: SpanRecorder, record: InputRecord, parent_id: str | None) -> None:
        self._recorder = recorder
        self._record = record
        self._parent_id = parent_id
        self._started_ns = time.time_ns()
        self._decided_ns = self._started_ns

    def decided(self) -> None:
        """Note the end of the decision."""
        self._decided_ns = time.time_ns()
        self._child("decide", self._started_ns, self._decided_ns)

    async def answered(self, answer: Callable[[], Awaitable[Sequence[OutputRecord]]]) -> Sequence[OutputRecord]:
        """Await the answer; its end is the end of the whole."""
        records = await answer()
        ended_ns = time.time_ns()
        self._child("answer", self._decided_ns, ended_ns)
        position, context = self._record.position, self._record.trace
        assert context is not None
        attributes = (
            ("messaging.system", "kafka"),
            ("messaging.operation.type", "process"),
            ("messaging.destination.name", position.topic),
            ("messaging.destination.partition.id", str(position.partition)),
            ("messaging.kafka.offset", position.offset),
        )
        name = f"process {position.topic}"
        self._recorder.record(
            SpanRecord(
                name, context, self._parent_id, self._started_ns, ended_ns, kind="CONSUMER", attributes=attributes
            )
        )
        return records

    def _child(self, name: str, start_ns: int, end_ns: int) -> None:
        context = self._record.trace
        assert context is not None
        self._recorder.record(SpanRecord(name, context.child(name), context.span_id, start_ns, end_ns))


class TracedSink:
    """A sink that tells of each record in a sampled trace how long it took until the broker had it."""

    def __init__(self, sink: RecordSink, recorder: SpanRecorder) -> None:
        self._sink = sink
        self._recorder = recorder

    def send(self, record: OutputRecord) -> Delivery:
        """See `RecordSink`."""
        started_ns = time.time_ns()
        delivery = self._sink.send(record)
        context, _ = read_trace(record.headers)
        if context is not None and context.is_sampled:
            delivery.then(partial(self._export, record.topic, context, started_ns))
        return delivery

    def _export(self, topic: str, context: TraceContext, started_ns: int, delivery: Delivery) -> None:
        """Record the way of one record; one that did not arrive ends the worker, which tells more than a span."""
        if delivery.error is not None:
            return
        attributes = (
            ("messaging.system", "kafka"),
            ("messaging.operation.type", "send"),
            ("messaging.destination.name", topic),
        )
        name = f"send {topic}"
        span = SpanRecord(
            name,
            context.child(name),
            context.span_id,
            started_ns,
            time.time_ns(),
            kind="PRODUCER",
            attributes=attributes,
        )
        self._recorder.record(span)
