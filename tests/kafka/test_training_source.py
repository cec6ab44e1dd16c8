"""`insession train kafka://…` on a real broker, from what a worker wrote there."""

import json
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from agents.cli import insession
from session_model.release.copies import load_release
from streams.cluster.topics import Topic
from tests.kafka.deployment import Deploy
from tests.kafka.test_worker import click

pytestmark = pytest.mark.kafka

VISITORS = 24
REFUSING = 3
CLICKS = 4
SETTINGS = {
    "INSESSION_SESSIONS__INACTIVITY_GAP": "4",
    "INSESSION_SESSIONS__GRACE_PERIOD": "3",
    "INSESSION_SESSIONS__BOT_BURST_EVENTS": "20",
    "INSESSION_KAFKA__TICK_INTERVAL": "0.2",
}


@pytest.mark.slow
def test_what_a_worker_wrote_becomes_a_release(deploy: Deploy, tmp_path: Path) -> None:
    """By times: sessions of visitors who refused are not there, a bot's is not learned from, all others are."""
    deployment = deploy(partitions=2, **SETTINGS)
    began = datetime.now(UTC)
    start_ms = time.time_ns() // 1_000_000
    for number in range(CLICKS):
        deployment.write(
            Topic.CLICKSTREAM,
            [
                click(f"v{visitor}", start_ms + 20 * number, item_id=f"i{(visitor + number) % 5}", consent=consent)
                for visitor in range(VISITORS + REFUSING)
                for consent in [visitor < VISITORS]
            ],
        )
    deployment.write(Topic.CLICKSTREAM, [click("bot", start_ms + number, item_id=f"b{number}") for number in range(60)])
    worker = deployment.worker()
    deployment.wait_until_committed(worker)
    worker.wait_until(lambda: len(deployment.ledger().session_ends()) >= VISITORS + 1, "the sessions ended")
    assert worker.end(signal.SIGTERM) == 0
    ends = deployment.ledger().session_ends()
    assert {end.is_bot for end in ends} == {False, True}

    topic = deployment.settings.topics.name(Topic.SESSION_ENDS)
    url = f"kafka://{deployment.settings.kafka.brokers}/{topic}?from={began:%Y-%m-%dT%H:%M:%SZ}&to=end"
    arguments = ["train", url, "--out", str(tmp_path), "--preset", "small", "--epochs", "1", "--json"]
    result = CliRunner().invoke(insession, arguments)
    assert result.exit_code == 0, result.output
    release = load_release(Path(json.loads(result.stdout)["directory"]))
    source = release.manifest.training_source
    assert source is not None
    read = {partition: part.stop - part.first for partition, part in source.partitions.items()}
    assert read == deployment.reader.end_offsets(topic)
    assert sum(part.records for part in source.partitions.values()) == len(ends)
    newest = max(end.ended_at for end in ends)
    assert source.watermark is not None
    assert began < source.watermark <= newest
    assert set(release.parts.vocabulary.item_ids) == {f"i{number}" for number in range(5)}

    later = f"kafka://{deployment.settings.kafka.brokers}/{topic}?from=2100-01-01"
    nothing = CliRunner().invoke(insession, ["train", later, "--out", str(tmp_path)])
    assert "holds no record there" in str(nothing.exception)
