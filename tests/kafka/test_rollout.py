"""A worker, a model server and a guard as processes, on a real broker: a release is promoted, tried out, taken back."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from agents.commands.release import command
from schemas import wire
from schemas.ids import ItemId
from schemas.rollout import read_rollout
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from streams.cluster.topics import Topic
from tests.compose.release import write_untrained
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, NewRecord, Say
from tests.kafka.worker_process import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]

ITEMS = [ItemId(f"i{number}") for number in range(1, 21)]
OTHER_ITEMS = [ItemId(f"other{number}") for number in range(1, 21)]
WITHIN_SECONDS = 60
"""The promise of the guard, with the clicks that it needs."""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Have two releases of the shop's items, and a third that was trained on those of another shop."""
    models = tmp_path / "models"
    for version, items in ((1, ITEMS), (2, ITEMS), (3, OTHER_ITEMS)):
        write_untrained(models, items, version)
    return models


@pytest.fixture
def server(models: Path, tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Serve what the rollout says; the first release is promoted before."""
    roll_out(models, "promote", "1")
    with EmbeddedServer(ServerOptions(models=models, port=0), log_path=tmp_path / "server.log") as server:
        yield server


def roll_out(models: Path, *arguments: str) -> None:
    """Run the command on releases that nobody checked."""
    unchecked = ["--unchecked"] if arguments[0] in {"promote", "canary"} else []
    result = CliRunner().invoke(command, [*arguments, *unchecked, "--models", str(models)])
    assert result.exit_code == 0, result.output


def start(deploy: Deploy, models: Path, server: EmbeddedServer) -> tuple[Deployment, WorkerProcess]:
    """Start a worker on the first release."""
    deployment = deploy(partitions=1, INSESSION_CLICKSTREAM__FRESHNESS_BUDGET="30s", **NO_TICKS)
    worker = deployment.worker(
        INSESSION_SERVING__ADDRESS=server.address,
        INSESSION_SERVING__MODELS_DIRECTORY=str(models),
        INSESSION_SERVING__RELEASE_POLL="0.2s",
    )
    worker.wait_until_ready()
    worker.wait_until(lambda: worker.metric("insession_release_version") == 1, "the champion was taken up")
    return deployment, worker


def click(deployment: Deployment, worker: WorkerProcess, visitors: Sequence[str]) -> None:
    """Let each visitor view an item, and wait for the answers."""
    moment = time.time_ns() // 1_000_000
    event = {"event_type": "view", "event_time": moment, "item_id": "i1"}
    records = [NewRecord(name.encode(), json.dumps({"visitor_id": name, **event}).encode()) for name in visitors]
    deployment.write(Topic.CLICKSTREAM, records)
    deployment.wait_until_committed(worker)


def test_a_release_is_promoted_and_taken_back_under_a_running_worker(
    deploy: Deploy, models: Path, server: EmbeddedServer
) -> None:
    """A shadow is on the side topic alone, a promotion reaches the next clicks, a rollback those after it."""
    deployment, worker = start(deploy, models, server)
    click(deployment, worker, ["v1"])
    roll_out(models, "shadow", "2")
    worker.wait_until(lambda: worker.metric("insession_candidate_version") == 2, "the shadow was taken up")
    click(deployment, worker, ["v2"])
    worker.wait_until(lambda: worker.metric("insession_shadow_compared_items_total") > 0, "the shadow was asked")
    roll_out(models, "promote", "2")
    worker.wait_until(lambda: worker.metric("insession_release_version") == 2, "the new champion was taken up")
    click(deployment, worker, ["v3"])
    roll_out(models, "rollback")
    worker.wait_until(lambda: worker.metric("insession_release_version") == 1, "the champion before was taken up")
    click(deployment, worker, ["v4"])
    assert worker.end(signal.SIGTERM) == 0
    ledger = deployment.ledger()
    assert [(answer.tier, answer.model_version) for answer in ledger.recommendations] == [
        ("model", 1),
        ("model", 1),
        ("model", 2),
        ("model", 1),
    ]
    (shadowed,) = ledger.records(Topic.SHADOW)
    answer = wire.decode_recommendation_set(shadowed.value or b"")
    assert (answer.id, answer.visitor_id, answer.model_version) == (ledger.recommendations[1].id, "v2", 2)


def test_the_guard_ends_a_canary_that_knows_no_item_of_the_shop(
    deploy: Deploy, models: Path, server: EmbeddedServer, say: Say
) -> None:
    """Within a minute, clicks included, with the reason; its visitors are the champion's again."""
    deployment, worker = start(deploy, models, server)
    topics = deployment.settings.topics
    options = [f"--brokers={deployment.settings.kafka.brokers}", f"--prefix={topics.prefix}", f"--models={models}"]
    code = "from agents.cli import main\nmain()"
    guard = subprocess.Popen(
        [sys.executable, "-c", code, "release", "guard", *options, "--every=1s"], stderr=subprocess.PIPE, text=True
    )
    try:
        roll_out(models, "canary", "3", "--share", "50%")
        began = time.monotonic()
        worker.wait_until(lambda: worker.metric("insession_candidate_version") == 3, "the canary was taken up")
        rounds = 0
        while True:
            record = read_rollout(models / "session_gru")
            assert record is not None
            if record.candidate is None:
                break
            rounds += 1
            click(deployment, worker, [f"r{rounds}v{number}" for number in range(20)])
        seconds = time.monotonic() - began
    finally:
        guard.send_signal(signal.SIGTERM)
        _, told = guard.communicate(timeout=30)
    say(f"the guard withdrew a canary after {seconds:.0f} s and {20 * rounds} clicks")
    assert seconds < WITHIN_SECONDS
    assert (record.change, record.rejected) == ("withdraw", (3,))
    assert "by a lower tier" in record.reason
    assert guard.returncode == 0
    assert "rollout_stepped_back" in told
    worker.wait_until(lambda: worker.metric("insession_candidate_version") == 0, "the canary was put down")
    click(deployment, worker, [f"after{number}" for number in range(20)])
    assert worker.end(signal.SIGTERM) == 0
    answers = deployment.ledger().recommendations
    assert Counter(answer.model_version for answer in answers[-20:]) == {1: 20}
    during = Counter(answer.tier for answer in answers[:-20])
    assert during["model"] > 20
    assert sum(during.values()) - during["model"] > 20
