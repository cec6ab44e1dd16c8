import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas import wire
from streams.cluster.topics import Topic
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, NewRecord

pytestmark = pytest.mark.kafka

VISITORS = 1500
SMALL = {"INSESSION_KAFKA__ROCKSDB_CACHE_BYTES": "131072"}


def clicks(first: str = "v") -> Iterator[NewRecord]:
    """Make a view for each visitor."""
    for number in range(VISITORS):
        visitor = f"{first}{number}"
        event = {"visitor_id": visitor, "event_type": "view", "event_time": time.time_ns() // 1_000_000}
        yield NewRecord(visitor.encode(), json.dumps({**event, "item_id": os.urandom(60).hex()}).encode())


def lengths(deployment: Deployment) -> list[int]:
    """Return the lengths of the sessions, as the latest signal of each visitor tells."""
    latest = {}
    for record in deployment.ledger().records(Topic.INTENT_SIGNALS):
        told = wire.decode_intent_signal(record.value or b"")
        latest[told.visitor_id] = told.prefix_length
    return list(latest.values())


def partitions_of(folder: Path) -> list[Path]:
    """List the local partitions."""
    return sorted(folder.rglob("visitors-*.db"))


def flip(file: Path) -> None:
    """Turn bytes in the middle over."""
    content = bytearray(file.read_bytes())
    for place in range(len(content) // 3, len(content) // 3 + 2000):
        content[place] ^= 0xFF
    file.write_bytes(content)


def test_a_worker_goes_on_from_the_changelog_where_its_copy_cannot_be_opened(deploy: Deploy) -> None:
    """Every partition of the folder is broken; the sessions go on where they stood, and the worker says what it did."""
    deployment = deploy(partitions=2, **NO_TICKS, **SMALL)
    deployment.write(Topic.CLICKSTREAM, clicks())
    first = deployment.worker()
    deployment.wait_until_committed(first)
    assert first.end(signal.SIGTERM) == 0
    for partition in partitions_of(first.datadir):
        (partition / "CURRENT").write_bytes(b"")
    second = deployment.worker()
    second.wait_until_ready()
    assert second.metric("insession_partitions_healed_total") == 2
    assert second.log_text().count("partition_damaged") == 2
    deployment.write(Topic.CLICKSTREAM, clicks())
    deployment.wait_until_committed(second)
    assert lengths(deployment) == [2] * VISITORS
    assert second.end(signal.SIGTERM) == 0


def test_a_worker_goes_on_after_a_restart_where_a_block_cannot_be_read(deploy: Deploy) -> None:
    """It ends with what to do before it writes anything, and whoever runs it starts it again."""
    deployment = deploy(partitions=1, **NO_TICKS, **SMALL)
    deployment.write(Topic.CLICKSTREAM, clicks())
    first = deployment.worker()
    deployment.wait_until_committed(first)
    assert first.end(signal.SIGTERM) == 0
    (partition,) = partitions_of(first.datadir)
    flip(max(partition.glob("*.sst"), key=lambda file: file.stat().st_size))
    second = deployment.worker()
    assert second.wait() == 1
    assert f"insession: {partition} is damaged" in second.log_text()
    third = deployment.worker()
    third.wait_until_ready()
    assert third.metric("insession_partitions_healed_total") == 1
    deployment.write(Topic.CLICKSTREAM, clicks())
    deployment.wait_until_committed(third)
    assert lengths(deployment) == [2] * VISITORS
    assert third.end(signal.SIGTERM) == 0
