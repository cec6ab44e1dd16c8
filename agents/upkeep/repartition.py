"""More partitions for a deployment that has state: grows the topics, answers the backlog, moves the visitors' states.

In this order, so that a run that ends early can be run again: the clickstreams, outputs and the changelog grow; what
was not read of the old partitions is answered there, beside the states; each state moves to the partition that its
key has now, written there before it is removed here; session-control grows last. Until then no worker starts, with the
old count nor with the new one.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions

from agents.settings import Settings
from agents.upkeep.backlog import Backlog, open_commits
from agents.upkeep.job_progress import JobProgress
from schemas.errors import InsessionError, UsageError
from schemas.state import decode_state, encode_state, mark_key, read_header
from streams.cluster.admin import explained
from streams.cluster.group_commits import GroupCommits
from streams.cluster.group_state import group_state
from streams.cluster.rehoming import Partitioner, Placements, rehomed
from streams.cluster.topic_creation import await_usable
from streams.cluster.topic_reader import TopicReader
from streams.cluster.topic_watch import seen_topics
from streams.cluster.topics import Topic, TopicsError, admin_client, app_id, changelog_name, changelog_spec
from streams.records import OutputRecord
from streams.state.blocked_ids import is_block_key
from streams.state.copies import StateCopies
from streams.tools.sender import Sender

_BATCH: Final = 500
_LOOK_SECONDS: Final = 1.0
_GROW_SECONDS: Final = 30.0


@dataclass(slots=True)
class Repartitioned:
    """What was done. before, now: partitions. answered: records of the backlog. moved: states on another partition."""

    before: int
    now: int
    grown: list[str]
    answered: int = 0
    states: int = 0
    moved: int = 0


def grown_bounds(reader: TopicReader, topic: str, partitions: int) -> dict[int, range]:
    """Return the offsets that each partition holds of a topic that has grown to so many; raises TopicsError.

    The broker that is asked may have heard of fewer: a new one that is left out would have no commit and no states.
    """
    bounds = reader.bounds(topic)
    if len(bounds) < partitions:
        raise TopicsError(
            f"a broker knows {len(bounds)} of the {partitions} partitions of {topic}: wait a moment, and run this again"
        )
    return bounds


class Repartition:
    """One run. Raises InsessionError while the group has members, and where the topics cannot be grown.

    settings: as they were; of topics.partitions only what the topics themselves say counts.
    settle_seconds: how long after the clickstream has grown producers may still write by its old count.
    """

    def __init__(self, settings: Settings, partitions: int, *, settle_seconds: float, progress: JobProgress) -> None:
        self._admin: AdminClient = admin_client(settings.kafka.client_config())
        control = settings.topics.name(Topic.SESSION_CONTROL)
        seen = seen_topics(self._admin, [control])[control]
        if seen is None:
            raise TopicsError(f"{control} is missing: there is nothing to repartition")
        if partitions < seen.partitions:
            raise UsageError(
                f"--partitions {partitions}: {control} has {seen.partitions}, and partitions cannot be taken away"
            )
        self._settings = replace(settings, topics=replace(settings.topics, partitions=seen.partitions))
        self._before, self._now = seen.partitions, partitions
        self._settle_seconds, self._progress = settle_seconds, progress
        self._control = control
        self._group = app_id(settings.kafka, settings.topics)
        self._changelog = changelog_name(settings.kafka, settings.topics)
        self._done = Repartitioned(seen.partitions, partitions, [])

    def run(self) -> Repartitioned:
        """Carry it out; safe to run again after whatever ended it."""
        self._refuse_members()
        inputs = list(self._settings.clickstreams)
        sizes = self._sizes()
        config = self._settings.kafka.client_config()
        with open_commits(self._settings) as commits:
            self._grow([name for name in sizes if name != self._control], sizes)
            grown_seconds = time.monotonic()
            with TopicReader(config) as reader, StateCopies() as copies:
                partitioner = self._load(reader, copies)
                # A group that has never run begins where its settings say, on all partitions.
                has_run = any(commits.of(topic, range(self._before)) for topic in (*inputs, self._control))
                if has_run or any(reader.bounds(self._changelog).values()):
                    self._begin_new_partitions(reader, commits)
                    asyncio.run(self._answer_backlog(reader, commits, copies, partitioner, grown_seconds))
                self._refuse_members()
                self._move(copies, partitioner)
            self._grow([self._control], sizes)
        return self._done

    def _refuse_members(self) -> None:
        topic = self._settings.topics.name(Topic.CLICKSTREAM)
        state = group_state(self._admin, self._group, topic, 1)
        state.refuse_workers(self._group, then="and run this again; the states are not in two places at a time")

    def _sizes(self) -> Mapping[str, int]:
        """Return the partitions of every topic that grows; refuses one that is missing or too large."""
        specs = [spec for spec in self._settings.topic_specs() if not spec.any_partitions]
        specs.append(changelog_spec(self._settings.topics, self._changelog))
        sizes = {}
        for name, seen in seen_topics(self._admin, [spec.name for spec in specs]).items():
            if seen is None:
                raise TopicsError(f"{name} is missing: run `insession topics create`, then this again")
            if seen.partitions > self._now:
                raise UsageError(f"--partitions {self._now}: {name} has {seen.partitions} already, so give that many")
            sizes[name] = seen.partitions
        return sizes

    def _grow(self, names: list[str], sizes: Mapping[str, int]) -> None:
        wanted = [NewPartitions(name, self._now) for name in names if sizes[name] < self._now]
        if not wanted:
            return
        for name, future in self._admin.create_partitions(wanted, operation_timeout=_GROW_SECONDS).items():
            try:
                future.result()
            except KafkaException as error:
                raise TopicsError(
                    f"{name} could not be given {self._now} partitions, so give them by hand and run this again. "
                    f"{explained(error)}"
                ) from error
            self._done.grown.append(name)
        await_usable(self._admin, dict.fromkeys(names, self._now))

    def _begin_new_partitions(self, reader: TopicReader, commits: GroupCommits) -> None:
        """Commit the beginning of what is new: a group that begins at the end elsewhere must not pass over it."""
        for topic in self._settings.clickstreams:
            bounds = grown_bounds(reader, topic, self._now)
            new = {partition: held for partition, held in bounds.items() if partition >= self._before}
            known = commits.of(topic, new)
            commits.write(topic, {part: held.start for part, held in new.items() if part not in known})

    def _load(self, reader: TopicReader, copies: StateCopies) -> Partitioner:
        bounds = grown_bounds(reader, self._changelog, self._now)
        self._progress.begin("reading states", sum(map(len, bounds.values())))
        copies.load(reader, self._changelog, bounds, self._progress.advance)
        placements = Placements(self._before, self._now)
        for partition in range(self._now):
            for key, _ in copies.items(partition):
                if not is_block_key(key):
                    placements.see(key, partition)
        if placements.partitioner is None:
            raise InsessionError(
                f"{placements.misplaced} visitors lie on partitions that no one partitioner gives their keys, so it "
                "cannot be told where their clicks will come: `insession doctor` says who writes with another one"
            )
        return placements.partitioner

    async def _answer_backlog(
        self,
        reader: TopicReader,
        commits: GroupCommits,
        copies: StateCopies,
        partitioner: Partitioner,
        grown_seconds: float,
    ) -> None:
        """Answer what the old partitions hold, until no producer writes by the old count any more."""
        sender = Sender(self._settings.kafka.client_config(), client_id="insession-repartition")
        seen = seen_topics(self._admin, [*self._settings.clickstreams, self._control])
        backlog = Backlog(
            self._settings,
            reader,
            sender,
            commits,
            copies,
            home=lambda key: partitioner(key, self._now),
            topic_ids={name: topic.topic_id for name, topic in seen.items() if topic is not None},
        )
        unread = sum(len(left) for ranges in backlog.unread().values() for left in ranges.values())
        self._progress.begin("answering the backlog", unread)
        async with backlog.open():
            backlog.emit_of_ticks()
            while True:
                left_seconds = grown_seconds + self._settle_seconds - time.monotonic()
                self._done.answered += await backlog.answer(self._progress.advance)
                if left_seconds <= 0:
                    return
                self._progress.begin(f"producers may write by the old count for {left_seconds:.0f} s more", None)
                await asyncio.sleep(min(_LOOK_SECONDS, left_seconds))

    def _move(self, copies: StateCopies, partitioner: Partitioner) -> None:
        """Write each state where its key is at home now, then remove it where it was."""
        sender: Any = Sender(self._settings.kafka.client_config(), client_id="insession-repartition")

        def home(key: bytes) -> int:
            return partitioner(key, self._now)

        self._progress.begin("moving states", None)
        left: list[OutputRecord] = []
        for partition in range(self._now):
            for key, value in copies.items(partition):
                if is_block_key(key):
                    self._spread(sender, copies, key, value)
                    continue
                self._done.states += 1
                now, before = home(key), partitioner(key, self._before)
                state = decode_state(value)
                right = rehomed(state, before, now, home)
                # One that an earlier run has moved is at home, and may have gone on there.
                is_home = now == partition or copies.get(now, key) is not None
                if not is_home or (now == partition and right != state):
                    header = read_header(value)
                    content = encode_state(right, due_ms=header.due_ms, is_quiet=header.is_quiet)
                    sender.send(OutputRecord(self._changelog, key, content, partition=now))
                if now != partition:
                    self._done.moved += 1
                    stored = (one for one in (key, mark_key(key)) if copies.get(partition, one) is not None)
                    left += [OutputRecord(self._changelog, one, None, partition=partition) for one in stored]
                if len(left) >= _BATCH:
                    self._remove(sender, left)
                if self._done.states % _BATCH == 0:
                    self._progress.advance(_BATCH)
        self._remove(sender, left)

    def _spread(self, sender: Sender, copies: StateCopies, key: bytes, value: bytes) -> None:
        """Write the block of an erased id to the partitions that do not have it."""
        for partition in range(self._now):
            if copies.get(partition, key) is None:
                sender.send(OutputRecord(self._changelog, key, value, partition=partition))
                copies.put(partition, key, value)

    def _remove(self, sender: Sender, left: list[OutputRecord]) -> None:
        sender.flush()
        for tombstone in left:
            sender.send(tombstone)
        sender.flush()
        left.clear()
