import asyncio
import bisect
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from aiokafka.errors import IllegalStateError
from aiokafka.structs import ConsumerRecord
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from streams.cluster.topics import TopicChangedError
from streams.delivery.first_start import FirstStart
from streams.delivery.record_batches import MarkedValue
from streams.delivery.runs import MAX_RECORDS, Run, runs_of
from streams.delivery.strict import ContiguousConsumer, PartitionOffsets, StateUnreadableError
from streams.metrics import DeliveryMetrics, GapReason
from streams.records import Undecodable

CLICKS = TP("clicks", 0)
CHANGELOG = TP("changelog", 0)


def as_run(found: int | range) -> range:
    """Take a single record for a run of one."""
    return found if isinstance(found, range) else range(found, found + 1)


def fetch(offsets: PartitionOffsets, *found: int | range) -> list[str]:
    """Judge a batch at the consumer."""
    return [offsets.fetched(as_run(one)) for one in found]


def committable(offsets: PartitionOffsets, committed: int | None, acked: set[int]) -> int | None:
    """Take over what Faust has committed, acknowledge, and ask what may be committed."""
    offsets.book(committed)
    for offset in acked:
        offsets.acknowledge(offset)
    return offsets.committable()


def arrive(offsets: PartitionOffsets, *found: int | range) -> list[str]:
    """Judge records at the actor."""
    return [offsets.arrived(as_run(one)) for one in found]


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


def test_runs_that_follow_each_other_pass_and_are_processed() -> None:
    """A run passes as a whole, and what is expected next lies behind its end."""
    offsets = PartitionOffsets.starting_at(5)
    assert fetch(offsets, range(5, 8), 8, range(9, 20)) == ["pass"] * 3
    assert offsets.expected == 20
    assert arrive(offsets, range(5, 8), 8, range(9, 20)) == ["process"] * 3
    assert offsets.at_actor == 20


def test_a_stale_run_after_a_seek_is_fetched_again() -> None:
    """No record of a run from before the seek passes, and what it hid comes from the fresh fetch."""
    offsets = PartitionOffsets.starting_at(5)
    assert fetch(offsets, range(20, 30)) == ["resync"]
    assert offsets.expected == 5
    assert fetch(offsets, range(5, 30)) == ["pass"]
    assert (offsets.expected, offsets.skipped) == (30, {})


@pytest.mark.parametrize("confirmed", [range(8, 12), range(8, 9), range(8, 20)], ids=["as long", "shorter", "longer"])
def test_a_run_whose_head_is_missing_passes_when_a_second_fetch_begins_with_it_too(confirmed: range) -> None:
    """What a head was is not known: it is its first offset that a second fetch must show, however far that reaches."""
    offsets = PartitionOffsets.starting_at(5)
    assert fetch(offsets, range(8, 12)) == ["resync"]
    assert fetch(offsets, confirmed, confirmed.stop) == ["skip", "pass"]
    assert offsets.skipped == {5: 8}
    assert arrive(offsets, confirmed, confirmed.stop) == ["process"] * 2
    assert committable(offsets, 5, set(confirmed)) == confirmed.stop


@pytest.mark.parametrize("other", [range(7, 12), range(9, 12)], ids=["earlier", "later"])
def test_a_run_that_begins_elsewhere_confirms_no_jump(other: range) -> None:
    """Though the two have records in common, either may lack its head."""
    offsets = PartitionOffsets.starting_at(5)
    assert fetch(offsets, range(8, 12), other, other) == ["resync", "resync", "skip"]
    assert offsets.skipped == {5: other.start}


def test_of_a_run_whose_head_has_passed_the_rest_passes() -> None:
    """A seek may lie in the middle of what was one run before; a run that has passed to its end is dropped."""
    offsets = PartitionOffsets.starting_at(8)
    assert fetch(offsets, range(5, 8), range(5, 12), range(5, 12), range(9, 12)) == ["drop", "pass", "drop", "drop"]
    assert (offsets.expected, offsets.skipped) == (12, {})


def test_the_rest_of_a_run_settles_a_jump() -> None:
    """After the missing record has come, be it within a run, the same jump must be confirmed anew."""
    offsets = PartitionOffsets.starting_at(5)
    assert fetch(offsets, range(8, 10), range(3, 6), range(8, 10)) == ["resync", "pass", "resync"]


FOUND = st.builds(lambda first, count: range(first, first + count), st.integers(0, 20), st.integers(1, 4))


@given(st.lists(FOUND, max_size=20))
def test_a_fetched_run_is_judged_as_its_records_are(found: list[range]) -> None:
    """One by one they give the same verdict and the same is expected next; what lies behind a seek is not looked at."""
    whole, one_by_one = PartitionOffsets.starting_at(5), PartitionOffsets.starting_at(5)
    for run in found:
        verdicts = []
        for offset in run:
            verdicts.append(one_by_one.fetched(as_run(offset)))
            if verdicts[-1] == "resync":
                break
        assert whole.fetched(run) == next((verdict for verdict in verdicts if verdict != "drop"), "drop")
        assert whole == one_by_one


def test_a_run_lost_before_the_actor_comes_again_and_what_was_behind_it_dies_whole() -> None:
    """The actor rewinds once; no record of the runs that the rewind overtook is taken, whatever their length."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, range(5, 8), range(8, 12), range(12, 20), 20)
    assert arrive(offsets, range(8, 12), range(12, 20), 20) == ["rewind", "drop", "drop"]
    assert (offsets.expected, offsets.at_actor) == (5, 5)
    assert fetch(offsets, range(5, 21)) == ["pass"]
    assert arrive(offsets, range(5, 21)) == ["process"]
    assert offsets.at_actor == 21


def test_a_run_that_dies_again_is_fetched_again() -> None:
    """Runs may be cut otherwise after a rewind: one that begins where no overtaken one can rewinds once more."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, range(5, 8), range(8, 12), range(12, 16))
    assert arrive(offsets, range(8, 12)) == ["rewind"]
    fetch(offsets, range(5, 16), range(16, 18))
    assert arrive(offsets, range(16, 18)) == ["rewind"]
    assert offsets.expected == 5


@pytest.mark.parametrize(("refused", "first"), [([range(8, 12)], 10), ([range(8, 12), range(12, 16)], 14)])
def test_a_run_that_begins_within_one_that_was_refused_is_not_overtaken(refused: list[range], first: int) -> None:
    """What was refused was refused to its end, be it at the rewind or after it: nothing of it is on its way."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, range(5, 8), range(8, 12), range(12, 16))
    assert arrive(offsets, *refused)[0] == "rewind"
    fetch(offsets, range(5, first), range(first, 20))
    assert arrive(offsets, range(first, 20)) == ["rewind"]


def test_a_run_is_overtaken_once() -> None:
    """Where the missing runs are lost again, one that was dropped before rewinds once more."""
    offsets = PartitionOffsets.starting_at(5)
    found = (range(5, 8), range(8, 12), range(12, 16))
    fetch(offsets, *found)
    assert arrive(offsets, *found[1:]) == ["rewind", "drop"]
    fetch(offsets, *found)
    assert arrive(offsets, found[2]) == ["rewind"]


def test_what_comes_to_the_actor_from_before_a_seek_rewinds_once() -> None:
    """Until something has passed since, all that comes is of before it, wherever it lies."""
    offsets = PartitionOffsets.starting_at(5)
    assert arrive(offsets, range(20, 25), range(25, 30), 30) == ["rewind", "drop", "drop"]
    fetch(offsets, range(5, 31))
    assert arrive(offsets, range(5, 31)) == ["process"]


def test_a_run_that_looks_overtaken_is_dropped_and_the_next_one_rewinds() -> None:
    """A new run may begin where a stale one would, and reach farther: it comes again with the one that is missing."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, range(5, 8), range(8, 12), range(12, 16))
    assert arrive(offsets, range(8, 12)) == ["rewind"]
    fetch(offsets, range(5, 12), range(12, 18), range(18, 20))
    assert arrive(offsets, range(12, 18), range(18, 20)) == ["drop", "rewind"]
    assert offsets.expected == 5


def test_a_run_that_looks_overtaken_and_is_the_last_is_not_lost() -> None:
    """Where nothing follows it, the standstill brings it back."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, range(5, 8), range(8, 12), range(12, 16))
    assert arrive(offsets, range(8, 12)) == ["rewind"]
    fetch(offsets, range(5, 12), range(12, 18))
    assert arrive(offsets, range(12, 18)) == ["drop"]
    assert offsets.lost_on_the_way() == 5
    assert offsets.lost_on_the_way() is None


def test_slices_of_a_run_are_judged_one_after_another() -> None:
    """The actor confirms what it takes in at one go, which may be less than what came as one run."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, range(5, 15), range(15, 20))
    assert arrive(offsets, range(5, 9), range(9, 13)) == ["process"] * 2
    assert offsets.at_actor == 13
    assert arrive(offsets, range(15, 17)) == ["rewind"]
    assert (offsets.expected, offsets.at_actor) == (13, 13)
    fetch(offsets, range(13, 20))
    assert arrive(offsets, range(13, 17), range(17, 20)) == ["process"] * 2


def test_a_slice_that_was_processed_is_told_from_one_that_was_in_part() -> None:
    """What reaches over the end of what was processed is new; the actor has the same records again before it."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, range(5, 15))
    assert arrive(offsets, range(5, 9), range(5, 9), range(6, 8), range(7, 12)) == [
        "process",
        "redelivery",
        "redelivery",
        "process",
    ]
    assert offsets.at_actor == 12


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_missing_head_is_never_committed_over(width: int) -> None:
    """A gap at the head holds the commit back, one record wide or more (faust-streaming/faust#606)."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, range(5, 20))
    acked = set(range(5 + width, 20))
    assert committable(offsets, 5, acked) is None
    assert committable(offsets, 5, acked | set(range(5, 5 + width))) == 20


def test_a_commit_ends_before_the_first_missing_offset() -> None:
    """All that is contiguous is committed, and nothing behind it."""
    assert committable(PartitionOffsets.starting_at(5), 5, {5, 6, 8, 9}) == 7


def test_nothing_acked_gives_no_commit() -> None:
    """Without an acknowledgement there is nothing to commit."""
    assert committable(PartitionOffsets.starting_at(5), 5, set()) is None


def test_what_lies_below_the_commit_is_not_booked() -> None:
    """An acknowledgement that comes late changes nothing, and what is committed is forgotten."""
    offsets = PartitionOffsets.starting_at(5)
    for offset in (3, 4, 5, 6, 9):
        offsets.acknowledge(offset)
    assert offsets.acked == {5, 6, 9}
    assert committable(offsets, 7, {6}) is None
    assert (offsets.committed, offsets.acked) == (7, {9})


@pytest.mark.parametrize("committed", [None, 0, 4, 5])
def test_a_commit_that_is_no_progress_changes_nothing(committed: int | None) -> None:
    """Faust knows of none until the first, and of none any more once a partition is revoked."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, range(7, 9), range(7, 9))
    assert committable(offsets, committed, {7, 8}) == 9
    assert (offsets.committed, offsets.acked, offsets.skipped) == (5, {7, 8}, {5: 7})


def test_a_commit_goes_over_offsets_that_do_not_exist() -> None:
    """Confirmed holes count as done, at the head and in the middle, also after an earlier commit."""
    offsets = PartitionOffsets.starting_at(5)
    fetch(offsets, 7, 7, 8, 11, 11)
    assert committable(offsets, 5, {7}) == 8
    assert committable(offsets, 8, {8, 11}) == 12
    assert committable(offsets, 12, set()) is None
    assert offsets.skipped == {}


def record(offset: int, tp: TP = CLICKS, value: bytes = b"{}") -> Any:
    """Make a record as aiokafka gives it."""
    return ConsumerRecord(tp.topic, tp.partition, offset, 1000 * offset, 0, b"v", value, None, 1, len(value), ())


def runs(*offsets: int, tp: TP = CLICKS, longest: int = MAX_RECORDS) -> list[Run]:
    """Cut a fetch of these offsets into runs, no longer than that."""
    parts = (offsets[at : at + longest] for at in range(0, len(offsets), longest))
    return [run for part in parts for run in runs_of([record(offset, tp) for offset in part])]


class Worker:
    """A partition's log, its consumer and its actor, with everything that can go wrong between them at a rebalance."""

    def __init__(self) -> None:
        self.log: list[int] = []
        self.end = self.position = self.committed = 0
        self.offsets = PartitionOffsets.starting_at(0)
        self.batch: list[Run] = []
        self.on_the_way: list[Run] = []
        self.in_window: list[int] = []
        self.acked: set[int] = set()
        self.processed: list[int] = []

    def append(self, number: int) -> None:
        """Produce a record after `number` % 3 offsets that do not exist."""
        self.log.append(self.end + number % 3)
        self.end = self.log[-1] + 1

    def fetch(self, number: int) -> None:
        """Fetch up to `number` + 1 records in runs of up to four, where the last fetch is used up."""
        if not self.batch:
            first, longest = bisect.bisect_left(self.log, self.position), number % 4 + 1
            found = self.log[first : first + number + 1]
            self.batch = runs(*found, longest=longest)
            self.position = found[-1] + 1 if found else self.position

    def deliver(self, number: int) -> None:
        """Hand up to `number` + 1 fetched runs on, whatever was sought in between."""
        for _ in range(min(number + 1, len(self.batch))):
            run, missing = self.batch.pop(0), self.offsets.expected
            verdict = self.offsets.fetched(run.offsets)
            if verdict == "resync":
                self.batch, self.position = [], self.offsets.expected
                return
            if verdict != "drop":
                self.on_the_way.append(run if run.offset >= missing else run.since(missing))

    def lose(self, number: int) -> None:
        """Let a run, or what the actor has not taken of it yet, die between the consumer and the actor."""
        if self.on_the_way:
            self.on_the_way.pop(number % len(self.on_the_way))

    def act(self, number: int) -> None:
        """Let the actor take up to `number` + 1 slices of runs; what else happens may come between two of one run."""
        for _ in range(min(number + 1, len(self.on_the_way))):
            run = self.on_the_way.pop(0)
            taken = run.offsets[: number % 3 + 1]
            verdict = self.offsets.arrived(taken)
            if verdict == "rewind":
                self.position = self.offsets.expected
            elif verdict != "drop":
                self.processed += taken
                self.in_window += taken
                if taken.stop < run.offsets.stop:
                    self.on_the_way.insert(0, run.since(taken.stop))

    def ack(self, number: int) -> None:
        """Acknowledge any record in the window."""
        if self.in_window:
            offset = self.in_window.pop(number % len(self.in_window))
            self.offsets.acknowledge(offset)
            self.acked.add(offset)

    def commit(self, _: int) -> None:
        """Commit, and check that nothing unprocessed or unacknowledged lies before it."""
        offset = committable(self.offsets, self.committed, set())
        if offset is not None:
            assert offset > self.committed
            before = set(self.log[bisect.bisect_left(self.log, self.committed) : bisect.bisect_left(self.log, offset)])
            assert before <= self.acked
            self.committed = offset

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


class FakeConsumer:
    """The part of Faust's consumer that the mix-in builds on; `batches` are what the next fetches give."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.commits: dict[TP, int | None] = {}
        self.ends: dict[TP, int] = defaultdict(lambda: 1000)
        self.batches: list[list[tuple[TP, Any]]] = []
        self.sought: list[dict[TP, int]] = []
        self.sent_commits: list[dict[TP, int]] = []
        self.acked_late: list[tuple[TP, int]] = []
        self._read_offset: dict[TP, int | None] = defaultdict(lambda: None)
        self._committed_offset: dict[TP, int | None] = defaultdict(lambda: None)
        self._unacked_messages: set[Any] = set()
        self._waiting_for_ack: asyncio.Future[None] | None = None
        self._commit_fut: asyncio.Future[None] | None = None
        self.flushed = asyncio.Event()
        self.flushed.set()
        self.flow_active = True
        self.is_rebalancing = False
        self.read_to: int | None = None
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
        for tp, found in self.batches.pop(0):
            yield tp, self._to_message(tp, found)

    _to_message: Any = driver.Consumer._to_message

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
        due = {tp: offset for tp, offset in pending.items() if offset is not None}
        self.sent_commits += [due] if due else []
        self.commits.update(due)
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

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begin the recovery, as Faust does."""

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget the commits, wait for what is in flight, and commit for the last time, as Faust does."""
        for tp in revoked:
            self._committed_offset.pop(tp, None)
        for tp, offset in self.acked_late:
            self.acknowledge(tp, offset)  # type: ignore[attr-defined]
        await self.commit()

    def _is_changelog_tp(self, tp: TP) -> bool:
        return tp == CHANGELOG


class Consumer(ContiguousConsumer, FakeConsumer):  # type: ignore[misc]
    """The mix-in over the fake."""

    async def fetch(self, *found: Any) -> list[Any]:
        """Fetch one batch, of records and runs, and give the messages that pass."""
        self.batches.append([(TP(one.topic, one.partition), one) for one in found])
        return [message async for _, message in self.getmany(1.0)]

    async def offsets(self, *found: int, tp: TP = CLICKS) -> list[int]:
        """Fetch one batch and give the offsets that pass."""
        if not self.is_source(tp):
            return [message.offset for message in await self.fetch(*(record(offset, tp) for offset in found))]
        passed = [message.value for message in await self.fetch(*runs(*found, tp=tp))]
        return [one.offset for run in passed for one in run.records]

    async def runs(self, *found: range) -> list[range]:
        """Fetch one batch of runs and give those that pass."""
        passed = await self.fetch(*(run for offsets in found for run in runs(*offsets)))
        assert [message.offset for message in passed] == [message.value.offset for message in passed]
        return [message.value.offsets for message in passed]

    def acknowledged(self, *offsets: int) -> None:
        """Acknowledge records of the clickstream."""
        for offset in offsets:
            self.acknowledge(CLICKS, offset)


@pytest.fixture
def consumer() -> Consumer:
    """Make a consumer that is assigned one partition, committed at 5."""
    aborted: list[BaseException] = []
    app = SimpleNamespace(
        delivery_metrics=DeliveryMetrics(CollectorRegistry()),
        topics=SimpleNamespace(acks_enabled_for=lambda topic: topic in {"clicks", "control", "changelog"}),
        tables=SimpleNamespace(changelog_topics={"changelog"}),
        first_starts={},
        consumer_generation_id=3,
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
    await consumer.perform_seek()
    await consumer.offsets(5, 6, 7)
    assert await consumer.arrived(CLICKS, range(5, 8))
    consumer.acknowledged(6, 7)
    await consumer.perform_seek()
    assert consumer.next_offset(CLICKS) == 5
    consumer.acknowledged(5)
    assert consumer._new_offset(CLICKS) == 6
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
    await consumer.fetch(record(7, CHANGELOG, MarkedValue(b"", Undecodable("damaged"))))
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


async def test_a_stale_run_after_the_seek_does_not_pass(consumer: Consumer) -> None:
    """However many stale runs a batch holds, it is sought once, and the fresh one passes as it is."""
    await consumer.perform_seek()
    assert await consumer.runs(range(20, 30), range(30, 35), range(5, 9)) == []
    assert consumer.sought == [{CLICKS: 5}] * 2
    (fresh,) = runs(*range(5, 12))
    (message,) = await consumer.fetch(fresh)
    assert message.value is fresh
    assert counted(consumer, "consumer") == 1


async def test_a_run_whose_head_does_not_exist_passes_at_the_second_fetch(consumer: Consumer) -> None:
    """The fetch from the missing offset shows it again, with what has come since."""
    await consumer.perform_seek()
    assert await consumer.runs(range(40, 44)) == []
    assert consumer.sought[-1] == {CLICKS: 5}
    assert await consumer.runs(range(40, 50)) == [range(40, 50)]
    await consumer.in_background()
    assert gaps(consumer) == {"deleted": 1, "no_record": 0, "unknown": 0}
    consumer.acknowledged(*range(40, 50))
    assert consumer._new_offset(CLICKS) == 50


async def test_of_a_run_that_a_seek_splits_only_the_rest_is_passed_on(consumer: Consumer) -> None:
    """Its message is one of the rest: what counts on offsets must not see those that have passed."""
    consumer.commits = {CLICKS: 8}
    await consumer.perform_seek()
    (before,) = runs(*range(5, 12))
    (message,) = await consumer.fetch(before)
    assert (message.tp, message.offset, message.timestamp, message.generation_id) == (CLICKS, 8, 8.0, 3)
    assert message.value.offsets == range(8, 12)
    assert message.value.records == before.records[3:]
    assert before.offsets == range(5, 12)
    assert consumer.sought == [{CLICKS: 8}]
    assert await consumer.runs(range(12, 14), range(5, 12)) == [range(12, 14)]


async def test_of_a_run_that_a_rewind_splits_only_the_rest_is_passed_on(consumer: Consumer) -> None:
    """A slice may have reached the actor before the rest was lost."""
    await consumer.perform_seek()
    await consumer.runs(range(5, 12))
    assert await consumer.arrived(CLICKS, range(5, 8))
    await consumer.refetch_lost(CLICKS)
    assert consumer.sought[-1] == {CLICKS: 8}
    assert await consumer.runs(range(5, 12)) == [range(8, 12)]
    assert await consumer.arrived(CLICKS, range(8, 12))


async def test_what_lies_behind_a_gap_in_a_fetch_is_fetched_again(consumer: Consumer) -> None:
    """The gap makes two runs; the second is one whose head is missing until a second fetch confirms it."""
    consumer.commits = {CLICKS: 45}
    await consumer.perform_seek()
    assert await consumer.offsets(45, 46, 49, 50) == [45, 46]
    assert consumer.sought[-1] == {CLICKS: 47}
    (message,) = await consumer.fetch(*runs(49, 50, 51))
    assert message.value.offsets == range(49, 52)
    await consumer.in_background()
    assert gaps(consumer) == {"deleted": 0, "no_record": 1, "unknown": 0}


async def test_a_fetch_that_is_longer_than_a_run_passes_in_several(consumer: Consumer) -> None:
    """They follow each other: nothing is fetched again."""
    await consumer.perform_seek()
    end = 5 + 2 * MAX_RECORDS
    assert await consumer.runs(range(5, end + 2)) == [
        range(5, 5 + MAX_RECORDS),
        range(5 + MAX_RECORDS, end),
        range(end, end + 2),
    ]
    assert counted(consumer, "consumer") == 0


async def test_other_partitions_pass_while_one_is_fetched_again(consumer: Consumer) -> None:
    """A jump on one partition does not hold up another one, nor a changelog."""
    other = TP("clicks", 1)
    consumer.commits[other] = 7
    await consumer.perform_seek()
    found = [*runs(20), *runs(7, 8, tp=other), *runs(21, 22), record(99, CHANGELOG)]
    passed = await consumer.fetch(*found)
    assert [(message.tp, message.value) for message in passed] == [(other, found[1]), (CHANGELOG, b"{}")]
    assert consumer.sought[-1] == {CLICKS: 5}


async def test_a_partition_without_a_commit_starts_at_its_beginning(consumer: Consumer) -> None:
    """Without a commit the beginning is sought and expected, and commits count from there."""
    consumer.commits = {CLICKS: None}
    await consumer.perform_seek()
    assert consumer.sought == [{CLICKS: 40}]
    assert consumer.next_offset(CLICKS) == 40
    assert consumer.committed_offsets() == {CLICKS: 40}
    consumer.acknowledged(41)
    assert consumer._new_offset(CLICKS) is None
    consumer.acknowledged(40)
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
    await consumer.offsets(5, 6, 7)
    assert [await consumer.arrived(CLICKS, as_run(offset)) for offset in (5, 7)] == [True, False]
    assert consumer.sought[-1] == {CLICKS: 6}
    assert counted(consumer, "actor") == 1
    assert await consumer.offsets(6, 7) == [6, 7]
    assert [await consumer.arrived(CLICKS, as_run(offset)) for offset in (6, 7, 5)] == [True, True, True]
    assert consumer.next_offset(CLICKS) == 8


async def test_the_actor_confirms_a_run_slice_by_slice(consumer: Consumer) -> None:
    """Each slice moves on what is expected; a run behind a lost one is refused, and all from the lost one on sought."""
    await consumer.perform_seek()
    assert await consumer.runs(range(5, 10), range(10, 14), range(14, 18)) == [
        range(5, 10),
        range(10, 14),
        range(14, 18),
    ]
    assert [await consumer.arrived(CLICKS, part) for part in (range(5, 8), range(8, 10))] == [True, True]
    assert consumer.next_offset(CLICKS) == 10
    assert not await consumer.arrived(CLICKS, range(14, 16))
    assert consumer.sought[-1] == {CLICKS: 10}
    assert await consumer.runs(range(10, 18)) == [range(10, 18)]
    assert await consumer.arrived(CLICKS, range(10, 18))
    assert consumer.next_offset(CLICKS) == 18


async def test_stale_runs_of_before_a_rewind_die_at_the_actor_whole(consumer: Consumer) -> None:
    """It is sought and counted once, however many runs the rewind overtook."""
    await consumer.perform_seek()
    await consumer.runs(range(5, 8), range(8, 12), range(12, 20))
    assert [await consumer.arrived(CLICKS, run) for run in (range(8, 12), range(12, 20))] == [False, False]
    assert consumer.next_offset(CLICKS) == 5
    assert consumer.sought == [{CLICKS: 5}] * 2
    assert consumer._read_offset[CLICKS] == 5
    assert counted(consumer, "actor") == 1
    assert await consumer.runs(range(5, 20)) == [range(5, 20)]
    assert await consumer.arrived(CLICKS, range(5, 20))


async def test_what_reaches_the_actor_of_a_partition_that_went_away_is_let_through(consumer: Consumer) -> None:
    """There is nothing to judge it by, and nothing is sought; the next owner answers it again."""
    assert await consumer.arrived(CLICKS, range(90, 95))
    assert consumer.next_offset(CLICKS) is None
    assert consumer.sought == []


async def test_nobody_waits_for_what_is_released(consumer: Consumer) -> None:
    """A rebalance, or the end of the worker, waits for runs in work, and hears at once of one that is let go."""
    await consumer.perform_seek()
    taken, released = await consumer.fetch(*runs(5), *runs(6))
    consumer._unacked_messages |= {taken, released}
    consumer._waiting_for_ack = waiting = asyncio.get_running_loop().create_future()
    consumer.release(released)
    assert consumer._unacked_messages == {taken}
    assert (released.acked, taken.acked) == (True, False)
    assert waiting.done()


async def test_a_run_is_released_while_nobody_waits(consumer: Consumer) -> None:
    """Nor does it matter whether who waited has heard already, or that it was released before."""
    await consumer.perform_seek()
    first, second = await consumer.fetch(*runs(5), *runs(6))
    consumer._unacked_messages |= {first, second}
    consumer.release(first)
    consumer._waiting_for_ack = asyncio.get_running_loop().create_future()
    consumer.release(first)
    consumer.release(second)
    assert consumer._unacked_messages == set()


async def test_a_released_run_is_not_acknowledged(consumer: Consumer) -> None:
    """Only what was acknowledged of it, record by record, is committed."""
    await consumer.perform_seek()
    (message,) = await consumer.fetch(*runs(*range(5, 10)))
    consumer.acknowledged(5, 6)
    consumer.release(message)
    assert consumer._new_offset(CLICKS) == 7


async def test_a_commit_never_passes_a_missing_head(consumer: Consumer) -> None:
    """The mix-in's `_new_offset` gives nothing while the committed offset itself is not acknowledged."""
    await consumer.perform_seek()
    await consumer.runs(range(5, 8))
    consumer.acknowledged(3, 6, 7)
    assert consumer._new_offset(CLICKS) is None
    consumer.acknowledged(5)
    assert consumer._new_offset(CLICKS) == 8


async def test_a_commit_never_passes_a_missing_run(consumer: Consumer) -> None:
    """That a run was lost before the actor holds the commit back at its first record, however much came behind it."""
    await consumer.perform_seek()
    await consumer.runs(range(5, 8), range(8, 12), range(12, 20))
    consumer.acknowledged(*range(5, 8), *range(12, 20))
    assert consumer._new_offset(CLICKS) == 8
    consumer.acknowledged(*range(9, 12))
    assert consumer._new_offset(CLICKS) == 8
    consumer.acknowledged(8)
    assert consumer._new_offset(CLICKS) == 20


async def test_a_jump_books_no_gap(consumer: Consumer) -> None:
    """Faust's own gap on a jump, as from one run to the next, counts as acknowledged: it is not booked."""
    await consumer.perform_seek()
    await consumer.runs(range(5, 9), range(9, 12))
    await consumer._add_gap(CLICKS, 6, 9)
    consumer.acknowledged(9, 10, 11)
    assert consumer._new_offset(CLICKS) is None
    consumer.acknowledged(5)
    assert consumer._new_offset(CLICKS) == 6


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
    consumer.acknowledged(5)
    assert consumer.next_offset(CLICKS) is None
    assert consumer._new_offset(CLICKS) is None
    assert consumer.committed_offsets() == {}


async def test_an_acknowledgement_that_a_revocation_overtakes_changes_nothing(consumer: Consumer) -> None:
    """Nor does one of below the commit, when the partition is back."""
    await consumer.perform_seek()
    await consumer.on_partitions_revoked({CLICKS})
    consumer.acknowledged(5, 6)
    await consumer.on_partitions_assigned({CLICKS})
    await consumer.perform_seek()
    consumer.acknowledged(3, 4)
    assert consumer._new_offset(CLICKS) is None
    await consumer.commit()
    assert consumer.sent_commits == []


async def test_revocation_commits_what_is_acknowledged_until_the_last_moment(consumer: Consumer) -> None:
    """Faust forgets its books before its last commit; the next owner still replays nothing that was acknowledged."""
    consumer.commits[CLICKS] = 40
    await consumer.perform_seek()
    await consumer.offsets(40, 41, 42, 43)
    consumer.acknowledged(40, 41)
    consumer.acked_late = [(CLICKS, 42)]
    await consumer.on_partitions_revoked({CLICKS})
    assert consumer.commits[CLICKS] == 43
    assert consumer.next_offset(CLICKS) is None


async def test_revocation_commits_nothing_again(consumer: Consumer) -> None:
    """Where nothing was acknowledged since the last commit, that one stands."""
    await consumer.perform_seek()
    await consumer.offsets(5, 6)
    consumer.acknowledged(5, 6)
    await consumer.commit()
    await consumer.on_partitions_revoked({CLICKS})
    assert consumer.sent_commits == [{CLICKS: 7}]


async def test_revocation_commits_what_was_acknowledged_during_a_commit(consumer: Consumer) -> None:
    """A commit that the timer has begun does not stand for the last one, which nothing acknowledged may miss."""
    consumer.commits[CLICKS] = 40
    await consumer.perform_seek()
    await consumer.offsets(40, 41, 42, 43)
    consumer.acknowledged(40)
    consumer.flushed.clear()
    timer = asyncio.ensure_future(consumer.commit())
    await asyncio.sleep(0)
    consumer.acknowledged(41, 42)
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
    consumer.acknowledged(40)
    consumer.flushed.clear()
    timer = asyncio.ensure_future(consumer.commit())
    await asyncio.sleep(0)
    consumer.acknowledged(41)
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
