import pytest

from streams.cluster.topic_lifetime import TopicLifetime

DEFAULTS = {
    "cleanup.policy": "delete",
    "retention.ms": "1000",
    "segment.ms": "50",
    "max.compaction.lag.ms": str(2**63 - 1),
    "delete.retention.ms": "7",
}


@pytest.mark.parametrize(
    ("configs", "by_retention", "by_tombstone"),
    [
        ({}, 11_050, 21_050),
        ({"retention.ms": "-1"}, None, None),
        ({"cleanup.policy": "compact"}, None, None),
        ({"cleanup.policy": "compact", "max.compaction.lag.ms": "300"}, None, 20_307),
        ({"cleanup.policy": "compact,delete", "max.compaction.lag.ms": "300"}, 11_050, 20_307),
        ({"cleanup.policy": "compact,delete", "max.compaction.lag.ms": "3000"}, 11_050, 21_050),
    ],
)
def test_a_record_is_gone_when_the_topic_settings_say_so(
    configs: dict[str, str], by_retention: int | None, by_tombstone: int | None
) -> None:
    """By retention with its segment, by a bounded compaction with its tombstone, whichever is first; or not bounded."""
    lifetime = TopicLifetime.of(DEFAULTS | configs)
    assert lifetime.record_until_ms(10_000) == by_retention
    assert lifetime.tombstoned_until_ms(10_000, 20_000) == by_tombstone
