import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.partitioner import DefaultPartitioner
from click.testing import CliRunner
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import NewPartitions

from agents.commands.topics import command
from streams.cluster.producers import producer_config
from streams.cluster.topic_check import ProblemKind, check
from streams.cluster.topics import Topic, TopicsError, TopicSpec, topic_specs
from tests.kafka.topic_log import TopicReader

pytestmark = pytest.mark.kafka

Make = Callable[..., Any]


def test_create_makes_what_is_missing_and_only_that(kafka_topics: Make) -> None:
    """A second `create` names nothing, and `check` then finds nothing to say."""
    topics = kafka_topics()
    assert set(topics.create()) == {topics.settings.name(topic) for topic in Topic}
    assert topics.create() == []
    assert check(topics.admin, topic_specs(topics.settings)) == []


def test_what_is_written_at_once_into_new_topics_is_all_there(kafka_topics: Make) -> None:
    """A leader that does not lead yet would acknowledge some of an idempotent producer's records and lose them."""
    deliveries: list[KafkaError | None] = []
    ends = []
    for _ in range(8):
        topics = kafka_topics(partitions=8)
        topics.create()
        producer = Producer(producer_config({"bootstrap.servers": topics.brokers}, client_id="shop", linger_ms=0))
        clicks = topics.settings.name(Topic.CLICKSTREAM)
        for number in range(100):
            producer.produce(
                clicks, key=str(number), value=b"{}", on_delivery=lambda error, _: deliveries.append(error)
            )
            producer.poll(0)
        assert producer.flush(30) == 0
        reader = TopicReader(topics.brokers, "nobody")
        ends.append(sum(reader.end_offsets(clicks).values()))
        reader.close()
    assert deliveries == [None] * 800
    assert ends == [100] * 8


def test_check_names_every_missing_topic(kafka_topics: Make) -> None:
    """On a cluster without topics each of them is a problem."""
    topics = kafka_topics()
    problems = check(topics.admin, topic_specs(topics.settings))
    assert [problem.kind for problem in problems] == [ProblemKind.MISSING] * len(Topic)


def test_check_sees_partitions_added_behind_our_back(kafka_topics: Make) -> None:
    """A co-partitioned topic that grew is a problem; the catalog may have any count."""
    topics = kafka_topics(partitions=2)
    topics.create()
    grown = [topics.settings.name(topic) for topic in (Topic.CLICKSTREAM, Topic.CATALOG)]
    for future in topics.admin.create_partitions([NewPartitions(name, 3) for name in grown]).values():
        future.result()
    while len(topics.admin.list_topics(grown[0], timeout=10).topics[grown[0]].partitions) < 3:
        pass  # the broker shows added partitions a moment after the controller has them; pytest's timeout bounds this
    (problem,) = check(topics.admin, topic_specs(topics.settings))
    assert (problem.topic, problem.kind) == (grown[0], ProblemKind.PARTITIONS)


def test_check_sees_another_cleanup_policy_and_too_few_replicas(kafka_topics: Make) -> None:
    """A topic that somebody else created with defaults is told apart from ours."""
    topics = kafka_topics()
    name = topics.settings.name(Topic.CATALOG)
    topics.create([TopicSpec(name, 4, 1, {"cleanup.policy": "delete"})])
    catalog = next(spec for spec in topic_specs(topics.settings) if spec.name == name)
    wanted = replace(catalog, replication=3, is_the_shops=False)
    problems = check(topics.admin, [wanted])
    assert [problem.kind for problem in problems] == [ProblemKind.REPLICATION, ProblemKind.CONFIG]
    assert "cleanup.policy=delete and should have compact" in problems[1].message
    assert all(problem.is_warning for problem in check(topics.admin, [replace(wanted, is_the_shops=True)]))


def test_check_sees_a_topic_that_takes_less_than_a_worker_writes(kafka_topics: Make) -> None:
    """Both sizes and the command are named before a record is refused, which would end the worker again and again."""
    topics = kafka_topics()
    name = topics.settings.name(Topic.RECOMMENDATIONS)
    spec = next(spec for spec in topic_specs(topics.settings) if spec.name == name)
    topics.create([replace(spec, configs={**spec.configs, "max.message.bytes": "4000"})])
    (problem,) = check(topics.admin, [spec])
    assert problem.kind is ProblemKind.CONFIG
    assert f"{name} takes records of at most 4,000 bytes" in problem.message


def test_a_refused_topic_is_named(kafka_topics: Make) -> None:
    """More replicas than brokers: the error carries the topic's name."""
    topics = kafka_topics()
    with pytest.raises(TopicsError, match=r"Could not create topic too-replicated"):
        topics.create([TopicSpec("too-replicated", 1, 9, {"cleanup.policy": "delete"})])


def test_the_command_creates_then_checks(kafka_topics: Make) -> None:
    """`topics create` reports what it made, and `topics check` says by its exit code whether all is well."""
    topics = kafka_topics()
    options = [f"--brokers={topics.brokers}", f"--prefix={topics.settings.prefix}", "--replication=1", "--json"]
    layout = [*options, "--partitions=2"]
    before = CliRunner().invoke(command, ["check", *layout])
    assert before.exit_code == 1
    assert len(json.loads(before.output)["problems"]) == len(Topic)
    created = json.loads(CliRunner().invoke(command, ["create", *layout]).output)
    topics.made.extend(created["created"])
    assert len(created["created"]) == len(Topic)
    after = CliRunner().invoke(command, ["check", *layout])
    assert (after.exit_code, json.loads(after.output)) == (0, {"problems": [], "warnings": []})
    assert CliRunner().invoke(command, ["check", *options, "--partitions=3"]).exit_code == 1


def test_keys_land_on_the_partition_that_faust_expects(kafka_topics: Make) -> None:
    """Our producers and aiokafka's murmur2 agree on the partition of every key."""
    topics = kafka_topics(partitions=7)
    (name,) = topics.create([TopicSpec(topics.settings.name(Topic.CLICKSTREAM), 7, 1, {"cleanup.policy": "delete"})])
    landed: dict[bytes, int] = {}
    producer = Producer(producer_config({"bootstrap.servers": topics.brokers}, client_id="test"))
    for number in range(200):
        producer.produce(
            name,
            key=f"visitor-{number}-ü".encode(),
            on_delivery=lambda _, message: landed.update({message.key(): message.partition()}),
        )
    assert producer.flush(20) == 0
    partitions = list(range(7))
    assert landed == {key: DefaultPartitioner()(key, partitions, partitions) for key in landed}
    assert len(landed) == 200
