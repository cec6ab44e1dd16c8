from collections.abc import Mapping, Sequence

import pytest

from schemas import wire
from schemas.records import DEFAULT_KEY
from streams.topics import Topic
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment
from tests.kafka.test_worker import click

pytestmark = pytest.mark.kafka

OFTEN = {"INSESSION_SERVING__DEFAULT_LIST_INTERVAL_SECONDS": "0.2"}
VISITORS = [f"v{number}" for number in range(20)]


def lists(deployment: Deployment) -> Mapping[str, Sequence[str] | None]:
    """Give the items of each key's latest record; None = a tombstone."""
    latest: dict[str, Sequence[str] | None] = {}
    for record in deployment.reader.read(deployment.settings.topics.name(Topic.DEFAULT_RECOMMENDATIONS)):
        items = None if record.value is None else wire.decode_default_recommendations(record.value).items
        latest[(record.key or b"").decode()] = items and [item.item_id for item in items]
    return latest


def test_one_of_two_workers_writes_the_lists(deploy: Deploy) -> None:
    """A list for everywhere and one for a location that differs, until it no longer does: all by the same worker."""
    deployment = deploy(partitions=2, **NO_TICKS, **OFTEN)
    workers = [deployment.worker(name) for name in ("a", "b")]
    for worker in workers:
        worker.wait_until_ready()
    # Everybody does the same, so that both workers know the same of their partitions.
    tied_in_the_north = [{"item_id": "i1", "location": "north"}, {"item_id": "i2", "location": "north"}]
    for fields in (*tied_in_the_north, {"item_id": "i2", "location": "south"}):
        deployment.write(Topic.CLICKSTREAM, [click(visitor, **fields) for visitor in VISITORS])
    expected = {DEFAULT_KEY: ["i2", "i1"], "north": ["i1", "i2"], "south": ["i2"]}
    workers[0].wait_until(lambda: lists(deployment) == expected, "it wrote the lists")
    deployment.write(Topic.CLICKSTREAM, [click(visitor, item_id="i2", location="north") for visitor in VISITORS])
    workers[0].wait_until(lambda: lists(deployment)["north"] is None, "it removed the north's")
    assert lists(deployment) == {**expected, "north": None}
    written = [worker.metric("insession_default_lists_total") for worker in workers]
    assert min(written) == 0 < max(written)
