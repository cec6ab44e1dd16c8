"""Delivery that holds at rebalances: contiguous offsets up to the actor.

Faust 0.15.3 loses events at rebalances as it comes. A record that was fetched before the seek to the committed offset
can be delivered after it; the jump is booked as a gap, all in between counts as acknowledged and the re-read records
are dropped as old. Or the first re-read record dies on the way to the agent (old generation) while its successors
arrive, and `_new_offset` commits over the missing head. The threads: faust-streaming/faust#606 (commit over an
unfinished head), #502 (replay after a rebalance), #315 and #527 (an exception in an agent skips the event). See
docs/adr/0003.

Everything here reaches into Faust's internals; pyproject.toml therefore pins the version that it was tested with.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import structlog
from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.utils.futures import notify

from schemas.errors import InsessionError
from streams.delivery.committed_reads import CommittedReads
from streams.delivery.first_start import FirstStart
from streams.delivery.producer import RecordProducer
from streams.delivery.record_batches import MarkedValue
from streams.delivery.runs import Run
from streams.metrics import DeliveryMetrics, GapReason

if TYPE_CHECKING:
    FaustConsumer = Any
else:
    FaustConsumer = object
from streams.cluster.topics import TopicChangedError

log = structlog.get_logger(__name__)
AtConsumer = Literal["pass", "skip", "drop", "resync"]
AtActor = Literal["process", "redelivery", "drop", "rewind"]


@dataclass(slots=True)
class PartitionOffsets:
    """Which offset must come next on one partition, first at the consumer and then at the actor.

    What is judged is a run: offsets that follow each other without a hole.

    A jump ahead is accepted only when a fresh fetch from the missing offset shows it again: then the offsets in between
    do not exist (retention, compaction, transactional markers).
    """

    committed: int
    expected: int
    at_actor: int
    acked: set[int] = field(default_factory=set)
    skipped: dict[int, int] = field(default_factory=dict)
    _suspect: int | None = None
    _rewinding: bool = False
    _overtaken: range = range(0)

    @classmethod
    def starting_at(cls, offset: int) -> "PartitionOffsets":
        """Expect `offset` next, everywhere."""
        return cls(committed=offset, expected=offset, at_actor=offset)

    def fetched(self, run: range) -> AtConsumer:
        """Judge fetched records: pass on those from `expected` on, drop all, or fetch again from the missing offset.

        "skip" passes them too: the offsets before them are confirmed not to exist.
        """
        if run.stop <= self.expected:
            return "drop"
        if run.start > self.expected and self._suspect != run.start:
            self._suspect = run.start
            return "resync"
        verdict: AtConsumer = "pass"
        if run.start > self.expected:
            self.skipped[self.expected] = run.start
            verdict = "skip"
        self.expected, self._suspect = run.stop, None
        return verdict

    def arrived(self, run: range) -> AtActor:
        """Judge records that reached the actor: process them, or drop them until the missing ones have come.

        What was on its way at a rewind is overtaken by it. A later run that is not, and still not the missing one,
        shows that the missing one was lost again: then the consumer rewinds once more.
        """
        missing = self._missing()
        if run.stop <= missing:
            return "redelivery"
        if run.start <= missing:
            self.at_actor, self._rewinding = run.stop, False
            return "process"
        if self._rewinding and (run.start in self._overtaken or self.expected <= missing):
            self._overtaken = range(run.stop, self._overtaken.stop)
            return "drop"
        self._rewind(missing, overtaken=range(run.stop, self.expected))
        return "rewind"

    def lost_on_the_way(self) -> int | None:
        """Rewind to what the actor still misses; None where nothing is on its way to it.

        For the record that nothing follows: no later one shows that it was lost.
        """
        missing = self._missing()
        if self.expected <= missing:
            return None
        self._rewind(missing, overtaken=range(missing, self.expected))
        return missing

    def _missing(self) -> int:
        missing = self.at_actor
        while missing in self.skipped:
            missing = self.skipped[missing]
        return missing

    def _rewind(self, missing: int, *, overtaken: range) -> None:
        self.expected, self._suspect, self._rewinding, self._overtaken = missing, None, True, overtaken

    def acknowledge(self, offset: int) -> None:
        """Book an offset, unless it is committed already."""
        if offset >= self.committed:
            self.acked.add(offset)

    def book(self, committed: int | None) -> None:
        """Take over what Faust has committed, if anything."""
        if committed is None or committed <= self.committed:
            return
        self.committed = committed
        self.acked = {offset for offset in self.acked if offset >= committed}
        self.skipped = {first: end for first, end in self.skipped.items() if first >= committed}

    def committable(self) -> int | None:
        """Return the offset up to which all is acknowledged or does not exist; None = no progress since the commit.

        Unlike Faust's own, it never passes over a missing head, one record wide or more (faust-streaming/faust#606).
        """
        offset = self.committed
        while offset in self.acked or offset in self.skipped:
            offset = self.skipped.get(offset, offset + 1)
        return None if offset == self.committed else offset


class StateUnreadableError(InsessionError):
    """A record of the changelog cannot be decoded: without it the state would be another one."""


class ContiguousConsumer(FaustConsumer):  # type: ignore[misc]
    """Mix-in over a Faust consumer: passes only contiguous offsets, and lets the actor confirm what reached it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._partitions: dict[TP, PartitionOffsets] = {}
        self._revocations = 0
        self._is_in_rebalance = False
        self._delivery: DeliveryMetrics = self.app.delivery_metrics

    async def perform_seek(self) -> None:
        """Seek to the commits and expect these next; a partition without one starts as `first_starts` of the app says.

        Faust fetches meanwhile: what comes after its own seek and before it is known what to expect
        would be dropped, and nothing would bring it back until the next record. So the last seek is ours.

        `getmany` asks for it, too, where it finds the flow stopped. That is in a rebalance, whose end seeks anyway; one
        that comes to its end after that would bring back all that was answered since. And Faust lets a recovery that
        the next rebalance overtakes go on, and resume the flow: what its seek found would let records pass before the
        seek of that rebalance.
        """
        if not self.flow_active or self._is_in_rebalance:
            return
        revocations = self._revocations
        await super().perform_seek()
        sources = [tp for tp in self.assignment() if self.is_source(tp)]
        uncommitted = [tp for tp in sources if self._read_offset[tp] is None]
        starts: dict[TP, int] = {tp: self._read_offset[tp] for tp in sources if tp not in uncommitted}
        if uncommitted:
            starts |= await self._first_offsets(uncommitted, committed={tp.partition for tp in starts})
        if revocations != self._revocations:
            return
        for tp, offset in starts.items():
            self._partitions[tp] = PartitionOffsets.starting_at(offset)
        await self.seek_wait(starts)
        await self._check_ends(starts)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's signature
        """Fetch, and yield only records that are the next of their partition; none before it is known which that is.

        Faust resumes partitions before it seeks: what it read in between was answered, and again after the seek.
        """
        resynced: set[TP] = set()
        async for tp, message in super().getmany(timeout):
            if not self.is_source(tp):
                self._refuse_gap_in_state(tp, message)
                yield tp, message
                continue
            partition = self._partitions.get(tp)
            if partition is None or tp in resynced:
                continue  # what is read before a seek comes again after it
            run: Run = message.value
            missing = partition.expected
            verdict = partition.fetched(run.offsets)
            if verdict == "pass":
                yield tp, message if run.offset == missing else self._to_message(tp, run.since(missing))
            elif verdict == "skip":
                self.add_future(self._count_gap(tp, missing, run.offset))
                yield tp, message
            elif verdict == "resync":
                resynced.add(tp)
                self._delivery.resyncs.labels(where="consumer").inc()
                await self._fetch_again(tp, partition.expected, found=run.offset)

    async def arrived(self, tp: TP, offsets: range) -> bool:
        """Confirm records at the actor, which follow each other: True where they may be processed, also once more."""
        partition = self._partitions.get(tp)
        verdict: AtActor = "process" if partition is None else partition.arrived(offsets)
        if partition is not None and verdict == "rewind":
            self._delivery.resyncs.labels(where="actor").inc()
            await self._fetch_again(tp, partition.expected, found=offsets.start)
        return verdict in {"process", "redelivery"}

    def acknowledge(self, tp: TP, offset: int) -> None:
        """Book an offset whose event is done; the next commit takes it along."""
        partition = self._partitions.get(tp)
        if partition is not None:
            partition.acknowledge(offset)

    def release(self, message: Any) -> None:
        """Let go of a run: what of it was taken in is acknowledged, and nobody will acknowledge the rest.

        A rebalance or the end of the worker would wait for it, and so for ever.
        """
        message.acked = True
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)

    def next_offset(self, tp: TP) -> int | None:
        """Return the offset that the actor expects next; None while the partition is not ours."""
        partition = self._partitions.get(tp)
        return None if partition is None else partition.at_actor

    def highwater(self, tp: TP) -> int | None:
        """Return the end of what may be read of a partition; where all up to it is read, the end of its records.

        A transaction's marker behind the last record has an offset, too, and would be owed until the next record.
        """
        end: int | None = super().highwater(tp)
        partition, read_to = self._partitions.get(tp), self._read_to(tp)
        is_read = partition is not None and end is not None and read_to is not None and read_to >= end
        return partition.expected if partition is not None and is_read else end

    def end_age_seconds(self, tp: TP) -> float | None:
        """Return how long ago the fetch began that told `highwater`; None as long as none did."""
        age_seconds: float | None = self._thread.end_age_seconds(tp)
        return age_seconds

    def committed_offsets(self) -> dict[TP, int]:
        """Return the committed offset of each of our source partitions; where none was committed, where we began."""
        return {tp: self._committed_offset[tp] or partition.committed for tp, partition in self._partitions.items()}

    async def refetch_lost(self, tp: TP) -> None:
        """Fetch again what was passed on but has not reached the actor; for a partition that stands still."""
        partition = self._partitions.get(tp)
        lost = None if partition is None else partition.lost_on_the_way()
        if lost is not None:
            self._delivery.resyncs.labels(where="actor").inc()
            await self._fetch_again(tp, lost, found=None)

    async def commit(self, *args: Any, **kwargs: Any) -> bool:
        """Commit all that is acknowledged now; Faust's own leaves out what came after a commit that is under way."""
        await self.maybe_wait_for_commit_to_finish()
        return await super().commit(*args, **kwargs)  # type: ignore[no-any-return]

    async def seek_wait(self, partitions: Mapping[TP, int | None]) -> None:
        """Seek, and wait for it; where an offset is not known, have Faust begin its recovery anew.

        Its recovery goes through partitions that a rebalance changes under it, and so seeks to None.

        Raises:
            IllegalStateError: what Faust takes for another rebalance.
        """
        unknown = [tp for tp, offset in partitions.items() if offset is None]
        if unknown:
            raise IllegalStateError(f"assigned while a recovery was under way, with no offset yet: {unknown}")
        await super().seek_wait(partitions)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Let Faust recover the state and seek."""
        self._is_in_rebalance = False
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let Faust wait for what is in flight and commit for the last time, then forget what was expected.

        Faust forgets its books before that; ours outlive it, so that the next owner reads nothing again that was
        acknowledged.
        """
        self._revocations += 1
        self._is_in_rebalance = True
        for tp in revoked & self._partitions.keys():
            self._book(tp)
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self._partitions.pop(tp, None)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in self._partitions if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        partition = self._book(tp)
        return None if partition is None else partition.committable()

    def _book(self, tp: TP) -> PartitionOffsets | None:
        partition = self._partitions.get(tp)
        if partition is not None:
            partition.book(self._committed_offset[tp])
        return partition

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Book no gap on a jump, as Faust does: `fetched` books it when a fresh fetch has confirmed it."""

    async def _count_gap(self, tp: TP, missing: int, found: int) -> None:
        """Count a gap by whether the brokers deleted records; nothing waits for that, and it fails nothing."""
        reason: GapReason = "unknown"
        with contextlib.suppress(Exception):
            beginnings = await self.earliest_offsets(tp)
            reason = "deleted" if beginnings[tp] > missing else "no_record"
        self._delivery.offset_gaps.labels(reason=reason).inc()
        log.warning(
            "offsets_do_not_exist", topic=tp.topic, partition=tp.partition, missing=missing, next=found, reason=reason
        )

    async def _fetch_again(self, tp: TP, offset: int, *, found: int | None) -> None:
        log.warning("offset_jump", topic=tp.topic, partition=tp.partition, expected=offset, found=found)
        self._read_offset[tp] = offset
        await self.seek_wait({tp: offset})

    async def _first_offsets(self, uncommitted: Sequence[TP], committed: AbstractSet[int]) -> dict[TP, int]:
        """Decide where partitions without a commit start, for good: what is not the beginning is committed at once.

        So a worker that dies before its first commit does not choose another start, with what came meanwhile before it.
        A partition whose commit the group does not take any more is left out: the rebalance under way seeks again.

        committed: partition numbers on which another input has a commit.
        """
        beginnings = await self.earliest_offsets(*uncommitted)
        later = [tp for tp in uncommitted if self._first_start(tp) != "earliest"]
        lost = await self._have_lost_commits([tp for tp in later if tp.partition not in committed])
        chosen = await self._chosen_offsets([tp for tp in later if tp not in lost])
        for tp, offset in chosen.items():
            passed_over = max(0, offset - beginnings[tp])
            log.info("first_start", topic=tp.topic, partition=tp.partition, offset=offset, passed_over=passed_over)
        offsets = {tp: offset for tp, offset in beginnings.items() if tp not in chosen}
        if chosen and await self._commit(chosen):
            self._committed_offset.update({tp: offset or None for tp, offset in chosen.items()})
            offsets |= chosen
        return offsets

    async def _chosen_offsets(self, partitions: Sequence[TP]) -> dict[TP, int]:
        """Find where partitions start that do not start at their beginning."""
        if not partitions:
            return {}
        starts = {tp: self._first_start(tp) for tp in partitions}
        since = {tp: start for tp, start in starts.items() if isinstance(start, datetime)}
        found = await self._offsets_since({tp: int(start.timestamp() * 1000) for tp, start in since.items()})
        ends = await self.highwaters(*partitions)
        return {tp: found.get(tp, ends[tp]) for tp in partitions}

    async def _have_lost_commits(self, partitions: Sequence[TP]) -> set[TP]:
        """Return which of them were read before: their commits are gone, their state is not.

        The brokers forget the commits of a group that has been away for `offsets.retention.minutes`. Starting at the
        end would then pass over all that came since; from the beginning, the state tells what was answered.
        """
        changelogs = {
            tp: [TP(changelog, tp.partition) for changelog in self.app.tables.changelog_topics] for tp in partitions
        }
        asked = {changelog for behind in changelogs.values() for changelog in behind}
        ends = await self.highwaters(*asked) if asked else {}
        # A changelog that holds nothing but the claims of its owners, ours the latest, has no state.
        lost = {tp for tp, behind in changelogs.items() if any(ends[one] > self.app.claims(one) for one in behind)}
        for tp in lost:
            log.warning("commits_lost", topic=tp.topic, partition=tp.partition, starts_at="earliest")
        return lost

    def _first_start(self, tp: TP) -> FirstStart:
        start: FirstStart = self.app.first_starts.get(tp.topic, "earliest")
        return start

    async def _check_ends(self, starts: Mapping[TP, int]) -> None:
        """Stop where a partition ends before the offset that was committed: the topic is another one."""
        if not starts:
            return
        ends = await self.highwaters(*starts)
        for tp, offset in starts.items():
            if ends[tp] < offset:
                self.app.abort(
                    TopicChangedError(
                        f"topic {tp.topic} partition {tp.partition} ends at offset {ends[tp]}, but offset {offset} was "
                        "committed: the topic was deleted and made anew, or truncated. Restore it, or start over with "
                        "another group and an empty state"
                    )
                )

    def _refuse_gap_in_state(self, tp: TP, message: Any) -> None:
        if isinstance(message.value, MarkedValue):
            self.app.abort(
                StateUnreadableError(
                    f"topic {tp.topic} partition {tp.partition} offset {message.offset} cannot be decoded "
                    f"({message.value.undecodable.detail}): restore the changelog, or start over with another "
                    "kafka.group and an empty kafka.datadir"
                )
            )

    def is_source(self, tp: TP) -> bool:
        """Return whether a partition is an input's; it comes in runs."""
        return self.app.topics.acks_enabled_for(tp.topic) and not self._is_changelog_tp(tp)


class StrictConsumer(ContiguousConsumer, driver.Consumer):  # type: ignore[misc]
    """The aiokafka driver's consumer with contiguous offsets."""

    def _new_consumer_thread(self) -> CommittedReads:
        return CommittedReads(self, loop=self.loop, beacon=self.beacon)

    async def _offsets_since(self, times_ms: Mapping[TP, int]) -> dict[TP, int]:
        """Return the first offset whose record is not older than that time, Unix ms; none for a partition without."""
        if not times_ms:
            return {}
        ask = self._thread._ensure_consumer().offsets_for_times  # noqa: SLF001 - Faust has no way to ask by time
        found = await self._thread.call_thread(ask, dict(times_ms))
        return {TP(*tp): at.offset for tp, at in found.items() if at is not None}

    def _read_to(self, tp: TP) -> int | None:
        """Return aiokafka's own position, which passes over markers."""
        subscription = self._thread._consumer._subscription.subscription  # noqa: SLF001 - its `position()` may wait
        assignment = None if subscription is None else subscription.assignment
        state = None if assignment is None else assignment.state_value(tp)
        return None if state is None or not state.has_valid_position else state.position


class StrictTransport(driver.Transport):  # type: ignore[misc]
    """The aiokafka transport with the strict consumer, and librdkafka's producer."""

    Consumer = StrictConsumer
    Producer = RecordProducer
