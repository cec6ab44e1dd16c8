"""A worker process whose release is overwritten in the models folder while it answers from it."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from schemas.ids import ItemId
from streams.cluster.topics import Topic
from tests.compose.release import write_untrained
from tests.kafka.deployment import NO_TICKS, Deploy, NewRecord

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_a_worker_goes_on_when_the_files_of_its_release_are_truncated(deploy: Deploy, tmp_path: Path) -> None:
    """It answers from its own copy as before: no SIGBUS and no lower tier."""
    models = tmp_path / "models"
    write_untrained(models, [ItemId(f"i{number}") for number in range(1, 21)])
    settings = {
        "INSESSION_CLICKSTREAM__FRESHNESS_BUDGET": "30s",
        "INSESSION_SERVING__ADDRESS": "127.0.0.1:1",
        "INSESSION_SERVING__MODELS_DIRECTORY": str(models),
    }
    deployment = deploy(partitions=1, **NO_TICKS)
    worker = deployment.worker(**settings)
    worker.wait_until_ready()
    worker.wait_until(lambda: worker.metric("insession_release_version") == 1, "the release was taken up")

    def click() -> None:
        event = {"visitor_id": "v", "event_type": "view", "event_time": time.time_ns() // 1_000_000, "item_id": "i1"}
        deployment.write(Topic.CLICKSTREAM, [NewRecord(b"v", json.dumps(event).encode())])
        deployment.wait_until_committed(worker)

    click()
    for path in (models / "session_gru/1/assets.extra").rglob("*.np[yz]"):
        os.truncate(path, 0)
    click()
    assert worker.end(signal.SIGTERM) == 0
    assert [answer.tier for answer in deployment.ledger().recommendations] == ["knn", "knn"]
