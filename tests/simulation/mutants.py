"""The mends of the delivery's history, each taken out again: a simulation that is worth its time finds every one.

`python -m tests.simulation --mutants` looks for each and writes the table in docs/simulation.md; the first line of a
mutant says there what it does. tests/simulation/test_simulation.py holds that each is found at the seed of the table.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

from faust.types import TP
from msgspec.structs import replace

from agents.clicks.actor import SessionActor
from streams.app import InsessionApp
from streams.delivery.committed_reads import CommittedReads
from streams.delivery.strict import ContiguousConsumer, PartitionOffsets
from streams.delivery.window import InOrderWindow, Work, _Flight
from streams.records import Delivery
from streams.sessions import sessionizer
from streams.state.fencing import Fence
from streams.state.table import StateTable, _Ownership


def jump_is_a_gap() -> None:
    """Take a jump in the offsets for a gap, at once."""

    def fetched(self: PartitionOffsets, run: range) -> str:
        if run.stop <= self.expected:
            return "drop"
        is_gap = run.start > self.expected
        if is_gap:
            self.skipped[self.expected] = run.start
        self.expected = run.stop
        return "skip" if is_gap else "pass"

    PartitionOffsets.fetched = fetched  # type: ignore[assignment]


def no_check_at_the_actor() -> None:
    """Miss nothing that is lost between consumer and actor."""

    def arrived(self: PartitionOffsets, run: range) -> str:
        self.at_actor = max(self.at_actor, run.stop)
        return "process"

    PartitionOffsets.arrived = arrived  # type: ignore[assignment]


def commit_over_a_missing_head() -> None:
    """Commit from the first acknowledged offset on, whatever is missing before it."""
    committable = PartitionOffsets.committable

    def over_the_head(self: PartitionOffsets) -> int | None:
        if self.acked:
            self.committed = min(self.acked)
        return committable(self)

    PartitionOffsets.committable = over_the_head  # type: ignore[method-assign]


def acknowledged_before_sent() -> None:
    """Acknowledge an event when its records are handed to the producer."""

    def sent(self: _Flight, _delivery: Delivery) -> None:
        """Wait for nothing."""

    def put(self: InOrderWindow, work: Work) -> None:
        in_order(self, replace(work, written=()))

    def send(self: InOrderWindow) -> None:
        unsent = list(self._unsent)
        send_all(self)
        for flight in unsent[: len(unsent) - len(self._unsent)]:
            flight.left = 0
        self.acknowledge()

    in_order, send_all = InOrderWindow.put, InOrderWindow._send
    _Flight.delivered = sent  # type: ignore[method-assign]
    InOrderWindow.put = put  # type: ignore[method-assign]
    InOrderWindow._send = send  # type: ignore[method-assign]


def last_seek_is_not_ours() -> None:
    """Do not seek once more when it is known what to expect."""
    perform_seek, seek_wait = ContiguousConsumer.perform_seek, ContiguousConsumer.seek_wait
    is_within = ContextVar("is_within", default=False)

    async def without_the_last(self: Any) -> None:
        token = is_within.set(True)
        try:
            await perform_seek(self)
        finally:
            is_within.reset(token)

    async def seek(self: Any, partitions: Mapping[TP, int | None]) -> None:
        if not is_within.get():
            await seek_wait(self, partitions)

    ContiguousConsumer.perform_seek = without_the_last  # type: ignore[method-assign]
    ContiguousConsumer.seek_wait = seek  # type: ignore[method-assign]


def books_end_before_the_last_commit() -> None:
    """Forget what was expected, and so what was acknowledged, before the last commit of a revocation."""

    async def revoked_at_once(self: Any, revoked: set[TP]) -> None:
        for tp in revoked:
            self._partitions.pop(tp, None)
        await super(ContiguousConsumer, self).on_partitions_revoked(revoked)

    ContiguousConsumer.on_partitions_revoked = revoked_at_once  # type: ignore[method-assign]


def read_before_the_seek() -> None:
    """Answer what is read between the resumption of a partition and its seek, and again after the seek."""
    getmany = ContiguousConsumer.getmany

    async def with_early_records(self: Any, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109
        for tp in self.assignment():
            if self.is_source(tp) and tp not in self._partitions:
                position = self._read_to(tp)
                if position is not None:
                    self._partitions[tp] = PartitionOffsets.starting_at(position)
        async for one in getmany(self, timeout):
            yield one

    ContiguousConsumer.getmany = with_early_records  # type: ignore[method-assign]


def late_seek_in_a_rebalance() -> None:
    """Let a fetch that finds the flow stopped seek to the commits, whenever it gets to it."""
    perform_seek = ContiguousConsumer.perform_seek

    async def always(self: Any) -> None:
        was_active, self.flow_active = self.flow_active, True
        self._is_in_rebalance = False
        seek = perform_seek(self)
        try:
            await seek
        finally:
            self.flow_active = was_active and self.flow_active

    ContiguousConsumer.perform_seek = always  # type: ignore[method-assign]


def no_refetch_at_a_standstill() -> None:
    """Do not fetch a lost record again that nothing follows."""

    async def nothing(_self: SessionActor, _now_seconds: float) -> None:
        """Look at nothing."""

    SessionActor.refetch_lost = nothing  # type: ignore[method-assign]


def uncommitted_records_are_read() -> None:
    """Answer what lies in a transaction that is open or aborted, as Faust reads."""

    def create(self: Any, transport: Any) -> Any:
        return super(CommittedReads, self)._create_worker_consumer(transport)

    CommittedReads._create_worker_consumer = create  # type: ignore[method-assign]


def lost_sends_are_acknowledged() -> None:
    """Take a record for sent that the broker did not acknowledge in time."""
    settle = Delivery.settle

    def anyway(self: Delivery, _error: Exception | None = None) -> None:
        settle(self)

    Delivery.settle = anyway  # type: ignore[method-assign]


def replays_tell_no_session_ends() -> None:
    """Tell a session end only once, with the input that caused it, though a crash may have kept it from the broker."""
    sessionizer.caused_by = lambda _state, _position: ()


def replays_count_again() -> None:
    """Apply an input again that the state holds already."""
    sessionizer._redelivered = lambda _state, _position: None


def answers_overtake_each_other() -> None:
    """Send the answers of a partition as they come, whatever is before them."""

    def send(self: InOrderWindow) -> None:
        self._unsent = deque(sorted(self._unsent, key=lambda flight: flight.records is None))
        send_first(self)

    send_first = InOrderWindow._send
    InOrderWindow._send = send  # type: ignore[method-assign]


def a_lost_member_goes_on() -> None:
    """Join again without a word where the group does not know the worker any more, with all that it had queued."""
    InsessionApp.membership_lost = lambda _self: None  # type: ignore[method-assign]


def nothing_is_fenced() -> None:
    """Let a worker that was away for too long write and send, and take its states for the partition's."""
    InsessionApp.require_lease = lambda _self: None  # type: ignore[method-assign]
    Fence.keeps = lambda _self, _writer: True  # type: ignore[method-assign]


def changelog_is_not_awaited() -> None:
    """Acknowledge an event whose answers the broker has, and its state not yet."""
    put = InOrderWindow.put

    def answers_only(self: InOrderWindow, work: Work) -> None:
        put(self, replace(work, written=()))

    InOrderWindow.put = answers_only  # type: ignore[method-assign]


def commit_leaves_out_what_follows() -> None:
    """Take a commit that another one swallowed for done."""

    async def commit(self: Any, *args: Any, **options: Any) -> bool:
        return await super(ContiguousConsumer, self).commit(*args, **options)  # type: ignore[no-any-return]

    ContiguousConsumer.commit = commit  # type: ignore[method-assign]


def lost_twice_is_lost() -> None:
    """Rewind once for a missing record, and let every later one go while it has not come."""
    arrived = PartitionOffsets.arrived

    def only_once(self: PartitionOffsets, run: range) -> str:
        if self._rewinding and run.start > self._missing():
            return "drop"
        return arrived(self, run)

    PartitionOffsets.arrived = only_once  # type: ignore[assignment]


def overtaken_seek_counts() -> None:
    """Let a seek that the next rebalance has overtaken say what is expected."""
    on_partitions_revoked = ContiguousConsumer.on_partitions_revoked

    async def uncounted(self: Any, revoked: set[TP]) -> None:
        await on_partitions_revoked(self, revoked)
        self._revocations = 0

    ContiguousConsumer.on_partitions_revoked = uncounted  # type: ignore[method-assign]


def recovery_seeks_to_nowhere() -> None:
    """Seek to whatever offset Faust's recovery has, None among them."""

    async def anywhere(self: Any, partitions: Mapping[TP, int | None]) -> None:
        await super(ContiguousConsumer, self).seek_wait(partitions)

    ContiguousConsumer.seek_wait = anywhere  # type: ignore[method-assign]


def contested_claims_count() -> None:
    """Take a partition over though somebody has written since the recovery."""
    took = _Ownership.took

    def always(self: _Ownership, offset: int) -> bool:
        took(self, offset)
        return True

    _Ownership.took = always  # type: ignore[method-assign]


def claim_before_the_recovery() -> None:
    """Claim every partition that was assigned, however far its state is recovered."""
    read_to = StateTable._read_to

    def as_far_as_it_is(self: Any, partition: int) -> int | None:
        known = (read_to(self, partition), self.data.persisted_offset(TP(self.changelog_topic_name, partition)))
        return next((offset for offset in known if offset is not None), -1)

    StateTable._read_to = as_far_as_it_is  # type: ignore[method-assign]


MUTANTS: Final[Mapping[str, Callable[[], None]]] = {
    mutant.__name__.replace("_", "-"): mutant
    for mutant in (
        jump_is_a_gap,
        no_check_at_the_actor,
        commit_over_a_missing_head,
        acknowledged_before_sent,
        last_seek_is_not_ours,
        books_end_before_the_last_commit,
        read_before_the_seek,
        late_seek_in_a_rebalance,
        no_refetch_at_a_standstill,
        uncommitted_records_are_read,
        lost_sends_are_acknowledged,
        replays_tell_no_session_ends,
        replays_count_again,
        answers_overtake_each_other,
        nothing_is_fenced,
        changelog_is_not_awaited,
        commit_leaves_out_what_follows,
        lost_twice_is_lost,
        overtaken_seek_counts,
        recovery_seeks_to_nowhere,
        claim_before_the_recovery,
    )
}


BESIDE: Final[Mapping[str, str]] = {
    "commit-over-a-missing-head": "no-check-at-the-actor",
    "lost-twice-is-lost": "no-refetch-at-a-standstill",
    "nothing-is-fenced": "a-lost-member-goes-on",
    "claim-before-the-recovery": "contested-claims-count",
}
"""What is taken out with a mutant, as it stands before it; a seed that shows that one alone tells nothing of both."""
RARE: Final[Mapping[str, int]] = {"recovery-seeks-to-nowhere": 5200}
"""Where to begin to look for what shows once in thousands of seeds."""
_STANDING_BEFORE: Final = {
    "contested-claims-count": contested_claims_count,
    "a-lost-member-goes-on": a_lost_member_goes_on,
}
"""Of these nothing shows alone."""


def apply(name: str) -> None:
    """Take a mend out, in this process, for good, and what stands before it."""
    every = {**MUTANTS, **_STANDING_BEFORE}
    if name in BESIDE:
        every[BESIDE[name]]()
    every[name]()
