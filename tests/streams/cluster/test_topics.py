from datetime import timedelta
from typing import Any

import pytest

from schemas.errors import UsageError
from streams.cluster.topic_check import check
from streams.cluster.topics import (
    COMPACTION_LAG,
    Topic,
    TopicsError,
    TopicSettings,
    TopicSpec,
    admin_client,
    topic_specs,
)

SPEC = TopicSpec("shop-answers", 8, 3, {"cleanup.policy": "compact,delete", "min.insync.replicas": "2"})


def test_every_topic_has_one_spec_under_the_prefix() -> None:
    """The specs cover all topics, each with the layout of the settings."""
    specs = topic_specs(TopicSettings(prefix="shop-", partitions=12))
    assert [spec.name for spec in specs] == [f"shop-{topic}" for topic in Topic]
    layouts = {(spec.partitions, spec.replication, spec.configs["min.insync.replicas"]) for spec in specs}
    assert layouts == {(12, 3, "2"), (1, 3, "2")}
    assert [spec.name for spec in specs if spec.partitions == 1] == ["shop-trending", "shop-observer-state"]


def test_outputs_are_a_log_for_a_week_and_then_the_latest() -> None:
    """Recommendations and intent signals compact after seven days and keep the latest beyond that."""
    specs = {spec.name: spec for spec in topic_specs(TopicSettings())}
    for topic in (Topic.RECOMMENDATIONS, Topic.INTENT_SIGNALS):
        configs = specs[topic].configs
        assert specs[topic].cleanup_policy == "compact,delete"
        assert configs["min.compaction.lag.ms"] == "604800000"
        assert int(configs["retention.ms"]) > 604800000


def test_rules_are_a_full_log_for_thirty_days_and_then_the_latest_of_each() -> None:
    """The topic is the audit: nothing is compacted before, and nothing is ever deleted."""
    specs = {spec.name: spec for spec in topic_specs(TopicSettings())}
    configs = specs[Topic.MERCHANT_RULES].configs
    assert (configs["cleanup.policy"], configs["min.compaction.lag.ms"]) == ("compact", "2592000000")


def test_what_happened_is_kept_for_its_own_retention() -> None:
    """Session ends and outcomes are plain logs; each is kept for as long as its setting says."""
    settings = TopicSettings(session_ends_retention=timedelta(days=2), outcomes_retention=timedelta(days=3))
    specs = {spec.name: spec for spec in topic_specs(settings)}
    for topic, days in {Topic.SESSION_ENDS: 2, Topic.OUTCOMES: 3}.items():
        assert specs[topic].cleanup_policy == "delete"
        assert specs[topic].configs["retention.ms"] == str(days * 86_400_000)


def test_a_topic_that_is_named_has_that_name_without_the_prefix() -> None:
    """The shop's topics have the names that they have; the prefix stays with what is ours."""
    settings = TopicSettings(prefix="rec-", clickstream="shop.clicks", catalog="shop.items")
    assert settings.name(Topic.CLICKSTREAM) == "shop.clicks"
    assert settings.name(Topic.CATALOG) == "shop.items"
    assert settings.name(Topic.DEAD_LETTERS) == "rec-clickstream-dlq"


@pytest.mark.parametrize(("replication", "in_sync"), [(1, 1), (2, 1), (3, 2)])
def test_one_replica_may_be_away_where_there_is_more_than_one(replication: int, in_sync: int) -> None:
    """Without a count of their own, the in-sync replicas follow the replication."""
    assert TopicSettings(replication=replication).replicas_in_sync == in_sync


def test_a_count_of_in_sync_replicas_holds_for_any_replication() -> None:
    """What is set is not derived."""
    assert TopicSettings(replication=3, min_insync_replicas=1).replicas_in_sync == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prefix": "shop/"}, "prefix"),
        ({"prefix": "a" * 201}, "prefix"),
        ({"clickstream": "shop clicks"}, "clickstream"),
        ({"clickstream": ".."}, "clickstream"),
        ({"catalog": "a" * 250}, "catalog"),
        ({"clickstream": "recommendations"}, "clickstream"),
        ({"catalog": "rec-clickstream", "prefix": "rec-"}, "catalog"),
        ({"clickstream": "shop", "catalog": "shop"}, "clickstream"),
        ({"partitions": 0}, "partitions"),
        ({"replication": 0}, "replication"),
        ({"replication": 2, "min_insync_replicas": 3}, "min_insync_replicas"),
        ({"output_retention": COMPACTION_LAG}, "output_retention"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    """The error begins with the setting's name."""
    with pytest.raises(UsageError, match=rf"^topics\.{message} "):
        TopicSettings(**settings)


def test_retention_just_beyond_the_compaction_lag_is_accepted() -> None:
    """The bound is exclusive."""
    assert TopicSettings(output_retention=COMPACTION_LAG + timedelta(milliseconds=1))


def test_brokers_that_do_not_answer_are_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong address gives a message about the address, not a traceback of the client's."""
    monkeypatch.setattr("streams.cluster.topics._TIMEOUT_SECONDS", 0.3)
    with pytest.raises(TopicsError, match="did not answer"):
        check(admin_client({"bootstrap.servers": "127.0.0.1:1"}), topic_specs(TopicSettings()))
