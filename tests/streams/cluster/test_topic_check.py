import pytest

from streams.cluster.topic_check import ProblemKind, TopicState, compare
from streams.cluster.topics import Topic, TopicSettings, TopicSpec, topic_specs

SPEC = TopicSpec("shop-answers", 8, 3, {"cleanup.policy": "compact,delete", "min.insync.replicas": "2"})
STATE = TopicState(8, 3, {"cleanup.policy": "compact,delete", "min.insync.replicas": "2", "retention.ms": "5"})
CLICKS, CATALOG = (
    next(spec for spec in topic_specs(TopicSettings(clickstream="clicks", catalog="items")) if spec.name == name)
    for name in ("clicks", "items")
)


def shops(*, replication: int = 3, partitions: int = 8, **configs: str) -> TopicState:
    """Make a topic as brokers describe it: every config has a value."""
    given = {name.replace("_", "."): value for name, value in configs.items()}
    defaults = {
        "cleanup.policy": "delete",
        "min.insync.replicas": "2",
        "retention.ms": "604800000",
        "retention.bytes": "-1",
    }
    return TopicState(partitions, replication, {**defaults, **given})


def test_a_topic_as_it_should_be_has_no_problem() -> None:
    """Settings that the spec does not name, and the order of policies, make no difference."""
    assert STATE.configs is not None
    reordered = {**STATE.configs, "cleanup.policy": "delete,compact"}
    assert not list(compare(SPEC, STATE))
    assert not list(compare(SPEC, TopicState(8, 4, reordered)))


def test_more_safety_than_asked_for_is_no_problem() -> None:
    """Replicas, and those of them in sync, are asked for as the least, of any topic."""
    for spec in (SPEC, CLICKS):
        state = TopicState(8, 5, {**spec.configs, "min.insync.replicas": "3"})
        assert not list(compare(spec, state))


@pytest.mark.parametrize(
    ("found", "kind", "is_and_should_be"),
    [
        (None, ProblemKind.MISSING, ["missing", "topics create"]),
        (TopicState(9, 3, STATE.configs), ProblemKind.PARTITIONS, ["9 partitions", "should have 8"]),
        (TopicState(8, 1, {**SPEC.configs}), ProblemKind.REPLICATION, ["1 replicas", "should have 3"]),
        (
            TopicState(8, 3, {**SPEC.configs, "cleanup.policy": "delete"}),
            ProblemKind.CONFIG,
            ["cleanup.policy=delete", "should have compact,delete"],
        ),
        (
            TopicState(8, 3, {"cleanup.policy": "compact,delete"}),
            ProblemKind.CONFIG,
            ["min.insync.replicas=unset", "should have 2"],
        ),
        (
            TopicState(8, 3, {**SPEC.configs, "min.insync.replicas": "4"}),
            ProblemKind.CONFIG,
            ["min.insync.replicas=4", "should have 2"],
        ),
        (
            TopicState(8, 3, {**SPEC.configs, "max.message.bytes": "4000"}),
            ProblemKind.CONFIG,
            ["at most 4,000 bytes", "should take 1,000,012", "message.max.bytes of the brokers", "kafka-configs"],
        ),
        (TopicState(8, 3, None), ProblemKind.CONFIG, ["hides its settings", "DescribeConfigs"]),
    ],
)
def test_a_problem_says_what_is_and_what_should_be(
    found: TopicState | None, kind: ProblemKind, is_and_should_be: list[str]
) -> None:
    """Each difference of a topic of ours is one problem that names the topic and stops the worker."""
    problem = next(compare(SPEC, found))
    assert (problem.topic, problem.kind, problem.is_warning) == ("shop-answers", kind, False)
    assert all(part in problem.message for part in ["shop-answers", *is_and_should_be])


def test_a_topic_that_takes_what_a_worker_may_write_has_no_problem() -> None:
    """The default of Kafka, and that of its older versions, are enough; of the shop's own topics it is not asked."""
    for size in ("1000012", "1048588", "5000000"):
        assert not list(compare(SPEC, TopicState(8, 3, {**SPEC.configs, "max.message.bytes": size})))
    assert not list(compare(CLICKS, shops(max_message_bytes="4000")))


@pytest.mark.parametrize(
    "found",
    [
        shops(retention_ms="60000"),
        shops(retention_ms="-1", compression_type="zstd"),
        shops(min_insync_replicas="3", replication=3),
        shops(replication=5),
    ],
)
def test_the_shops_clickstream_is_taken_as_it_is(found: TopicState) -> None:
    """Retention, codec and more safety are its owner's business."""
    assert not list(compare(CLICKS, found))


@pytest.mark.parametrize(
    ("spec", "found", "told"),
    [
        (CLICKS, shops(cleanup_policy="compact"), "only the latest click stays"),
        (CLICKS, shops(cleanup_policy="compact,delete"), "only the latest click stays"),
        (CLICKS, shops(min_insync_replicas="1"), "may be lost"),
        (CLICKS, shops(replication=2), "2 replicas"),
        (CLICKS, shops(min_insync_replicas="4"), "nobody can write"),
        (CLICKS, TopicState(8, 3, None), "DescribeConfigs"),
        (CATALOG, shops(), "is unknown after the next start"),
        (CATALOG, shops(cleanup_policy="compact,delete"), "is unknown after the next start"),
    ],
)
def test_what_is_unwise_about_the_shops_topics_is_a_warning(spec: TopicSpec, found: TopicState, told: str) -> None:
    """The worker starts; what is said lowers nothing and changes nothing by a command."""
    (problem,) = compare(spec, found)
    assert problem.is_warning
    assert told in problem.message
    assert "kafka-configs" not in problem.message


@pytest.mark.parametrize(
    "found", [shops(cleanup_policy="compact", partitions=3), shops(retention_ms="-1", partitions=30)]
)
def test_a_catalog_that_forgets_nothing_is_as_it_should_be(found: TopicState) -> None:
    """Compacted or kept for ever, of any partition count."""
    assert not list(compare(CATALOG, found))


@pytest.mark.parametrize("found", [None, shops(partitions=12)])
def test_a_clickstream_that_no_worker_can_read_stops_it(found: TopicState | None) -> None:
    """It is not there, or its partitions are not those of the state; the message names the setting to change."""
    (problem,) = compare(CLICKS, found)
    assert not problem.is_warning
    assert ("topics.clickstream" if found is None else "set topics.partitions to 12") in problem.message


def test_only_clickstream_and_catalog_are_the_shops() -> None:
    """Named or not."""
    specs = topic_specs(TopicSettings())
    assert {spec.name for spec in specs if spec.is_the_shops} == {Topic.CLICKSTREAM, Topic.CATALOG}
