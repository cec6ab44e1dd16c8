import asyncio
import bisect
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from aiokafka.errors import IllegalStateError
from faust.types import TP, Message
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from streams.cluster.topics import TopicChangedError
from streams.delivery.first_start import FirstStart
from streams.delivery.record_batches import MarkedValue
from streams.delivery.strict import ContiguousConsumer, PartitionOffsets, StateUnreadableError
from streams.metrics import DeliveryMetrics, GapReason
from streams.records import Undecodable

CLICKS = TP("clicks", 0)
CHANGELOG = TP("changelog", 0)


def fetch(offsets: PartitionOffsets, *found: int) -> list[str]:
    """Judge a batch at the consumer."""
    return [offsets.fetched(offset) for offset in found]


def committable(offsets: PartitionOffsets, committed: int, acked: set[int]) -> int | None:
    """Book what Faust knows and ask what may be committed."""
    offsets.book(committed, acked)
    return offsets.committable()


def arrive(offsets: PartitionOffsets, *found: int) -> list[str]:
    """Judge records at the actor."""
    return [offsets.arrived(offset) for offset in found]


def test_contiguous_records_pass_and_are_processed() -> None:
    """Records that follow each other pass the consumer and the actor."""
    offsets = PartitionOffsets.starting_at(5)
    assert fetch(offsets, 5, 6, 7) == ["pass"] * 3
    assert arrive(offsets, 5, 6, 7) == ["process"] * 3


def test_a_stale_fetch_after_a_seek_is_fetched_again() -> None:
    """A batch from before the seek does not pass, and what it hid comes from the fresh fetch."""
    offsets = PartitionOffsets.starting_at(5)
    assert fetch(offsets, 20) == ["resync"]
    assert offsets.expected == 5
    assert fetch(offsets, 5, 6) == ["pass"] * 2
    assert offsets.skipped == {}


def test_an_old_fetch_is_dropped() -> None:
    """Records that passed already do not pass twice."""
    offsets = PartitionOffsets.starting_at(5)
    assert fetch(offsets, 3, 4, 5, 5, 4, 6) == ["drop", "drop", "pass", "drop", "drop", "pass"]


def test_a_jump_that_a_fresh_fetch_confirms_is_skipped() -> None:
    """Offsets that a second fetch does not show either do not exist; the actor goes over them."""
    offsets = PartitionOffsets.starting_at(5)
    assert fetch(offsets, 8, 8, 9) == ["resync", "skip", "pass"]
    assert offsets.skipped == {5: 8}
    assert arrive(offsets, 8, 9) == ["process"] * 2


def test_a_jump_that_vanishes_is_not_remembered() -> None:
    """After the missing record has come, the same jump must be confirmed anew."""
    offsets = PartitionOffsets.starting_at(5)
    assert fetch(offsets, 8, 5, 8, 6) == ["resync", "pass", "resync", "pass"]


def test_another_jump_is_not_a_confirmation() -> None:
    """Only the same record, seen twice, confirms a jump."""
    assert fetch(PartitionOffsets.starting_at(5), 9, 8, 8) == ["resync", "resync", "skip"]


def test_a_rewind_forgets_an_unconfirmed_jump() -> None:
    """What was seen before the actor's rewind does not confirm a jump after it."""
    offsets = PartitionOffsets.starting_at(5)
    assert fetch(offsets, 5, 6, 9) == ["pass", "pass", "resync"]
    assert arrive(offsets, 6) == ["rewind"]
    assert fetch(offsets, 9) == ["resync"]


def test_a_head_dropped_before_the_actor_comes_again() -> None:
    """The actor rewinds to the missing record once and drops the rest until it has come."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, 5, 6, 7, 8)
    assert arrive(offsets, 6, 7, 8) == ["rewind", "drop", "drop"]
    assert offsets.expected == 5
    assert fetch(offsets, 5, 6, 7, 8) == ["pass"] * 4
    assert arrive(offsets, 5, 6, 7, 8) == ["process"] * 4


def test_a_head_that_dies_again_is_fetched_again() -> None:
    """Where the re-read record is lost on the way as well, the first re-read successor rewinds once more."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, 5, 6, 7)
    assert arrive(offsets, 6, 7) == ["rewind", "drop"]
    fetch(offsets, 5, 6, 7)
    assert arrive(offsets, 6, 7) == ["rewind", "drop"]
    fetch(offsets, 5, 6, 7)
    assert arrive(offsets, 5, 6, 7) == ["process"] * 3


def test_a_whole_batch_that_dies_again_is_fetched_again() -> None:
    """Where all re-read records are lost, the next new record rewinds once more."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, 5, 6, 7)
    assert arrive(offsets, 6, 7) == ["rewind", "drop"]
    fetch(offsets, 5, 6, 7, 8)
    assert arrive(offsets, 8) == ["rewind"]


def test_the_actor_rewinds_behind_a_hole() -> None:
    """The record behind offsets that do not exist is the missing one."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, 8, 8, 9)
    assert arrive(offsets, 9) == ["rewind"]
    assert offsets.expected == 8


def test_a_lower_offset_at_the_actor_is_a_replay() -> None:
    """A record that was processed already is told from a new one."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, 5, 6)
    assert arrive(offsets, 5, 5, 4, 6) == ["process", "redelivery", "redelivery", "process"]


def test_several_holes_are_passed_one_after_the_other() -> None:
    """Holes may follow each other and may grow while retention goes on."""
    offsets = PartitionOffsets.starting_at(0)
    assert fetch(offsets, 3, 3, 4, 9, 9, 12, 12) == ["resync", "skip", "pass", "resync", "skip", "resync", "skip"]
    assert arrive(offsets, 3, 4, 9, 12) == ["process"] * 4
    assert committable(offsets, 0, {3, 4, 9, 12}) == 13


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_missing_head_is_never_committed_over(width: int) -> None:
    """A gap at the head holds the commit back, one record wide or more (faust-streaming/faust#606)."""
    offsets = PartitionOffsets.starting_at(5)
    acked = set(range(5 + width, 20))
    assert committable(offsets, 5, acked) is None
    assert committable(offsets, 5, acked | set(range(5, 5 + width))) == 20


def test_a_commit_ends_before_the_first_missing_offset() -> None:
    """All that is contiguous is committed, and nothing behind it."""
    assert committable(PartitionOffsets.starting_at(5), 5, {5, 6, 8, 9}) == 7


def test_nothing_acked_gives_no_commit() -> None:
    """Without an acknowledgement there is nothing to commit."""
    assert committable(PartitionOffsets.starting_at(5), 5, set()) is None


def test_a_commit_goes_over_offsets_that_do_not_exist() -> None:
    """Confirmed holes count as done, at the head and in the middle, also after an earlier commit."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, 7, 7, 8, 11, 11)
    assert committable(offsets, 5, {7}) == 8
    assert committable(offsets, 8, {8, 11}) == 12
    assert committable(offsets, 12, set()) is None
    assert offsets.skipped == {}


class Worker:
    """A partition's log, its consumer and its actor, with everything that can go wrong between them at a rebalance."""

    def __init__(self) -> None:
        self.log: list[int] = []
        self.end = self.position = self.committed = 0
        self.offsets = PartitionOffsets.starting_at(0)
        self.batch: list[int] = []
        self.on_the_way: list[int] = []
        self.in_window: list[int] = []
        self.acked: set[int] = set()
        self.processed: list[int] = []

    def append(self, number: int) -> None:
        """Produce a record after `number` % 3 offsets that do not exist."""
        self.log.append(self.end + number % 3)
        self.end = self.log[-1] + 1

    def fetch(self, number: int) -> None:
        """Fetch up to `number` + 1 records where the last fetch is used up."""
        if not self.batch:
            first = bisect.bisect_left(self.log, self.position)
            self.batch = self.log[first : first + number + 1]
            self.position = self.batch[-1] + 1 if self.batch else self.position

    def deliver(self, number: int) -> None:
        """Hand up to `number` + 1 fetched records on, whatever was sought in between."""
        for _ in range(min(number + 1, len(self.batch))):
            offset = self.batch.pop(0)
            verdict = self.offsets.fetched(offset)
            if verdict == "resync":
                self.batch, self.position = [], self.offsets.expected
                return
            if verdict != "drop":
                self.on_the_way.append(offset)

    def lose(self, number: int) -> None:
        """Let a record die between the consumer and the actor."""
        if self.on_the_way:
            self.on_the_way.pop(number % len(self.on_the_way))

    def act(self, number: int) -> None:
        """Let the actor take up to `number` + 1 records."""
        for _ in range(min(number + 1, len(self.on_the_way))):
            offset = self.on_the_way.pop(0)
            verdict = self.offsets.arrived(offset)
            if verdict == "rewind":
                self.position = self.offsets.expected
            elif verdict != "drop":
                self.processed.append(offset)
                self.in_window.append(offset)

    def ack(self, number: int) -> None:
        """Acknowledge any record in the window, as Faust's `ack` books it."""
        if self.in_window:
            offset = self.in_window.pop(number % len(self.in_window))
            if offset >= self.committed:
                self.acked.add(offset)

    def commit(self, _: int) -> None:
        """Commit, and check that nothing unprocessed or unacknowledged lies before it."""
        offset = committable(self.offsets, self.committed, self.acked)
        if offset is not None:
            assert offset > self.committed
            before = set(self.log[bisect.bisect_left(self.log, self.committed) : bisect.bisect_left(self.log, offset)])
            assert before <= self.acked
            self.committed = offset
            self.acked = {acked for acked in self.acked if acked >= offset}

    def rebalance(self, number: int) -> None:
        """Seek back to the commit; the running fetch goes on, and what is on the way dies or not."""
        self.offsets = PartitionOffsets.starting_at(self.committed)
        self.position = self.committed
        self.acked.clear()
        if number % 2:
            self.on_the_way.clear()

    def calm_down(self) -> None:
        """Let everything run without loss, longer than it needs, and traffic go on with one more record."""
        self.append(0)
        for _ in range(3 * len(self.log) + 10):
            self.fetch(9)
            self.deliver(9)
            self.act(9)
        while self.in_window:
            self.ack(0)
        self.commit(0)


ACTIONS = ("append", "append", "fetch", "deliver", "deliver", "lose", "act", "act", "ack", "commit", "rebalance")


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 9)), min_size=50, max_size=100))
def test_whatever_happens_every_record_is_processed_in_order(history: list[tuple[str, int]]) -> None:
    """Stale fetches, lost records and seeks back lose nothing: all is processed, in order, and committed only then."""
    worker = Worker()
    for action, number in history:
        getattr(worker, action)(number)
    worker.calm_down()
    assert list(dict.fromkeys(worker.processed)) == worker.log
    assert worker.committed == worker.end


def message(offset: int) -> Message:
    """Make a record of the clickstream."""
    return Message(CLICKS.topic, CLICKS.partition, offset, 0.0, 0, None, b"v", b"{}", None)


class FakeConsumer:
    """The part of Faust's consumer that the mix-in builds on; `batches` are what the next fetches give."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.commits: dict[TP, int | None] = {}
        self.ends: dict[TP, int] = defaultdict(lambda: 1000)
        self.batches: list[list[tuple[TP, int]]] = []
        self.sought: list[dict[TP, int]] = []
        self.acked_late: list[tuple[TP, int]] = []
        self._read_offset: dict[TP, int | None] = defaultdict(lambda: None)
        self._committed_offset: dict[TP, int | None] = defaultdict(lambda: None)
        self._acked: dict[TP, list[int]] = defaultdict(list)
        self._acked_index: dict[TP, set[int]] = defaultdict(set)
        self._gap: dict[TP, set[int]] = defaultdict(set)
        self._unacked_messages: set[Message] = set()
        self._commit_fut: asyncio.Future[None] | None = None
        self.flushed = asyncio.Event()
        self.flushed.set()
        self.flow_active = True
        self.is_rebalancing = False
        self.read_to: int | None = None
        self.value = b""
        self._futures: list[Awaitable[None]] = []

    def add_future(self, work: Awaitable[None]) -> None:
        """Take note of what shall run beside."""
        self._futures.append(work)

    async def in_background(self) -> None:
        """Run what shall run beside."""
        while self._futures:
            await self._futures.pop()

    def assignment(self) -> set[TP]:
        """Return the partitions that have an entry in `commits`."""
        return set(self.commits)

    async def perform_seek(self) -> None:
        """Take over the commits, as Faust does."""
        self._read_offset.update(self.commits)
        self._committed_offset.update({tp: offset or None for tp, offset in self.commits.items() if offset is not None})

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109
        """Yield the next batch."""
        assert timeout > 0
        for tp, offset in self.batches.pop(0):
            yield tp, SimpleNamespace(tp=tp, offset=offset, value=self.value)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Note where it was sought."""
        self.sought.append(dict(partitions))

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Begin every partition at 40."""
        return dict.fromkeys(partitions, 40)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the ends."""
        return {tp: self.ends[tp] for tp in partitions}

    def highwater(self, tp: TP) -> int:
        """Return the end."""
        return self.ends[tp]

    async def _offsets_since(self, times_ms: Mapping[TP, int]) -> dict[TP, int]:
        """Find a record a second, of the first 100 s of all time; nothing after that."""
        return {tp: ms // 1000 for tp, ms in times_ms.items() if ms < 100_000}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Take a commit, unless the group is being rebalanced."""
        if self.is_rebalancing:
            return False
        self.commits.update(offsets)
        return True

    def _read_to(self, _tp: TP) -> int | None:
        return self.read_to

    async def commit(self) -> bool:
        """Commit what is pending, once all that was sent is flushed; where a commit is under way, only wait for it."""
        if await self.maybe_wait_for_commit_to_finish():
            return False
        self._commit_fut = asyncio.get_running_loop().create_future()
        pending = {tp: self._new_offset(tp) for tp in list(self._filter_tps_with_pending_acks())}  # type: ignore[attr-defined]
        await self.flushed.wait()
        self.commits.update({tp: offset for tp, offset in pending.items() if offset is not None})
        self._committed_offset.update(self.commits)
        self._commit_fut.set_result(None)
        self._commit_fut = None
        return True

    async def maybe_wait_for_commit_to_finish(self) -> bool:
        """Wait for a commit that is under way; True where there was one."""
        if self._commit_fut is None:
            return False
        await self._commit_fut
        return True

    def _filter_tps_with_pending_acks(self) -> list[TP]:
        return list(self._acked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begin the recovery, as Faust does."""

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget the books, wait for what is in flight, and commit for the last time, as Faust does."""
        for tp in revoked:
            for booked in (self._committed_offset, self._acked, self._acked_index):
                booked.pop(tp, None)  # type: ignore[attr-defined]
        for tp, offset in self.acked_late:
            self.ack(tp, offset)
        await self.commit()

    def ack(self, tp: TP, *offsets: int) -> None:
        """Book acknowledgements."""
        self._acked[tp] += offsets
        self._acked_index[tp] |= set(offsets)

    def _is_changelog_tp(self, tp: TP) -> bool:
        return tp == CHANGELOG


class Consumer(ContiguousConsumer, FakeConsumer):  # type: ignore[misc]
    """The mix-in over the fake."""

    async def offsets(self, *found: int, tp: TP = CLICKS) -> list[int]:
        """Fetch one batch and give the offsets that pass."""
        self.batches.append([(tp, offset) for offset in found])
        return [message.offset async for _, message in self.getmany(1.0)]


@pytest.fixture
def consumer() -> Consumer:
    """Make a consumer that is assigned one partition, committed at 5."""
    aborted: list[BaseException] = []
    app = SimpleNamespace(
        delivery_metrics=DeliveryMetrics(CollectorRegistry()),
        topics=SimpleNamespace(acks_enabled_for=lambda topic: topic in {"clicks", "control", "changelog"}),
        tables=SimpleNamespace(changelog_topics={"changelog"}),
        first_starts={},
        claims=lambda _changelog: 1,
        abort=aborted.append,
        aborted=aborted,
    )
    consumer = Consumer(app)
    consumer.commits = {CLICKS: 5}
    return consumer


def counted(consumer: Consumer, where: str) -> float:
    """Read how many fetches were repeated."""
    return float(consumer.app.delivery_metrics.resyncs.labels(where=where)._value.get())


def gaps(consumer: Consumer) -> dict[str, float]:
    """Read the confirmed gaps, by why."""
    counter = consumer.app.delivery_metrics.offset_gaps
    return {reason: counter.labels(reason=reason)._value.get() for reason in get_args(GapReason)}


async def test_a_seek_expects_the_commit_and_clears_the_books(consumer: Consumer) -> None:
    """After a seek nothing that was acknowledged or booked before counts."""
    consumer._acked[CLICKS], consumer._acked_index[CLICKS], consumer._gap[CLICKS] = [9], {9}, {9}
    await consumer.perform_seek()
    assert consumer.next_offset(CLICKS) == 5
    assert (consumer._acked[CLICKS], consumer._acked_index[CLICKS], consumer._gap[CLICKS]) == ([], set(), set())
    assert consumer.committed_offsets() == {CLICKS: 5}
    assert consumer.app.aborted == []


async def test_nothing_passes_before_the_seek(consumer: Consumer) -> None:
    """What is fetched between assignment and seek is left to the seek: it would be answered twice; changelogs pass."""
    assert await consumer.offsets(5, 6) == []
    assert await consumer.offsets(1, 2, tp=CHANGELOG) == [1, 2]
    await consumer.perform_seek()
    assert await consumer.offsets(5, 6) == [5, 6]


async def test_a_changelog_with_an_undecodable_record_ends_the_worker(consumer: Consumer) -> None:
    """The table would take the bytes for a state."""
    consumer.value = MarkedValue(b"", Undecodable("damaged"))
    await consumer.offsets(7, tp=CHANGELOG)
    (error,) = consumer.app.aborted
    assert isinstance(error, StateUnreadableError)
    assert str(error).startswith("topic changelog partition 0 offset 7 cannot be decoded (damaged): ")


async def test_a_fetch_in_a_rebalance_does_not_seek(consumer: Consumer) -> None:
    """Where the flow is stopped, the seek at the end of the rebalance counts: no late one brings back what is done."""
    await consumer.perform_seek()
    await consumer.offsets(5, 6)
    consumer.flow_active = False
    consumer.commits[CLICKS] = 0
    await consumer.perform_seek()
    assert consumer.committed_offsets() == {CLICKS: 5}
    assert await consumer.offsets(7) == [7]
    assert consumer.sought == [{CLICKS: 5}]


async def test_a_recovery_that_a_rebalance_overtakes_does_not_seek(consumer: Consumer) -> None:
    """It resumes the flow between revocation and assignment; what it found would be answered before the true seek."""
    await consumer.on_partitions_revoked(set())
    await consumer.perform_seek()
    assert consumer.sought == []
    assert await consumer.offsets(5, 6) == []
    await consumer.on_partitions_assigned({CLICKS})
    await consumer.perform_seek()
    assert await consumer.offsets(5, 6) == [5, 6]


async def test_a_seek_without_an_offset_begins_the_recovery_anew(consumer: Consumer) -> None:
    """Faust meets partitions that a rebalance gave us during a recovery; aiokafka refuses, and the worker would end."""
    with pytest.raises(IllegalStateError, match="changelog"):
        await consumer.seek_wait({CLICKS: 5, CHANGELOG: None})
    assert consumer.sought == []


async def test_what_is_fetched_during_the_seek_is_sought_again(consumer: Consumer) -> None:
    """Nothing passes before it is known what to expect, so the last seek comes after that."""
    other = TP("clicks", 1)
    consumer.commits = {CLICKS: 5, other: None}
    log = {CLICKS: [5, 6, 7], other: [40, 41]}
    begun, beginnings = consumer.perform_seek(), consumer.earliest_offsets

    async def fetch_meanwhile(*partitions: TP) -> Mapping[TP, int]:
        assert await consumer.offsets(*log[CLICKS]) == []
        return await beginnings(*partitions)

    consumer.earliest_offsets = fetch_meanwhile  # type: ignore[method-assign]
    await begun
    assert consumer.sought == [{CLICKS: 5, other: 40}]
    for tp, offset in consumer.sought[-1].items():
        assert await consumer.offsets(*(one for one in log[tp] if one >= offset), tp=tp) == log[tp]


async def test_what_a_kept_partition_passed_during_the_seek_passes_again(consumer: Consumer) -> None:
    """What was dropped as old by the expectation of before the rebalance comes after the last seek."""
    await consumer.perform_seek()
    await consumer.offsets(5, 6, 7)
    ends = consumer.highwaters

    async def fetch_meanwhile(*partitions: TP) -> Mapping[TP, int]:
        assert await consumer.offsets(5, 6, 7, 8) == [5, 6, 7, 8]
        return await ends(*partitions)

    consumer.highwaters = fetch_meanwhile  # type: ignore[method-assign]
    await consumer.perform_seek()
    assert consumer.sought == [{CLICKS: 5}] * 2


async def test_a_stale_fetch_after_the_seek_does_not_pass(consumer: Consumer) -> None:
    """A stale batch passes nothing, seeks back once and is counted; the fresh one passes."""
    await consumer.perform_seek()
    assert await consumer.offsets(20, 21, 22) == []
    assert consumer.sought == [{CLICKS: 5}] * 2
    assert consumer._read_offset[CLICKS] == 5
    assert await consumer.offsets(4, 5, 6) == [5, 6]
    assert counted(consumer, "consumer") == 1


async def test_a_confirmed_jump_passes_and_is_counted_as_deleted(consumer: Consumer) -> None:
    """A hole that the second fetch shows again is passed; where the log begins behind it, its records were deleted."""
    await consumer.perform_seek()
    assert await consumer.offsets(40) == []
    assert await consumer.offsets(40, 41) == [40, 41]
    await consumer.in_background()
    assert gaps(consumer) == {"deleted": 1, "no_record": 0, "unknown": 0}


async def test_a_transactions_marker_is_no_deletion(consumer: Consumer) -> None:
    """A hole within the log never held a record for us: nobody has to be woken."""
    consumer.commits = {CLICKS: 50}
    await consumer.perform_seek()
    assert await consumer.offsets(52) == []
    assert await consumer.offsets(52) == [52]
    await consumer.in_background()
    assert gaps(consumer) == {"deleted": 0, "no_record": 1, "unknown": 0}


async def test_a_gap_is_counted_where_the_brokers_do_not_answer(consumer: Consumer) -> None:
    """That nobody can say why there is a gap ends nothing, and the gap counts."""

    async def away(*_: TP) -> Mapping[TP, int]:
        raise TimeoutError

    await consumer.perform_seek()
    consumer.earliest_offsets = away  # type: ignore[method-assign]
    assert await consumer.offsets(8) == []
    assert await consumer.offsets(8) == [8]
    await consumer.in_background()
    assert gaps(consumer) == {"deleted": 0, "no_record": 0, "unknown": 1}


async def test_other_partitions_pass_while_one_is_fetched_again(consumer: Consumer) -> None:
    """A jump on one partition does not hold up another one, nor a changelog."""
    other = TP("clicks", 1)
    consumer.commits[other] = 7
    await consumer.perform_seek()
    consumer.batches = [[(CLICKS, 20), (other, 7), (CLICKS, 21), (CHANGELOG, 99)]]
    assert [(tp, message.offset) async for tp, message in consumer.getmany(1.0)] == [(other, 7), (CHANGELOG, 99)]


async def test_a_partition_without_a_commit_starts_at_its_beginning(consumer: Consumer) -> None:
    """Without a commit the beginning is sought and expected, and commits count from there."""
    consumer.commits = {CLICKS: None}
    await consumer.perform_seek()
    assert consumer.sought == [{CLICKS: 40}]
    assert consumer.next_offset(CLICKS) == 40
    assert consumer.committed_offsets() == {CLICKS: 40}
    consumer._acked_index[CLICKS] = {41}
    assert consumer._new_offset(CLICKS) is None
    consumer._acked_index[CLICKS] = {40, 41}
    assert consumer._new_offset(CLICKS) == 42


@pytest.mark.parametrize(
    ("start", "offset"),
    [
        ("latest", 1000),
        (datetime.fromtimestamp(60, UTC), 60),
        (datetime.fromtimestamp(200, UTC), 1000),
    ],
)
async def test_a_first_start_that_is_not_the_beginning_is_committed_before_a_record_passes(
    consumer: Consumer, start: FirstStart, offset: int
) -> None:
    """A worker that dies at once has decided: the next one begins there, whatever has come since."""
    consumer.app.first_starts = {"clicks": start}
    control = TP("control", 0)
    consumer.commits, consumer.ends[CHANGELOG] = {CLICKS: None, control: None}, 1  # our own claim
    await consumer.perform_seek()
    assert consumer.sought == [{control: 40, CLICKS: offset}]
    assert consumer.commits == {CLICKS: offset, control: None}
    assert consumer.committed_offsets() == {CLICKS: offset, control: 40}
    consumer.ends[CLICKS] += 100
    await consumer.perform_seek()
    assert consumer.next_offset(CLICKS) == offset


async def test_a_start_that_the_group_does_not_take_is_decided_after_the_rebalance(consumer: Consumer) -> None:
    """Until then nothing of the partition passes."""
    consumer.app.first_starts = {"clicks": "latest"}
    consumer.commits, consumer.ends[CHANGELOG], consumer.is_rebalancing = {CLICKS: None}, 0, True
    await consumer.perform_seek()
    assert consumer.next_offset(CLICKS) is None
    assert await consumer.offsets(1000) == []
    consumer.is_rebalancing, consumer.ends[CLICKS] = False, 1001
    await consumer.perform_seek()
    assert await consumer.offsets(1001) == [1001]


async def test_lost_commits_are_no_first_start(consumer: Consumer) -> None:
    """Where there is state and no input has a commit, the group was away too long: all that is there is read."""
    consumer.app.first_starts = {"clicks": "latest"}
    consumer.commits, consumer.ends[CHANGELOG] = {CLICKS: None}, 7
    await consumer.perform_seek()
    assert (consumer.sought, consumer.commits) == ([{CLICKS: 40}], {CLICKS: None})


async def test_a_topic_that_joins_a_running_deployment_has_its_first_start(consumer: Consumer) -> None:
    """There is state, and another input has a commit: it is this topic that is new."""
    consumer.app.first_starts = {"clicks": "latest"}
    consumer.commits, consumer.ends[CHANGELOG] = {CLICKS: None, TP("control", 0): 3}, 7
    await consumer.perform_seek()
    assert consumer.next_offset(CLICKS) == 1000


async def test_a_commit_at_zero_is_a_commit(consumer: Consumer) -> None:
    """Offset 0 is sought and expected, not the beginning."""
    consumer.commits = {CLICKS: 0}
    await consumer.perform_seek()
    assert (consumer.sought, consumer.next_offset(CLICKS)) == ([{CLICKS: 0}], 0)


@pytest.mark.parametrize(("end", "is_aborted"), [(4, True), (5, False), (6, False)])
async def test_an_end_below_the_commit_stops_the_worker(consumer: Consumer, end: int, *, is_aborted: bool) -> None:
    """A topic that ends before the committed offset is another topic; the message says which and where."""
    consumer.ends[CLICKS] = end
    await consumer.perform_seek()
    assert bool(consumer.app.aborted) is is_aborted
    for error in consumer.app.aborted:
        assert isinstance(error, TopicChangedError)
        assert "topic clicks partition 0 ends at offset 4, but offset 5" in str(error)


async def test_changelogs_are_not_judged(consumer: Consumer) -> None:
    """Recovery reads changelogs wherever it likes."""
    consumer.commits = {CHANGELOG: 3}
    await consumer.perform_seek()
    assert consumer.next_offset(CHANGELOG) is None
    assert await consumer.offsets(90, 10, tp=CHANGELOG) == [90, 10]


async def test_the_actor_confirms_what_reached_it(consumer: Consumer) -> None:
    """A record behind a lost one is refused and the lost one sought; replays are let through."""
    await consumer.perform_seek()
    messages = {offset: message(offset) for offset in range(5, 8)}
    await consumer.offsets(5, 6, 7)
    assert [await consumer.arrived(messages[offset]) for offset in (5, 7)] == [True, False]
    assert consumer.sought[-1] == {CLICKS: 6}
    assert counted(consumer, "actor") == 1
    assert await consumer.offsets(6, 7) == [6, 7]
    assert [await consumer.arrived(messages[offset]) for offset in (6, 7, 5)] == [True, True, True]
    assert consumer.next_offset(CLICKS) == 8


async def test_nobody_waits_for_what_the_actor_did_not_take(consumer: Consumer) -> None:
    """A rebalance, or the end of the worker, waits for what is in work; a refused record is not, and comes again."""
    await consumer.perform_seek()
    await consumer.offsets(5, 6)
    taken, refused = message(5), message(6)
    consumer._unacked_messages |= {taken, refused}
    assert await consumer.arrived(taken)
    await consumer.perform_seek()
    assert not await consumer.arrived(refused)
    assert consumer._unacked_messages == {taken}


async def test_a_commit_never_passes_a_missing_head(consumer: Consumer) -> None:
    """The mix-in's `_new_offset` gives nothing while the committed offset itself is not acknowledged."""
    await consumer.perform_seek()
    consumer._acked_index[CLICKS] = {3, 6, 7}
    assert consumer._new_offset(CLICKS) is None
    assert consumer._acked[CLICKS] == [6, 7]
    consumer._acked_index[CLICKS].add(5)
    assert consumer._new_offset(CLICKS) == 8


async def test_a_jump_books_no_gap(consumer: Consumer) -> None:
    """Faust's own gap on a jump, which counts as acknowledged, is not booked."""
    await consumer.perform_seek()
    await consumer._add_gap(CLICKS, 5, 9)
    assert consumer._gap[CLICKS] == set()
    assert consumer._new_offset(CLICKS) is None


@pytest.mark.parametrize(("read_to", "end"), [(None, 8), (7, 8), (8, 7)])
async def test_a_marker_behind_the_last_record_is_not_owed(consumer: Consumer, read_to: int | None, end: int) -> None:
    """When all up to the end is read, the end is where the records end; before that nobody knows what comes."""
    consumer.ends[CLICKS], consumer.read_to = 8, read_to
    assert consumer.highwater(CLICKS) == 8
    await consumer.perform_seek()
    await consumer.offsets(5, 6)
    assert consumer.highwater(CLICKS) == end


async def test_a_seek_that_a_rebalance_overtakes_expects_nothing(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it found is of the assignment before: with it records would pass before the seek of the next one."""
    find_commits = FakeConsumer.perform_seek

    async def overtaken(fake: FakeConsumer) -> None:
        await find_commits(fake)
        await consumer.on_partitions_revoked({CLICKS})

    monkeypatch.setattr(FakeConsumer, "perform_seek", overtaken)
    await consumer.perform_seek()
    assert consumer.next_offset(CLICKS) is None
    assert consumer.sought == []
    assert await consumer.offsets(5, 6) == []


async def test_a_revoked_partition_is_forgotten(consumer: Consumer) -> None:
    """A partition that went away is neither committed nor expected; its late records pass unjudged to be replayed."""
    await consumer.perform_seek()
    await consumer.on_partitions_revoked({CLICKS})
    consumer._acked_index[CLICKS] = {5}
    assert consumer.next_offset(CLICKS) is None
    assert consumer._new_offset(CLICKS) is None
    assert consumer.committed_offsets() == {}


async def test_revocation_commits_what_is_acknowledged_until_the_last_moment(consumer: Consumer) -> None:
    """Faust forgets its books before its last commit; the next owner still replays nothing that was acknowledged."""
    consumer.commits[CLICKS] = 40
    await consumer.perform_seek()
    await consumer.offsets(40, 41, 42, 43)
    consumer.ack(CLICKS, 40, 41)
    consumer.acked_late = [(CLICKS, 42)]
    await consumer.on_partitions_revoked({CLICKS})
    assert consumer.commits[CLICKS] == 43
    assert consumer.next_offset(CLICKS) is None


async def test_revocation_commits_what_was_acknowledged_during_a_commit(consumer: Consumer) -> None:
    """A commit that the timer has begun does not stand for the last one, which nothing acknowledged may miss."""
    consumer.commits[CLICKS] = 40
    await consumer.perform_seek()
    await consumer.offsets(40, 41, 42, 43)
    consumer.ack(CLICKS, 40)
    consumer.flushed.clear()
    timer = asyncio.ensure_future(consumer.commit())
    await asyncio.sleep(0)
    consumer.ack(CLICKS, 41, 42)
    revocation = asyncio.ensure_future(consumer.on_partitions_revoked({CLICKS}))
    await asyncio.sleep(0)
    consumer.flushed.set()
    await asyncio.gather(timer, revocation)
    assert consumer.commits[CLICKS] == 43


async def test_a_commit_takes_in_what_came_after_one_that_is_under_way(consumer: Consumer) -> None:
    """So the last one of a stop misses nothing."""
    consumer.commits[CLICKS] = 40
    await consumer.perform_seek()
    await consumer.offsets(40, 41)
    consumer.ack(CLICKS, 40)
    consumer.flushed.clear()
    timer = asyncio.ensure_future(consumer.commit())
    await asyncio.sleep(0)
    consumer.ack(CLICKS, 41)
    last = asyncio.ensure_future(consumer.commit())
    await asyncio.sleep(0)
    consumer.flushed.set()
    await asyncio.gather(timer, last)
    assert consumer.commits[CLICKS] == 42


async def test_only_the_partitions_of_a_topic_are_committed_where_it_is_named(consumer: Consumer) -> None:
    """Topics and partitions may be named, as Faust allows; without, all are meant."""
    await consumer.perform_seek()
    for named in (None, {"clicks"}, {CLICKS}):
        assert list(consumer._filter_tps_with_pending_acks(named)) == [CLICKS]
    assert list(consumer._filter_tps_with_pending_acks({"other"})) == []


async def test_last_record_lost_on_the_way_is_fetched_again(consumer: Consumer) -> None:
    """A record that nothing follows and that never reached the actor is fetched again at a standstill."""
    consumer.commits[CLICKS] = 40
    await consumer.perform_seek()
    await consumer.offsets(40)
    await consumer.refetch_lost(CLICKS)
    assert consumer.sought[-1] == {CLICKS: 40}
    assert await consumer.offsets(40) == [40]


async def test_partition_with_nothing_on_the_way_is_left_alone(consumer: Consumer) -> None:
    """A partition that stands still because nobody clicks is not sought."""
    consumer.commits[CLICKS] = 40
    await consumer.perform_seek()
    sought = list(consumer.sought)
    await consumer.refetch_lost(CLICKS)
    assert consumer.sought == sought
