"""Topics that are deleted, made anew or grown, beside a worker that runs and between two."""

import signal
from collections import Counter
from collections.abc import Callable

import pytest
from confluent_kafka.admin import NewPartitions

from schemas.wire import decode_intent_signal
from streams.cluster.topics import Topic
from tests.builders.clicks import VISITORS, clicks
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment

pytestmark = pytest.mark.kafka


def prefix_lengths(deployment: Deployment) -> dict[str, int]:
    """Return by visitor the most events that a session had."""
    signals = [record.value or b"" for record in deployment.ledger().records(Topic.INTENT_SIGNALS)]
    longest: Counter[str] = Counter()
    for signal_record in map(decode_intent_signal, signals):
        visitor = signal_record.visitor_id
        longest[visitor] = max(longest[visitor], signal_record.prefix_length)
    return dict(longest)


@pytest.mark.parametrize("folder", ["a", "another"])
def test_known_visitors_are_answered_when_the_clickstream_was_made_anew(deploy: Deploy, folder: str) -> None:
    """With the data folder of before and with an empty one: offsets are void, sessions go on, one line says so."""
    deployment = deploy(partitions=1, **NO_TICKS)
    first = deployment.worker()
    deployment.write(Topic.CLICKSTREAM, clicks(100, "old"))
    deployment.wait_until_committed(first)
    assert first.end(signal.SIGTERM) == 0
    deployment.make_anew(Topic.CLICKSTREAM)
    second = deployment.worker(folder)
    deployment.write(Topic.CLICKSTREAM, clicks(60, "new"))
    deployment.wait_until_committed(second)
    answers = deployment.ledger().recommendations[100:]
    assert Counter(answer.status for answer in answers) == {"answered": 60}
    assert all(answer.items for answer in answers)
    assert prefix_lengths(deployment) == {f"v{number}": 160 // VISITORS for number in range(VISITORS)}
    assert second.metric("insession_void_offsets_total") == VISITORS
    assert second.log_text().count('"topic_made_anew"') == 1
    assert second.is_ready()


def recreated(deployment: Deployment) -> str:
    """Delete the clickstream and create it again."""
    name = deployment.make_anew(Topic.CLICKSTREAM)
    return f"topic {name} was deleted and made anew"


def grown(deployment: Deployment) -> str:
    """Add partitions to the clickstream."""
    name = deployment.settings.topics.name(Topic.CLICKSTREAM)
    deployment.admin.create_partitions([NewPartitions(name, 4)])[name].result()
    return f"{name} has 4 partitions and should have 2"


def deleted(deployment: Deployment) -> str:
    """Delete an output."""
    return f"{deployment.delete(Topic.INTENT_SIGNALS)} is missing"


@pytest.mark.parametrize("change", [recreated, grown, deleted])
def test_a_topic_that_changes_under_a_worker_ends_it_within_a_minute(
    deploy: Deploy, change: Callable[[Deployment], str]
) -> None:
    """First it is not ready and a gauge names the topic; then it ends, and the last line is what a start would say."""
    deployment = deploy(partitions=2, **NO_TICKS)
    worker = deployment.worker()
    deployment.write(Topic.CLICKSTREAM, clicks(20, "old"))
    deployment.wait_until_committed(worker)
    message = change(deployment)
    worker.wait_until(lambda: worker.metric("insession_topic_changed") == 1, "the gauge told it", 60)
    # A page tells what the last beat of the worker's loop has seen.
    worker.wait_until(lambda: worker.page("/readyz").status == 503, "/readyz was red", 10)
    assert worker.wait(60) == 1
    assert f"insession: the topics are not what the worker expects:\n{message}" in worker.log_text()
    assert "Traceback" not in worker.log_text()


def test_a_worker_beyond_the_partitions_says_that_it_is_a_spare(deploy: Deploy) -> None:
    """It is ready to take over, and counts as the owner of none; the other one counts all."""
    deployment = deploy(partitions=1, **NO_TICKS)
    workers = [deployment.worker(name) for name in ("a", "b")]
    for worker in workers:
        worker.wait_until_ready()
    said = {worker.page("/readyz").text: worker.metric("insession_partitions_assigned") for worker in workers}
    assert said == {"answering": 1, "a spare: every clickstream partition has another worker": 0}
    assert {worker.metric("insession_clickstream_partitions") for worker in workers} == {1}
