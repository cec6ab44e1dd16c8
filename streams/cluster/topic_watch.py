"""Looks at the topics and the group while a worker runs, on a thread of its own: what it finds nobody tells a worker.

Faust asks what a topic is when it starts. One that is deleted, made anew or grown after that leaves a worker that is
assigned nothing, or less than there is, and is at rest with it.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from schemas.errors import InsessionError
from schemas.state import FORMER_TOPIC_ID
from streams.cluster.group_state import owned_partitions
from streams.cluster.topic_check import layout_problem
from streams.cluster.topics import TopicChangedError, TopicsError, TopicSpec
from streams.metrics import DeliveryMetrics

log = structlog.get_logger(__name__)
LOOK_EVERY_SECONDS: Final = 20.0
"""What two looks in a row find counts: so it is known within a minute, and a scrape sees the gauge before the end."""
_TIMEOUT_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class SeenTopic:
    """A topic at one moment. topic_id: see `InputPosition`; 0 where the brokers are too old to have ids (KIP-516)."""

    topic_id: int
    partitions: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look found.

    topics: None is one that is not there. owned: by topic the partitions that the group's members have; None while the
    group is not at rest.
    """

    topics: Mapping[str, SeenTopic | None]
    owned: Mapping[str, frozenset[int]] | None


def seen_topics(admin: AdminClient, names: Sequence[str]) -> dict[str, SeenTopic | None]:
    """Describe topics; raises TopicsError where the brokers do not answer for one."""
    found: dict[str, SeenTopic | None] = {}
    for name, future in admin.describe_topics(TopicCollection(list(names)), request_timeout=_TIMEOUT_SECONDS).items():
        try:
            described = future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise TopicsError(f"the brokers do not describe {name}: {error.args[0].str()}") from error
            found[name] = None
        else:
            found[name] = SeenTopic(_short_id(described.topic_id), len(described.partitions))
    return found


def _short_id(uuid: Any) -> int:
    """Make 32 bits of an id: it is stored with every visitor, and has to differ from few others."""
    if not uuid.get_most_significant_bits() and not uuid.get_least_significant_bits():
        return 0
    return max(FORMER_TOPIC_ID + 1, int.from_bytes(blake2b(str(uuid).encode(), digest_size=4).digest()))


class TopicWatch:
    """Finds what has changed since the start, and ends the worker for it with the message that a start would give.

    clickstreams: of these every partition must have a worker. fail: ends the process.
    """

    def __init__(
        self, clickstreams: Collection[str], metrics: DeliveryMetrics, fail: Callable[[BaseException], Any]
    ) -> None:
        self._clickstreams = clickstreams
        self._metrics = metrics
        for topic in clickstreams:
            metrics.topic_changed.labels(topic=topic).set(0)
        self._fail = fail
        self._specs: Mapping[str, TopicSpec] = {}
        self._before: Mapping[str, SeenTopic] = {}
        self._suspected: dict[str, str] = {}
        self._unowned: frozenset[tuple[str, int]] = frozenset()
        self._ended = threading.Event()
        self.trouble: str | None = None
        """Why no page may be green: a partition without an owner at two looks; None = nothing was found."""
        self.suspicion: str | None = None
        """What one look has found, which may be a broker that has just started: no reason to be started again."""
        self.is_fully_owned = False
        """Every clickstream partition has a worker: one without any is a spare."""

    def expect(self, specs: Sequence[TopicSpec], seen: Mapping[str, SeenTopic]) -> None:
        """Take from now on for a change what differs from `seen` or from the specs."""
        self._specs, self._before = {spec.name: spec for spec in specs}, seen
        for name in self._specs:
            self._metrics.topic_changed.labels(topic=name).set(0)
        self._metrics.clickstream_partitions.set(self._partitions(seen))

    def start(self, look: Callable[[], Sighting]) -> None:
        """Observe now and then what `look` finds; one that raises an InsessionError has found nothing."""
        threading.Thread(target=self._run, args=[look], name="topic-watch", daemon=True).start()

    def stop(self) -> None:
        """Look no more; a look that is under way is not waited for."""
        self._ended.set()

    def _run(self, look: Callable[[], Sighting]) -> None:
        while not self._ended.wait(LOOK_EVERY_SECONDS):
            try:
                self.observe(look())
            except InsessionError as error:
                log.info("topics_not_looked_at", detail=str(error))
            except Exception as error:
                log.exception("topic_watch_broke")
                self._fail(error)

    def observe(self, sighting: Sighting) -> None:
        """Take in what a look found."""
        changed = dict(self._changes(sighting.topics))
        for name, message in changed.items():
            log.warning("topic_changed", topic=name, detail=message)
        for name in self._specs:
            self._metrics.topic_changed.labels(topic=name).set(name in changed)
        confirmed = [message for name, message in changed.items() if self._suspected.get(name) == message]
        self._suspected = changed
        self._metrics.clickstream_partitions.set(self._partitions(sighting.topics))
        unowned = self._without_owner(sighting)
        lasting, self._unowned = unowned & self._unowned, unowned
        self.is_fully_owned = sighting.owned is not None and not unowned
        self.suspicion = next(iter(changed.values()), None)
        self.trouble = _unowned_message(lasting)
        if confirmed:
            self._fail(TopicChangedError("\n".join(["the topics are not what the worker expects:", *confirmed])))

    def _changes(self, found: Mapping[str, SeenTopic | None]) -> list[tuple[str, str]]:
        changes = []
        for name, spec in self._specs.items():
            before, now = self._before.get(name), found.get(name)
            problem = layout_problem(spec, None if now is None else now.partitions)
            if problem is not None:
                changes.append((name, problem.message))
            elif now is not None and before is not None and now.topic_id != before.topic_id:
                changes.append((name, _made_anew(name)))
        return changes

    def _partitions(self, topics: Mapping[str, SeenTopic | None]) -> int:
        return sum(seen.partitions for name in self._clickstreams if (seen := topics.get(name)) is not None)

    def _without_owner(self, sighting: Sighting) -> frozenset[tuple[str, int]]:
        if sighting.owned is None:
            return frozenset()
        there = {
            (name, partition)
            for name in self._clickstreams
            if (seen := sighting.topics.get(name)) is not None
            for partition in range(seen.partitions)
        }
        return frozenset(there - {(name, one) for name, owned in sighting.owned.items() for one in owned})


def look_at(admin: AdminClient, names: Sequence[str], group: str) -> Sighting:
    """Ask for topics and group; raises TopicsError where the brokers do not answer."""
    return Sighting(seen_topics(admin, names), owned_partitions(admin, group))


def _made_anew(name: str) -> str:
    return (
        f"topic {name} was deleted and made anew while the worker ran, so its offsets mean other records. Start the "
        "worker again: it goes on with the visitors' sessions and reads the new topic from its beginning"
    )


def _unowned_message(unowned: frozenset[tuple[str, int]]) -> str | None:
    if not unowned:
        return None
    named = ", ".join(f"{topic}-{partition}" for topic, partition in sorted(unowned)[:8])
    return f"no worker of the group has {named}: their clicks wait; start the workers again"
