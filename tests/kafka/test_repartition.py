"""More partitions under a deployment that has state and a backlog."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from typing import Any

import pytest

from agents.upkeep.job_progress import JobProgress
from agents.upkeep.repartition import Repartition
from schemas import wire
from schemas.events import MAX_BLOCKED_UNTIL_MS, Erase
from schemas.ids import VisitorId
from schemas.state import decode_state, is_mark, visitor_of
from streams.cluster.group_state import group_state
from streams.cluster.partitioner import murmur2_partition
from streams.cluster.topics import Topic, app_id, changelog_name
from streams.state.blocked_ids import is_block_key
from tests.builders.clicks import click
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, NewRecord
from tests.kafka.ledger import last_values
from tests.kafka.undisturbed import StateKey
from tests.kafka.worker_process import COMMAND

pytestmark = pytest.mark.kafka

VISITORS = 30
LOGGED_IN = "customer"


def run_repartition(deployment: Deployment, *arguments: str) -> Any:
    """Run `insession repartition` to four partitions; gives what it prints, or the error that it ends with."""
    topics = deployment.settings.topics
    connection = ["--brokers", deployment.settings.kafka.brokers, "--prefix", topics.prefix]
    layout = {"INSESSION_TOPICS__PARTITIONS": str(topics.partitions), "INSESSION_TOPICS__REPLICATION": "1"}
    command = [COMMAND, "repartition", "--partitions", "4", *arguments, *connection, "--settle", "0", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **layout}, check=False)
    return json.loads(result.stdout) if result.returncode == 0 else result.stderr


def clicks(count: int, item: str) -> list[NewRecord]:
    """Make clicks of every visitor in turn."""
    return [click(f"v{number % VISITORS}", item_id=f"{item}{number}") for number in range(count)]


def wait_until_the_group_is_empty(deployment: Deployment) -> None:
    """Wait for the session of a worker that was killed to be over; pytest's timeout bounds this."""
    settings = deployment.settings
    topic = settings.topics.name(Topic.CLICKSTREAM)
    while group_state(deployment.admin, app_id(settings.kafka, settings.topics), topic, 1).members:
        pass


def states(deployment: Deployment) -> dict[bytes, tuple[int, Any]]:
    """Read where each visitor's state is, and what it says; there must be one."""
    found: dict[bytes, tuple[int, Any]] = {}
    for (partition, key), value in stored(deployment).items():
        if not is_mark(key):
            assert key not in found
            found[key] = (partition, decode_state(value))
    return found


def stored(deployment: Deployment) -> dict[StateKey, bytes]:
    """Read the changelog."""
    return last_values(deployment.reader.read(changelog_name(deployment.settings.kafka, deployment.settings.topics)))


def assert_nothing_lost(deployment: Deployment, clicks_written: int, *, killed: bool) -> None:
    """Each click has its answer; each visitor's clicks are one session, in which each counts once."""
    answers = deployment.ledger().recommendations
    statuses: dict[str, list[str]] = {}
    for answer in answers:
        statuses.setdefault(answer.id, []).append(answer.status)
    assert len(statuses) == clicks_written
    assert all(said[0] == "answered" for said in statuses.values())
    if not killed:
        assert len(answers) == clicks_written
    sessions: dict[str, set[Any]] = {}
    for answer in answers:
        if answer.status == "answered":
            sessions.setdefault(answer.visitor_id, set()).add(answer.session_id)
    assert all(len(found) == 1 for found in sessions.values())
    counted = Counter({key.decode(): state.session.event_count for key, (_, state) in states(deployment).items()})
    assert sum(counted.values()) == clicks_written


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_two_partitions_become_four_with_a_backlog(deploy: Deploy, end: signal.Signals) -> None:
    """What was not read is answered, each state lies where its key is, and the sessions go on there."""
    deployment = deploy(partitions=2, **NO_TICKS)
    first = deployment.worker()
    deployment.write(Topic.CLICKSTREAM, clicks(300, "old"))
    first.wait_until(lambda: first.metric("insession_events_total") >= 300, "it answered")
    assert "1 workers: stop them all" in str(run_repartition(deployment))
    first.end(end)
    deployment.write(Topic.CLICKSTREAM, clicks(240, "unread"))
    wait_until_the_group_is_empty(deployment)
    done = run_repartition(deployment)
    assert (done["before"], done["now"], done["states"]) == (2, 4, VISITORS)
    assert done["answered"] >= 240
    placed = states(deployment)
    assert {key: partition for key, (partition, _) in placed.items()} == {
        key: murmur2_partition(key, 4) for key in placed
    }
    assert done["moved"] == sum(murmur2_partition(key, 2) != murmur2_partition(key, 4) for key in placed) > 5
    refused = deployment.worker("b")
    assert refused.wait() == 1
    assert "set topics.partitions to 4" in refused.log_text()
    deployment.write(Topic.CLICKSTREAM, clicks(120, "new"))
    second = deployment.worker("a", partitions="4")
    deployment.wait_until_committed(second)
    assert second.metric("insession_clickstream_partitions") == 4
    assert second.end(signal.SIGTERM) == 0
    assert_nothing_lost(deployment, 660, killed=end == signal.SIGKILL)
    assert run_repartition(deployment)["moved"] == 0


class KilledError(Exception):
    """The run would have been killed here."""


def test_a_run_that_ends_in_the_middle_is_run_again(deploy: Deploy) -> None:
    """Between, no worker starts; clicks that come meanwhile to an old partition find the state that has moved."""
    deployment = deploy(partitions=2, **NO_TICKS)
    first = deployment.worker()
    deployment.write(Topic.CLICKSTREAM, clicks(120, "old"))
    deployment.wait_until_committed(first)
    assert first.end(signal.SIGTERM) == 0

    class Dying(Repartition):
        def _remove(self, sender: Any, left: Any) -> None:  # noqa: ARG002 - as it is called
            sender.flush()
            raise KilledError

    with pytest.raises(KilledError):
        Dying(deployment.settings, 4, settle_seconds=0, progress=JobProgress(lambda *_: None, lambda _: None)).run()
    for partitions in ("2", "4"):
        worker = deployment.worker(f"b{partitions}", partitions=partitions)
        assert worker.wait() == 1
        assert "insession repartition --partitions 4" in worker.log_text()
    late = [one._replace(partition=murmur2_partition(one.key or b"", 2)) for one in clicks(60, "late")]
    deployment.write(Topic.CLICKSTREAM, late)
    assert run_repartition(deployment)["answered"] == 60
    second = deployment.worker(partitions="4")
    deployment.write(Topic.CLICKSTREAM, clicks(60, "new"))
    deployment.wait_until_committed(second)
    assert second.end(signal.SIGTERM) == 0
    assert_nothing_lost(deployment, 240, killed=False)


def test_what_moved_nothing_is_known_where_the_state_goes(deploy: Deploy) -> None:
    """Marks are put into the states that move, and none is left behind; duplicates stay duplicates, unread ones too."""
    deployment = deploy(partitions=2, **NO_TICKS)
    first = deployment.worker()
    once = [click(f"v{number}", event_id=f"e{number}") for number in range(VISITORS)]
    deployment.write(Topic.CLICKSTREAM, [*once, *once])
    deployment.wait_until_committed(first)
    assert first.end(signal.SIGTERM) == 0
    assert sum(is_mark(key) for _, key in stored(deployment)) == VISITORS
    deployment.write(Topic.CLICKSTREAM, [one._replace(partition=murmur2_partition(one.key or b"", 2)) for one in once])
    assert run_repartition(deployment)["answered"] == VISITORS
    assert all(partition == murmur2_partition(visitor_of(key), 4) for partition, key in stored(deployment))
    second = deployment.worker(partitions="4")
    deployment.write(Topic.CLICKSTREAM, once)
    deployment.wait_until_committed(second)
    assert second.end(signal.SIGTERM) == 0
    statuses = Counter(answer.status for answer in deployment.ledger().recommendations)
    assert statuses == {"answered": VISITORS, "duplicate": 3 * VISITORS}
    assert all(state.session.event_count == 1 for _, state in states(deployment).values())


def test_a_login_before_and_after_joins_one_session(deploy: Deploy) -> None:
    """What one id hands over to the other finds it on its new partition."""
    deployment = deploy(partitions=2, **NO_TICKS)
    first = deployment.worker()
    deployment.write(Topic.CLICKSTREAM, [click("cookie", item_id=f"a{number}") for number in range(3)])
    deployment.wait_until_committed(first)
    assert first.end(signal.SIGTERM) == 0
    deployment.write(Topic.CLICKSTREAM, [click(LOGGED_IN, anonymous_id="cookie")])
    run_repartition(deployment)
    second = deployment.worker(partitions="4")
    deployment.write(Topic.CLICKSTREAM, [click("cookie", time.time_ns() // 1_000_000 - 60_000), click(LOGGED_IN)])
    deployment.wait_until_committed(second)
    deployment.wait_until_committed(second)
    assert second.end(signal.SIGTERM) == 0
    signals = [wire.decode_intent_signal(one.value or b"") for one in deployment.ledger().records(Topic.INTENT_SIGNALS)]
    assert max(one.prefix_length for one in signals if one.visitor_id == LOGGED_IN) >= 5


def test_blocks_of_erased_ids_lie_in_every_partition(deploy: Deploy) -> None:
    """Those that owners have written, and one whose erasure nobody had read: the id may hash to a new partition."""
    deployment = deploy(partitions=2, **NO_TICKS)
    first = deployment.worker()
    deployment.write(Topic.CLICKSTREAM, clicks(120, "old"))
    deployment.wait_until_committed(first)
    erase(deployment, "v1")
    deployment.wait_until_committed(first)
    assert first.end(signal.SIGTERM) == 0
    erase(deployment, "v2")
    run_repartition(deployment)
    blocks = {place for place in stored(deployment) if is_block_key(place[1])}
    assert len({key for _, key in blocks}) == 2
    assert Counter(partition for partition, _ in blocks) == dict.fromkeys(range(4), 2)
    second = deployment.worker(partitions="4")
    deployment.write(Topic.CLICKSTREAM, clicks(60, "new"))
    deployment.wait_until_committed(second)
    assert second.end(signal.SIGTERM) == 0
    answers = Counter((one.visitor_id, one.status) for one in deployment.ledger().recommendations)
    assert [answers[visitor_id, "no_consent"] for visitor_id in ("v1", "v2", "v3")] == [2, 2, 0]
    assert not {b"v1", b"v2"} & {key for _, key in stored(deployment)}


def erase(deployment: Deployment, visitor_id: str) -> None:
    """Ask every owner to erase a visitor, and to keep out what comes later."""
    erasure = Erase(visitor_id=VisitorId(visitor_id), reach="self", blocked_until_ms=MAX_BLOCKED_UNTIL_MS)
    records = [NewRecord(None, wire.encode(erasure), partition=partition) for partition in range(2)]
    deployment.write(Topic.SESSION_CONTROL, records)
