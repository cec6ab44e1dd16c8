"""One id followed from the shop's record to everything that it causes, through a real model server."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.ids import ItemId
from schemas.tracing import TraceContext, read_trace
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from streams.cluster.topics import Topic
from tests.compose.release import write_untrained
from tests.kafka.deployment import NO_TICKS, Deploy, NewRecord

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

VISITOR = "v1"
TRACES = [f"{number:032x}" for number in (0xA1, 0xA2, 0xA3, 0xA4)]
OUTPUTS = (Topic.RECOMMENDATIONS, Topic.INTENT_SIGNALS, Topic.OUTCOMES, Topic.SESSION_ENDS, Topic.DEAD_LETTERS)


@pytest.fixture
def model_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Serve a release that nobody trained."""
    write_untrained(tmp_path / "models", [ItemId(f"i{number}") for number in range(1, 21)])
    options = ServerOptions(models=tmp_path / "models", port=0)
    with EmbeddedServer(options, log_path=tmp_path / "server.log") as server:
        yield server


def click(trace_id: str, **fields: object) -> NewRecord:
    """Make a view that a shop's own span has caused."""
    moment = time.time_ns() // 1_000_000
    event = {"visitor_id": VISITOR, "event_type": "view", "event_time": moment, "session_id": "one", **fields}
    headers = (("traceparent", f"00-{trace_id}-00000000000000b7-01".encode()),)
    return NewRecord(VISITOR.encode(), json.dumps(event).encode(), headers)


def test_one_id_runs_from_the_click_through_predict_to_every_output(
    deploy: Deploy, model_server: EmbeddedServer, tmp_path: Path
) -> None:
    """Each output, and the call of the model server, names the trace of the click that caused it."""
    one_session = {"INSESSION_SESSIONS__MAX_OPEN_SESSIONS": "1"}  # so that the third click ends the first session
    deployment = deploy(partitions=1, INSESSION_CLICKSTREAM__FRESHNESS_BUDGET="30s", **one_session, **NO_TICKS)
    worker = deployment.worker(
        INSESSION_SERVING__ADDRESS=model_server.address, INSESSION_SERVING__MODELS_DIRECTORY=str(tmp_path / "models")
    )
    worker.wait_until_ready()
    worker.wait_until(lambda: worker.metric("insession_release_version") == 1, "the release was taken up")
    clicks = [
        click(TRACES[0], item_id="i1"),
        click(TRACES[1], item_id="i2"),
        click(TRACES[2], item_id="i3", session_id="two"),
        click(TRACES[3], item_id=None),
    ]
    for record in clicks:  # one after the other: an answer must be there before the click that is held against it
        deployment.write(Topic.CLICKSTREAM, [record])
        deployment.wait_until_committed(worker)
    assert worker.end(signal.SIGTERM) == 0
    ledger = deployment.ledger()
    traces = {topic: [_trace(record.headers) for record in ledger.records(topic)] for topic in OUTPUTS}
    first, second, third, fourth = TRACES
    assert {topic: [trace.trace_id for trace in found] for topic, found in traces.items()} == {
        Topic.RECOMMENDATIONS: [first, second, third],
        Topic.INTENT_SIGNALS: [first, second, third],
        Topic.OUTCOMES: [second],
        Topic.SESSION_ENDS: [third],
        Topic.DEAD_LETTERS: [fourth],
    }
    assert {answer.tier for answer in ledger.recommendations} == {"model"}
    log = (tmp_path / "server.log").read_text()
    assert [trace for trace in TRACES if trace in log] == [first, second, third]


def _trace(headers: tuple[tuple[str, bytes], ...]) -> TraceContext:
    trace, malformed = read_trace(headers)
    assert trace is not None
    assert not malformed
    return trace
