from datetime import UTC, datetime

import pytest

from agents.clicks.output_headers import OutputHeaders, event_type
from schemas.state import InputPosition
from schemas.tracing import TraceContext
from streams.cluster.topics import Topic
from streams.records import InputRecord

EVENT_TIME = datetime(2026, 3, 1, 12, 0, 0, 250_000, UTC)
TRACE = TraceContext("ab" * 16, "cd" * 8, 1, "a=1")
CLOUD_EVENT = [("ce_specversion", b"1.0"), ("ce_id", b"shop-1")]


def record(headers: list[tuple[str, bytes]], trace: TraceContext | None = None) -> InputRecord:
    """Return an input."""
    return InputRecord(InputPosition("clickstream", 0, 7), b"v", b"{}", 0, headers, trace)


def made(headers: OutputHeaders, cause: InputRecord | None) -> dict[str, bytes]:
    """Make the headers of an intent signal."""
    return dict(headers.of(cause, Topic.INTENT_SIGNALS, "clickstream-0-7", EVENT_TIME))


def test_an_output_of_a_cloud_event_is_a_cloud_event() -> None:
    """All attributes that CloudEvents 1.0 requires are there, and the time and type of the content."""
    assert made(OutputHeaders(source="insession/shop-a"), record(CLOUD_EVENT)) == {
        "ce_specversion": b"1.0",
        "ce_id": b"clickstream-0-7",
        "ce_source": b"insession/shop-a",
        "ce_type": b"insession.intent-signal.v1",
        "ce_time": b"2026-03-01T12:00:00.250000Z",
        "content-type": b"application/json",
    }


@pytest.mark.parametrize(("mode", "count"), [("carried", 0), ("always", 6)])
@pytest.mark.parametrize("cause", [record([("h", b"1")]), None])
def test_other_outputs_are_cloud_events_where_all_are_to_be(mode: str, count: int, cause: InputRecord | None) -> None:
    """By default a plain click, or a tick, costs no header at all."""
    assert len(made(OutputHeaders(cloud_events=mode), cause)) == count  # type: ignore[arg-type]


def test_the_trace_goes_on() -> None:
    """Our span is the parent of whatever the consumer does; the state is the caller's."""
    headers = made(OutputHeaders(), record([], TRACE))
    assert headers == {"traceparent": TRACE.traceparent.encode(), "tracestate": b"a=1"}


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        (Topic.RECOMMENDATIONS, "insession.recommendation.v1"),
        (Topic.SESSION_ENDS, "insession.session-end.v1"),
        (Topic.OUTCOMES, "insession.recommendation-outcome.v1"),
    ],
)
def test_the_type_is_named_for_the_record(topic: Topic, name: str) -> None:
    """The topic's name in the singular, with the version of the schema."""
    assert event_type(topic) == name
