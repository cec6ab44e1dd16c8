from dataclasses import replace
from typing import Any

import pytest

from agents.clicks.output_headers import OutputHeaders
from agents.clicks.pipeline import Pipeline
from agents.clicks.tracing import TracedSink, Tracing
from schemas import wire
from schemas.events import ClickEvent
from schemas.ids import VisitorId
from schemas.state import InputPosition
from schemas.tracing import SpanRecord, TraceContext, read_trace
from serving.batcher import MicroBatcher
from serving.fakes import FakePredictor, FakeRelease
from serving.traced import TracedPredictor
from streams.fakes import ListSink
from streams.records import InputRecord, OutputRecord

START_MS = 1_700_000_000_000
GAP_MS = 30 * 60_000
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = TraceContext(TRACE_ID, SPAN_ID, 1, "shop=1")
UNSAMPLED = replace(CALLER, flags=0)


class SpanList:
    """Keeps the spans."""

    def __init__(self) -> None:
        self.spans: list[SpanRecord] = []

    def record(self, span: SpanRecord) -> None:
        """Keep one."""
        self.spans.append(span)

    def named(self, name: str) -> SpanRecord:
        """Return the one span of that name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found


class Releases:
    """A release in use."""

    current = FakeRelease()


class Traced:
    """A worker without Kafka whose model server is a fake; tells its spans to a list."""

    def __init__(self, worker: Any, recorder: SpanList | None, sample_ratio: float = 0.0) -> None:
        self.worker = worker
        self.server = FakePredictor()
        predictor = self.server if recorder is None else TracedPredictor(self.server, recorder)
        model = MicroBatcher(predictor, worker.recommender.settings)
        recommender = replace(worker.recommender, releases=Releases(), model=model)
        tracing = Tracing(
            malformed=worker.metrics.malformed_trace_headers, recorder=recorder, sample_ratio=sample_ratio
        )
        settings = replace(worker.pipeline._settings, tracing=tracing, headers=OutputHeaders())
        self.pipeline = Pipeline(settings, worker.pipeline._sessionizer, recommender, worker.metrics)

    async def click(
        self, at_ms: int, headers: list[tuple[str, bytes]], *, offset: int, value: bytes | None = None, **fields: Any
    ) -> dict[str, OutputRecord]:
        """Feed a click on an item; gives its outputs by topic."""
        fields = {"event_type": "view", "item_id": "i5"} | fields
        click = ClickEvent(visitor_id=VisitorId("v1"), event_time=START_MS + at_ms, **fields)
        position = InputPosition("clickstream", 0, offset)
        record = InputRecord(position, b"v1", value or wire.encode(click), START_MS + at_ms, headers)
        step = self.pipeline.click(record, self.worker.states)
        if step.write is not None:
            self.worker.states.write(0, step.write)
        return {output.topic: output for output in await step.answer()}


@pytest.fixture
def spans() -> SpanList:
    """Make an empty list."""
    return SpanList()


@pytest.fixture
def traced(worker: Any, spans: SpanList) -> Traced:
    """Make a traced worker."""
    return Traced(worker, spans)


def context_of(record: OutputRecord) -> TraceContext | None:
    """Read an output's trace."""
    return read_trace(record.headers)[0]


async def test_one_id_can_be_followed_from_the_click_to_everything_it_causes(traced: Traced) -> None:
    """Predict, recommendation, intent, outcome and session end are in the click's trace, under one span of ours."""
    await traced.click(0, [], offset=0)
    clicked = await traced.click(1000, CALLER.headers(), offset=1, item_id="i6")
    closing = await traced.click(GAP_MS + 1001, CALLER.headers(), offset=2)
    ours = CALLER.child("clickstream-0-1")
    assert clicked.keys() == {"recommendations", "intent-signals", "recommendation-outcomes"}
    assert {context_of(record) for record in clicked.values()} == {ours}
    assert context_of(closing["session-ends"]) == CALLER.child("clickstream-0-2")
    assert [call.traces for call in traced.server.calls] == [(), (ours,), (CALLER.child("clickstream-0-2"),)]


async def test_a_dead_letter_keeps_the_headers_as_they_came(traced: Traced) -> None:
    """It is the original: the caller's span, not ours, and the CloudEvent's own id."""
    headers = [*CALLER.headers(), ("ce_specversion", b"1.0"), ("ce_id", b"shop-1")]
    (letter,) = (await traced.click(0, headers, offset=0, value=b"\xff")).values()
    assert list(letter.headers)[:4] == headers


async def test_a_replayed_record_has_the_same_headers(traced: Traced) -> None:
    """Trace and CloudEvent are a function of the input."""
    headers = [*CALLER.headers(), ("ce_specversion", b"1.0")]
    first = await traced.click(0, headers, offset=0)
    again = await traced.click(0, headers, offset=0)
    assert {topic: record.headers for topic, record in again.items()} == {
        topic: record.headers for topic, record in first.items()
    }
    assert len(first["recommendations"].headers) == 8


async def test_a_malformed_trace_is_counted_and_costs_nothing_else(traced: Traced) -> None:
    """The event is answered as if it had none."""
    outputs = await traced.click(0, [("traceparent", b"nonsense")], offset=0)
    assert outputs["recommendations"].headers == []
    assert traced.worker.count("insession_malformed_trace_headers_total", header="traceparent") == 1


async def test_the_spans_of_a_sampled_trace_hang_together(traced: Traced, spans: SpanList) -> None:
    """The input's span is below the caller's; decision, answer and Predict are below the input's."""
    await traced.click(0, CALLER.headers(), offset=7)
    whole = spans.named("process clickstream")
    assert (whole.context, whole.parent_id, whole.kind) == (CALLER.child("clickstream-0-7"), SPAN_ID, "CONSUMER")
    assert dict(whole.attributes)["messaging.kafka.offset"] == 7
    below = [spans.named(name) for name in ("decide", "predict", "answer")]
    assert {span.parent_id for span in below} == {whole.context.span_id}
    assert len({span.context.span_id for span in spans.spans}) == 4
    assert all(whole.start_ns <= span.start_ns <= span.end_ns <= whole.end_ns for span in below)


async def test_what_the_caller_does_not_record_is_not_recorded_here(traced: Traced, spans: SpanList) -> None:
    """The flag goes on as it came, whatever the ratio."""
    traced = Traced(traced.worker, spans, sample_ratio=1.0)
    outputs = await traced.click(0, UNSAMPLED.headers(), offset=0)
    assert context_of(outputs["recommendations"]) == UNSAMPLED.child("clickstream-0-0")
    assert spans.spans == []


async def test_inputs_without_a_trace_begin_one_in_the_given_share(worker: Any, spans: SpanList) -> None:
    """Chosen by the record, so that a replay chooses alike."""
    traced = Traced(worker, spans, sample_ratio=0.25)
    outputs = [await traced.click(n, [], offset=n) for n in range(200)]
    chosen = [output["recommendations"] for output in outputs if output["recommendations"].headers]
    assert 25 < len(chosen) < 75
    whole = [span for span in spans.spans if span.name == "process clickstream"]
    assert {span.context for span in whole} == {context_of(record) for record in chosen}
    assert {span.parent_id for span in whole} == {None}


async def test_without_a_recorder_nothing_begins_a_trace(worker: Any) -> None:
    """A caller's is still handed on."""
    traced = Traced(worker, None, sample_ratio=1.0)
    assert (await traced.click(0, [], offset=0))["recommendations"].headers == []
    assert context_of((await traced.click(1, CALLER.headers(), offset=1))["recommendations"]) is not None


@pytest.mark.parametrize(("caller", "count"), [(CALLER, 1), (UNSAMPLED, 0), (None, 0)])
async def test_the_way_to_the_broker_is_a_span_of_a_sampled_record(
    spans: SpanList, caller: TraceContext | None, count: int
) -> None:
    """From handing it over to the acknowledgement, which whoever sends it hears of as well."""
    inner = ListSink()
    sink = TracedSink(inner, spans)
    headers = [] if caller is None else caller.headers()
    sent = sink.send(OutputRecord("recommendations", b"v", b"{}", headers))
    assert (spans.spans, [sent]) == ([], inner.deliveries)
    inner.acknowledge_all()
    await sent
    assert [(span.name, span.kind, span.parent_id) for span in spans.spans] == [
        ("send recommendations", "PRODUCER", SPAN_ID)
    ] * count
    assert all(span.start_ns <= span.end_ns for span in spans.spans)


async def test_the_span_ends_with_the_acknowledgement_not_with_the_look_at_it(spans: SpanList) -> None:
    """The in-order window looks at a record when it has seen those before it."""
    inner = ListSink()
    TracedSink(inner, spans).send(OutputRecord("recommendations", b"v", b"{}", CALLER.headers()))
    inner.acknowledge_all()
    assert [span.name for span in spans.spans] == ["send recommendations"]


async def test_a_record_that_did_not_arrive_has_no_span(spans: SpanList) -> None:
    """It ends the worker, which tells more."""
    inner = ListSink()
    sent = TracedSink(inner, spans).send(OutputRecord("recommendations", b"v", b"{}", CALLER.headers()))
    inner.deliveries[0].settle(OSError("no broker"))
    with pytest.raises(OSError, match="no broker"):
        await sent
    assert spans.spans == []
