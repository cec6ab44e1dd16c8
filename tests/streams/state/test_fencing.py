from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from streams.state.fencing import CLAIM_KEY, ChangelogFences, Fence, Owner, owner_of, visible

A, B = b"worker-a", b"worker-b"


def test_a_header_says_who_wrote_a_record() -> None:
    """What an owner puts into a record is what a reader finds, beside other headers."""
    owner = Owner(7, A)
    assert owner_of([("trace", b"x"), *owner.headers()]) == owner
    assert owner_of(dict(owner.headers())) == owner


def test_a_foreign_header_says_nothing() -> None:
    """Records of older versions, of tools without headers and of strangers with the same name have no writer."""
    for headers in (None, (), [("trace", b"x")], [("o", b"somebody")], [("o", None)]):
        assert owner_of(headers) is None


def test_what_an_earlier_owner_writes_after_a_later_one_is_stale() -> None:
    """The later one's claim draws the line, whatever the earlier one still sends."""
    fence = Fence()
    a = fence.next_owner(A)
    assert fence.keeps(a)
    b = fence.next_owner(B)
    assert [fence.keeps(writer) for writer in (a, b, a, b)] == [True, True, False, True]
    assert fence.owner == b


def test_of_two_claims_of_one_epoch_the_first_in_the_log_holds() -> None:
    """The second claimant sees that its claim lies behind another record, and ends (streams/state/table.py)."""
    fence = Fence(Owner(4, A))
    first, second = fence.next_owner(A), fence.next_owner(B)
    assert [fence.keeps(writer) for writer in (first, second, first)] == [True, False, True]


def test_records_without_a_writer_count_as_ever() -> None:
    """An old changelog stays readable, and so does what a worker of an older version writes among newer ones."""
    fence = Fence()
    assert fence.keeps(None)
    a = fence.next_owner(A)
    assert a.epoch == 1
    assert [fence.keeps(writer) for writer in (a, None, a)] == [True, True, True]


def test_partitions_have_fences_of_their_own() -> None:
    """An epoch of one partition says nothing about another; a claim counts and is no state."""
    fences, old, new = ChangelogFences(), Owner(1, A).headers(), Owner(2, B).headers()
    assert not fences.keeps(0, CLAIM_KEY, new)
    assert [fences.keeps(0, b"v", old), fences.keeps(1, b"v", old), fences.keeps(0, b"v", new)] == [False, True, True]
    assert fences.stale == 1


def test_what_is_no_visitors_is_not_shown() -> None:
    """Neither the owner nor anything else that the table keeps for itself."""
    assert list(visible([(CLAIM_KEY, b"x"), (b"v", b"state")])) == [(b"v", b"state")]


@dataclass
class _Log:
    """A changelog partition and its workers, as the table writes it."""

    records: list[tuple[bytes, bytes | None, list[tuple[str, bytes]]]] = field(default_factory=list)
    owners: dict[bytes, Owner] = field(default_factory=dict)

    def read(self) -> tuple[Fence, dict[bytes, bytes | None]]:
        """Recover from the beginning."""
        fence, state = Fence(), dict[bytes, bytes | None]()
        for key, value, headers in self.records:
            if fence.keeps(owner_of(headers)) and key != CLAIM_KEY:
                state[key] = value
        return fence, state

    def claim(self, worker: bytes) -> None:
        """Let a worker take over: read all, then claim."""
        self.owners[worker] = self.read()[0].next_owner(worker)
        self.write(worker, CLAIM_KEY, None)

    def write(self, worker: bytes, key: bytes, value: bytes | None) -> None:
        """Append a record of a worker, whether it still has the partition or not."""
        self.records.append((key, value, self.owners[worker].headers()))


@given(
    st.lists(
        st.tuples(st.sampled_from(["claim", "write"]), st.sampled_from([A, B, b"worker-c"]), st.sampled_from(b"xyz"))
    )
)
def test_however_workers_take_turns_the_state_is_that_of_the_latest_owners(steps: list[tuple[str, bytes, int]]) -> None:
    """A model that refuses what a worker writes once another has claimed reads the same as the log with all of it."""
    log, owner, model = _Log(), None, dict[bytes, bytes | None]()
    for number, (step, worker, key) in enumerate(steps):
        if step == "claim":
            log.claim(worker)
            owner = worker
        elif worker in log.owners:
            value = b"%d" % number
            log.write(worker, bytes([key]), value)
            if worker == owner:
                model[bytes([key])] = value
    assert log.read()[1] == model


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([A, B])), max_size=30), st.integers(0, 30))
def test_a_reader_that_begins_in_the_middle_with_the_owner_at_hand_reads_the_same(
    writers: list[tuple[int, bytes]], cut: int
) -> None:
    """The local tables keep the owner beside the offset: that is all that a recovery must know of what came before."""
    owners = [Owner(*writer) for writer in writers]
    whole = Fence()
    kept = [whole.keeps(owner) for owner in owners]
    first = Fence()
    for owner in owners[:cut]:
        first.keeps(owner)
    second = Fence(first.owner)
    assert [second.keeps(owner) for owner in owners[cut:]] == kept[cut:]


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([A, B])), min_size=1))
def test_reading_what_was_applied_once_more_changes_nothing(writers: list[tuple[int, bytes]]) -> None:
    """After a crash between data and offset a batch comes again; none of it may replace what is there."""
    owners = [Owner(*writer) for writer in writers]
    fence = Fence()
    for owner in owners:
        fence.keeps(owner)
    last = fence.owner
    for owner in owners:
        fence.keeps(owner)
    assert fence.owner == last
