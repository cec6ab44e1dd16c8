"""What the brokers say: who they are, whether the topics are as they should be, how far the workers are."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from agents.doctor.findings import Finding, error, ok, unchecked, warning
from agents.settings import Settings
from agents.upkeep.changelog_check import verified_changelog
from streams.cluster.group_state import GroupState, group_state
from streams.cluster.topic_check import ProblemKind, check
from streams.cluster.topics import TopicSettings, admin_client, app_id, changelog_name, changelog_spec
from streams.state.changelog_identity import ChangelogLostError

STANDSTILL_SECONDS: Final = 3.0
"""How long commits are watched where there is lag; a worker commits every second."""
_TIMEOUT_SECONDS: Final = 5.0


class Brokers:
    """The cluster as an admin client sees it; nodes: brokers in it, 0 until they have answered."""

    def __init__(self, client_config: Mapping[str, Any]) -> None:
        self.admin: AdminClient = admin_client(client_config)
        self.nodes = 0

    def finding(self, address: str) -> Finding:
        """Return whether the brokers answer, and count them."""
        try:
            cluster = self.admin.list_topics(timeout=_TIMEOUT_SECONDS)
        except KafkaException as failure:
            return error(
                "brokers",
                f"{address} does not answer: {failure.args[0].str()}",
                "start the brokers; check kafka.brokers, and the TLS and SASL settings against the listener's",
            )
        self.nodes = len(cluster.brokers)
        return ok("brokers", f"{self.nodes} at {address} answer (cluster {cluster.cluster_id})")


def topic_findings(brokers: Brokers, settings: Settings) -> Iterator[Finding]:
    """Examine the topics as `insession topics check` does, the changelog, and how much the cluster may lose."""
    specs = settings.topic_specs()
    problems = check(brokers.admin, specs)
    for problem in problems:
        message, _, remedy = problem.message.partition(": ")
        yield (warning if problem.is_warning else error)("topics", message, remedy)
    if not problems:
        yield ok("topics", f"all {len(specs)} are as they should be")
    yield _changelog(brokers, settings)
    yield _replication(brokers.nodes, settings.topics)


def group_findings(
    brokers: Brokers,
    settings: Settings,
    topic: str,
    bounds: Mapping[int, range],
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Finding]:
    """Examine the workers' group and its lag on a clickstream; where there is lag, see whether it moves."""
    group = app_id(settings.kafka, settings.topics)
    before = group_state(brokers.admin, group, topic, len(bounds))
    yield _workers(group, before, len(bounds))
    lag = before.lag(bounds)
    if not before.members or not any(lag.values()):
        yield _lag(topic, before, lag, frozenset())
        return
    sleep(STANDSTILL_SECONDS)
    after = group_state(brokers.admin, group, topic, len(bounds))
    behind = {partition for partition, count in lag.items() if count}
    stuck = frozenset(part for part in behind if after.committed.get(part) == before.committed.get(part))
    yield _lag(topic, before, lag, stuck)


def _changelog(brokers: Brokers, settings: Settings) -> Finding:
    name = changelog_name(settings.kafka, settings.topics)
    problems = check(brokers.admin, [changelog_spec(settings.topics, name)])
    if not problems:
        try:
            verified_changelog(settings)
        except ChangelogLostError as lost:
            message, _, remedy = str(lost).partition(". ")
            return error("changelog", message, remedy)
        return ok("changelog", f"{name} is compacted and has {settings.topics.partitions} partitions")
    if problems[0].kind is ProblemKind.MISSING:
        return unchecked("changelog", f"{name} is not there yet: the first worker makes it")
    message, _, remedy = problems[0].message.partition(": ")
    return error("changelog", message, remedy)


def _replication(nodes: int, topics: TopicSettings) -> Finding:
    text = f"{topics.replication} replicas, {topics.replicas_in_sync} of them in sync, on {nodes} brokers"
    if topics.replication > nodes:
        return error("replication", text, "set topics.replication to at most the number of brokers, or add brokers")
    if topics.replication == 1:
        return warning("replication", text, "use 3 replicas and 2 in sync on 3 brokers: a lost disk is lost events")
    if topics.replicas_in_sync == topics.replication:
        return warning(
            "replication", text, "set topics.min_insync_replicas below topics.replication: one broker away stops it all"
        )
    return ok("replication", text)


def _workers(group: str, found: GroupState, partitions: int) -> Finding:
    check_name = "workers"
    text = f"group {group} is {found.state.lower().replace('_', ' ')} with {found.members} workers"
    if not found.members:
        return warning(check_name, text, "start one with `insession worker`; check kafka.group and topics.prefix")
    if found.members > partitions:
        return warning(
            check_name, text, f"{found.members - partitions} of them idle: there are {partitions} partitions"
        )
    if found.state != "STABLE":
        return warning(
            check_name, text, "run doctor again in a minute; if it stays so, look for a worker that restarts"
        )
    return ok(check_name, text)


def _lag(topic: str, found: GroupState, lag: Mapping[int, int], stuck: frozenset[int]) -> Finding:
    total = sum(lag.values())
    text = f"{total:,} records of {topic} are not answered yet"
    if stuck:
        return error(
            "lag",
            f"{text}; partitions {sorted(stuck)} stood still for {STANDSTILL_SECONDS:g} s",
            "look at /healthz and the log of the worker that holds them; restart it if it does not go on",
        )
    if total and not found.members:
        return warning("lag", text, "start a worker")
    return ok("lag", text)
