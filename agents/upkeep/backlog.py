"""Answers what a stopped group has not read, without a member of it: by the very same pipeline, on the old layout.

The clicks are as old as the stop, so they are answered by the tiers that do not wait. Each batch writes states, then
sends answers, then commits, and waits for each: a crash repeats a batch, whose states know that they have it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, TypeVar

from msgspec import structs
from prometheus_client import CollectorRegistry

from agents.clicks.pipeline import Pipeline
from agents.clicks.shown_answers import ShownAnswers
from agents.clicks.step import StateWrite, Step, StoredValues
from agents.encodings import Encodings, click_readers
from agents.serving_tier import serving_tier
from agents.settings import Settings
from agents.wiring import pipeline_settings, session_rules
from schemas.events import Erase
from schemas.handovers import Adoption, Handover
from schemas.state import InputPosition, VisitorState, decode_state, mark_key
from schemas.validation import Rejection
from serving.filters import CatalogView
from streams.catalog import Catalog
from streams.cluster.group_commits import GroupCommits
from streams.cluster.topic_reader import TopicReader
from streams.cluster.topics import Topic, app_id, changelog_name
from streams.delivery.window import ready
from streams.metrics import DeliveryMetrics
from streams.records import InputRecord, OutputRecord
from streams.state.blocked_ids import is_block_key
from streams.state.copies import StateCopies
from streams.tools.sender import Sender

_BATCH: Final = 500
_T = TypeVar("_T")


@dataclass(slots=True)
class _Visitors:
    """The states as the pipeline sees them while a partition's records are decided on."""

    copies: StateCopies
    home: Callable[[bytes], int]
    shown: ShownAnswers
    partition: int = 0

    def load(self, partition: int, key: bytes) -> StoredValues | None:
        """Read what is stored of a visitor, where it lay or where it was moved to."""
        assert partition == self.partition
        place = self.place(key)
        state = self.copies.get(place, key)
        return None if state is None else StoredValues(state, self.copies.get(place, mark_key(key)))

    def place(self, key: bytes) -> int:
        """Return the partition where a state lies; a new one lies at home at once, a block in every partition."""
        if is_block_key(key):
            return self.partition
        home = self.home(key)
        is_there = self.copies.get(home, key) is None and self.copies.get(self.partition, key) is not None
        return self.partition if is_there else home


class Backlog:
    """What is not read of the inputs of `settings`, whose topics.partitions are the old count; more may be there.

    topic_ids: of the inputs, by name.
    """

    def __init__(  # noqa: PLR0913 - what it reads from and writes to
        self,
        settings: Settings,
        reader: TopicReader,
        sender: Sender,
        commits: GroupCommits,
        copies: StateCopies,
        *,
        home: Callable[[bytes], int],
        topic_ids: Mapping[str, int],
    ) -> None:
        encodings = Encodings(settings)
        releases = settings.kafka.datadir / "releases"
        self._tier = serving_tier(settings.serving, _everything(settings), CollectorRegistry(), copies=releases)
        self._pipeline = Pipeline(
            replace(
                pipeline_settings(settings, lambda _: 0.0),  # nobody waits for the model any more
                readers=click_readers(settings, encodings.clicks),
                encode=encodings.encode,
            ),
            session_rules(settings),
            self._tier.recommender,
            DeliveryMetrics(CollectorRegistry()),
        )
        self._settings, self._encodings = settings, encodings
        self._reader, self._sender, self._commits = reader, sender, commits
        self._visitors = _Visitors(copies, home, ShownAnswers())
        self._copies, self._topic_ids = copies, topic_ids
        self._changelog = changelog_name(settings.kafka, settings.topics)
        self._control = settings.topics.name(Topic.SESSION_CONTROL)

    @property
    def topics(self) -> Sequence[str]:
        """Return the inputs, clicks first: what they hand over is behind them."""
        return (*self._settings.clickstreams, self._control)

    @asynccontextmanager
    async def open(self) -> Any:
        """Let it answer within this block."""
        errors: list[BaseException] = []
        async with self._encodings.running(errors.append), self._tier.running():
            if errors:
                raise errors[0]
            yield self

    def unread(self) -> dict[str, dict[int, range]]:
        """Return the offsets of each input's old partitions that are not committed, where there are some."""
        unread: dict[str, dict[int, range]] = {}
        for topic in self.topics:
            bounds = self._reader.bounds(topic)
            old = {partition: bounds[partition] for partition in range(self._settings.topics.partitions)}
            committed = self._commits.of(topic, old)
            ranges = {
                partition: range(max(held.start, committed.get(partition, held.start)), held.stop)
                for partition, held in old.items()
            }
            if any(ranges.values()):
                unread[topic] = {partition: left for partition, left in ranges.items() if left}
        return unread

    async def answer(self, advance: Callable[[int], None]) -> int:
        """Answer until nothing is left, what comes meanwhile included; returns how many records were read."""
        read = 0
        while unread := self.unread():
            for topic, ranges in unread.items():
                for batch in _batches(self._reader.read(topic, ranges)):
                    await self._answer(batch)
                    read += len(batch)
                    advance(len(batch))
                self._commits.write(topic, {partition: left.stop for partition, left in ranges.items()})
        return read

    async def _answer(self, batch: Sequence[InputRecord]) -> None:
        steps = [step for record in batch for step in self._steps(record)]
        self._sender.flush()
        for step in steps:
            for output in await step.answer():
                self._sender.send(output)
        self._sender.flush()
        ends = {record.position.partition: record.position.offset + 1 for record in batch}
        self._commits.write(batch[0].position.topic, ends)

    def _steps(self, record: InputRecord) -> Iterator[Step]:
        """Decide on a record and write its state."""
        topic = record.position.topic
        position = structs.replace(record.position, topic_id=self._topic_ids.get(topic, 0))
        record = structs.replace(record, position=position)
        self._visitors.partition = record.position.partition
        if record.rejection is not None:
            yield self._pipeline.refusals.rejected(record, record.rejection)
        elif topic == self._control:
            yield from self._control_steps(record)
        else:
            yield self._written(self._pipeline.click(record, self._visitors))

    def _control_steps(self, record: InputRecord) -> Iterator[Step]:
        control = self._pipeline.control(record)
        if isinstance(control, Rejection):
            yield self._pipeline.refusals.rejected(record, control)
        elif isinstance(control, Handover | Adoption):
            yield self._written(self._pipeline.join(record, control, self._visitors))
        elif isinstance(control, Erase):
            others = self._pipeline.erasures(control, record.position, self._visitors)
            if others:
                yield Step(None, lambda: ready(others))
            else:
                if (block := self._pipeline.states.block(control)) is not None:
                    self._write(block)
                self._write(StateWrite(control.visitor_id.encode(), None))
        # A tick: `emit_of_ticks` has emitted what it had ended; what is due now, the next one ends.

    def _written(self, step: Step) -> Step:
        if step.write is not None:
            self._write(step.write)
        return step

    def _write(self, write: StateWrite) -> None:
        partition = self._visitors.place(write.key)
        if write.value is None:
            for key in (mark_key(write.key), write.key):
                self._sender.send(OutputRecord(self._changelog, key, None, partition=partition))
                self._copies.drop(partition, key)
            return
        key = mark_key(write.key) if write.is_mark else write.key
        self._sender.send(OutputRecord(self._changelog, key, write.value, partition=partition))
        self._copies.put(partition, key, write.value)

    def emit_of_ticks(self) -> None:
        """Emit again what unacknowledged ticks have ended, before `answer`: a tick does not say whose sessions."""
        partitions = range(self._settings.topics.partitions)
        committed = self._commits.of(self._control, partitions)
        for partition in partitions:
            for key, value in self._copies.items(partition):
                for position in _open_causes(decode_state(value), self._control, partition, committed):
                    repeated = self._pipeline.tick(key, StoredValues(value, None), position, -1)
                    for output in () if repeated is None else repeated[1]:
                        self._sender.send(output)
        self._sender.flush()


def _open_causes(state: VisitorState, control: str, partition: int, committed: Mapping[int, int]) -> set[InputPosition]:
    """Return the control records that have closed sessions of a visitor and are not committed."""
    emitted_by = (closed.emitted_by for closed in state.closings)
    return {
        one
        for one in emitted_by
        if (one.topic, one.partition) == (control, partition) and one.offset >= committed.get(partition, 0)
    }


def open_commits(settings: Settings) -> GroupCommits:
    """Open the commits of the deployment's group."""
    return GroupCommits(settings.kafka.client_config(), app_id(settings.kafka, settings.topics))


def _everything(settings: Settings) -> CatalogView:
    """Allow every item: what the catalog says now was not known when these clicks came."""
    return Catalog(require_catalog=False, reader=Encodings(settings).catalog_reader())


def _batches(records: Iterator[_T]) -> Iterator[list[_T]]:
    while batch := list(islice(records, _BATCH)):
        yield batch
