"""`insession doctor` on a real broker: what is sound is told to be, and each of five breaks has its remedy."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, Producer, TopicPartition

from agents.cli import insession
from agents.doctor.clock import TOLERANCE_MS, BrokersClock, ask_brokers
from agents.doctor.cluster import Brokers, group_findings
from agents.doctor.findings import Level
from agents.settings import load_settings
from schemas.state import InputPosition
from streams.cluster.topics import Topic, TopicSpec, topic_specs
from tests.agents.doctor.test_model import write_release

pytestmark = pytest.mark.kafka

TIME_MS = 1_700_000_000_000


def fill(topics: Any, partitioner: str, keyed_by: str) -> None:
    """Write forty views of forty visitors to the clickstream."""
    producer = Producer({"bootstrap.servers": topics.brokers, "partitioner": partitioner, "log_level": 2})
    for number in range(40):
        event = {"visitor_id": f"v{number}", "event_type": "view", "event_time": TIME_MS, "item_id": "i"}
        key = event.get(keyed_by, keyed_by)
        producer.produce(topics.settings.name(Topic.CLICKSTREAM), key=str(key), value=json.dumps(event))
    assert producer.flush(30) == 0


def doctor(topics: Any, folder: Path, *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Run the doctor with a settings file; give its exit code and the findings by their check."""
    config = folder / "insession.toml"
    config.write_text(
        f"[topics]\npartitions = {topics.settings.partitions}\nreplication = 1\nmin_insync_replicas = 1\n"
        f'[kafka]\ndatadir = "{folder / "data"}"\n[serving]\naddress = "127.0.0.1:1"\n'
        f'models_directory = "{folder / "models"}"\nstatus_timeout = "500ms"\n'
    )
    connection = ["--brokers", topics.brokers, "--prefix", topics.settings.prefix, "--config", str(config)]
    result = CliRunner().invoke(insession, ["doctor", *connection, "--json", *arguments])
    assert result.exit_code in (0, 1), result.output
    return result.exit_code, {one["check"]: one for one in json.loads(result.stdout)["findings"]}


def test_a_sound_cluster_is_told_to_be_sound(kafka_topics: Callable[..., Any], tmp_path: Path) -> None:
    """Brokers, topics, partitioner, keys and records are well; what is not there yet is said to be unchecked."""
    topics = kafka_topics()
    topics.create()
    fill(topics, "murmur2_random", "visitor_id")
    _, found = doctor(topics, tmp_path)
    for check in (
        "settings",
        "data folder",
        "brokers",
        "topics",
        "partitioner",
        "record keys",
        "records",
        "visitors",
        "clock",
    ):
        assert found[check]["level"] == Level.OK, found[check]
    assert found["changelog"]["level"] == Level.UNCHECKED
    assert (found["replication"]["level"], found["workers"]["level"]) == (Level.WARNING, Level.WARNING)
    assert found["lag"]["message"].startswith("40 records")


def test_five_breaks_are_each_named_with_their_remedy(kafka_topics: Callable[..., Any], tmp_path: Path) -> None:
    """A topic is missing, producers partition by CRC32, keys are no visitors, the server is away, a file is damaged."""
    topics = kafka_topics()
    missing = topics.settings.name(Topic.SESSION_ENDS)
    topics.create([spec for spec in topic_specs(topics.settings) if spec.name != missing])
    fill(topics, "consistent_random", "visitor_id")
    fill(topics, "murmur2_random", "somebody")
    (write_release(tmp_path / "models", 1) / "saved_model.pb").write_bytes(b"damaged")
    code, found = doctor(topics, tmp_path)
    assert code == 1
    breaks = {
        "topics": (f"{missing} is missing", "insession topics create"),
        "partitioner": ("do not lie on the partition of their key", "murmur2_random"),
        "record keys": ("40 of 80 records (50%) are not keyed by their visitor_id", "insession rekey"),
        "model server": ("127.0.0.1:1", "serving.address"),
        "release": ("saved_model.pb differs from the manifest", "copy version 1 again"),
    }
    for check, (message, remedy) in breaks.items():
        assert found[check]["level"] == Level.ERROR, found[check]
        assert message in found[check]["message"]
        assert remedy in found[check]["remedy"]
    assert {one["check"] for one in found.values() if one["level"] == Level.ERROR} == set(breaks)


def test_without_a_clickstream_the_rest_is_still_examined(kafka_topics: Callable[..., Any], tmp_path: Path) -> None:
    """One part that cannot be examined is an error of its own."""
    topics = kafka_topics()
    _, found = doctor(topics, tmp_path)
    assert found["clickstream"]["level"] == Level.ERROR
    assert found["model server"]["level"] == Level.ERROR


def test_a_lag_that_does_not_move_is_told(kafka_topics: Callable[..., Any]) -> None:
    """A member that acknowledges nothing while it is watched is named by its partitions; one that does is not."""
    topics = kafka_topics(partitions=1)
    name = topics.settings.name(Topic.CLICKSTREAM)
    topics.create([TopicSpec(name, 1, 1, {"cleanup.policy": "delete"})])
    fill(topics, "murmur2_random", "visitor_id")
    layout = {"prefix": topics.settings.prefix, "replication": 1, "min_insync_replicas": 1}
    settings = load_settings({"kafka": {"brokers": topics.brokers}, "topics": layout}, environment={})
    brokers = Brokers(settings.kafka.client_config())
    group = topics.settings.prefix + settings.kafka.group
    member = Consumer({"bootstrap.servers": topics.brokers, "group.id": group, "enable.auto.commit": False})
    try:
        member.subscribe([name])
        while not member.assignment():
            member.poll(0.2)
        commits = [InputPosition(name, 0, 10), None]

        def meanwhile(_: float) -> None:
            if (commit := commits.pop(0)) is not None:
                member.commit(offsets=[TopicPartition(name, commit.partition, commit.offset)], asynchronous=False)

        workers, moving = group_findings(brokers, settings, name, {0: range(40)}, meanwhile)
        _, stuck = group_findings(brokers, settings, name, {0: range(40)}, meanwhile)
    finally:
        member.close()
    assert (workers.level, moving.level, stuck.level) == (Level.OK, Level.OK, Level.ERROR)
    assert stuck.message == f"30 records of {name} are not answered yet; partitions [0] stood still for 3 s"


def test_a_clock_that_is_a_second_ahead_of_the_brokers_is_told(kafka_topics: Callable[..., Any]) -> None:
    """By the time that the broker gives to a record without effect, with no click on the topic at all."""
    topics = kafka_topics()
    topics.create()
    control = topics.settings.name(Topic.SESSION_CONTROL)
    config = {"bootstrap.servers": topics.brokers, "log_level": 2}
    asked = ask_brokers(config, control)
    assert isinstance(asked, BrokersClock)
    assert abs(asked.ahead_ms) <= TOLERANCE_MS + asked.within_ms
    ahead = ask_brokers(config, control, lambda: time.time() + 1)
    assert isinstance(ahead, BrokersClock)
    assert ahead.ahead_ms == pytest.approx(1_000, abs=TOLERANCE_MS + ahead.within_ms)
    assert "keeps its writers' timestamps" in str(ask_brokers(config, topics.settings.name(Topic.CLICKSTREAM)))
