"""The judgements; the questions to a cluster: tests/kafka/test_doctor.py."""

import pytest

from agents.doctor.cluster import Brokers, _lag, _replication, _workers
from agents.doctor.findings import Level
from streams.cluster.group_state import GroupState
from streams.cluster.topics import TopicSettings


@pytest.mark.parametrize(
    ("nodes", "replication", "in_sync", "level"),
    [
        (3, 3, 2, Level.OK),
        (2, 3, 2, Level.ERROR),
        (3, 1, 1, Level.WARNING),
        (3, 2, 2, Level.WARNING),
        (5, 3, 2, Level.OK),
    ],
)
def test_replication_is_held_against_the_brokers(nodes: int, replication: int, in_sync: int, level: Level) -> None:
    """More replicas than brokers cannot be; one copy, or none to spare, is a warning."""
    settings = TopicSettings(replication=replication, min_insync_replicas=in_sync)
    assert _replication(nodes, settings).level is level


@pytest.mark.parametrize(
    ("state", "members", "level"),
    [
        ("STABLE", 4, Level.OK),
        ("STABLE", 5, Level.WARNING),
        ("PREPARING_REBALANCING", 2, Level.WARNING),
        ("EMPTY", 0, Level.WARNING),
    ],
)
def test_workers_are_counted(state: str, members: int, level: Level) -> None:
    """None, idle ones and a group that is on the move are each a warning."""
    assert _workers("g", GroupState(state, members, {}), partitions=4).level is level


@pytest.mark.parametrize(
    ("lag", "members", "stuck", "level"),
    [
        ({0: 0}, 1, frozenset(), Level.OK),
        ({0: 0}, 0, frozenset(), Level.OK),
        ({0: 9}, 1, frozenset(), Level.OK),
        ({0: 9}, 0, frozenset(), Level.WARNING),
        ({0: 9}, 1, frozenset({0}), Level.ERROR),
    ],
)
def test_lag_is_judged_by_whether_it_moves(
    lag: dict[int, int], members: int, stuck: frozenset[int], level: Level
) -> None:
    """A lag that is worked on is no fault; one that stands still is."""
    assert _lag("clicks", GroupState("STABLE", members, {}), lag, stuck).level is level


def test_brokers_that_are_away_are_told_with_what_the_client_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is librdkafka's own, not only that time ran out."""
    monkeypatch.setattr("agents.doctor.cluster._TIMEOUT_SECONDS", 0.5)
    found = Brokers({"bootstrap.servers": "127.0.0.1:1"}).finding("127.0.0.1:1")
    assert found.level is Level.ERROR
    assert "refused" in found.message
