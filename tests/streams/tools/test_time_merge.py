import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.state import InputPosition
from streams.records import InputRecord
from streams.tools.time_merge import PATIENCE_SECONDS, TimeMerge


def record(partition: int, offset: int, time_ms: int, value: bytes = b"") -> InputRecord:
    """Make a record of the source."""
    return InputRecord(InputPosition("events", partition, offset), None, value, time_ms)


def merge_of(*times_ms: list[int]) -> TimeMerge:
    """Queue a partition for each list, with records of these timestamps from offset 0 on."""
    merge = TimeMerge()
    for partition, times in enumerate(times_ms):
        merge.open(partition, 0.0)
        for offset, time_ms in enumerate(times):
            merge.put(record(partition, offset, time_ms))
    return merge


def taken(merge: TimeMerge, now_seconds: float = 0.0) -> list[tuple[int, int]]:
    """Take all that is due, as partition and offset."""
    return [(one.position.partition, one.position.offset) for one in merge.take(now_seconds)]


def test_records_come_by_time_until_a_queue_is_empty() -> None:
    """What the empty partition reads next may be earlier than all that is queued."""
    merge = merge_of([1, 4, 9], [2, 3, 5])
    assert taken(merge) == [(0, 0), (1, 0), (1, 1), (0, 1), (1, 2)]
    assert merge.waiting() == {1: 3}
    merge.put(record(1, 3, 6))
    assert taken(merge) == [(1, 3)]


def test_a_partition_at_its_end_holds_nobody_up() -> None:
    """In a live stream most partitions are; a record that comes then is taken at once."""
    merge = merge_of([1, 4], [2], [])
    merge.reached_end(1, 1)
    assert taken(merge) == []  # of the third partition nothing is known yet
    merge.reached_end(2, 0)
    assert taken(merge) == [(0, 0), (1, 0), (0, 1)]
    merge.reached_end(0, 2)
    merge.put(record(2, 0, 3))
    assert taken(merge) == [(2, 0)]


def test_a_partition_that_gives_nothing_is_waited_for_no_longer_than_patience() -> None:
    """A broker that is away holds up its own partitions only."""
    merge = merge_of([1, 2], [])
    assert taken(merge, PATIENCE_SECONDS - 0.1) == []
    assert taken(merge, PATIENCE_SECONDS) == [(0, 0), (0, 1)]


def test_a_clock_that_runs_ahead_does_not_hold_its_partition_back() -> None:
    """The records behind it are due, so it goes with them; the order within a partition stays."""
    merge = merge_of([1, 99_999, 3, 5], [2, 4, 6])
    assert taken(merge) == [(0, 0), (1, 0), (0, 1), (0, 2), (1, 1), (0, 3)]


def test_what_is_committed_is_behind_what_was_taken() -> None:
    """Records that wait in a queue are not in it; an end behind markers is, once all before it is taken."""
    merge = merge_of([1, 3], [2], [])
    assert merge.taken_to() == {}
    merge.reached_end(1, 4)
    merge.reached_end(2, 7)
    assert merge.taken_to() == {2: 7}
    assert taken(merge) == [(0, 0), (1, 0), (0, 1)]
    assert merge.taken_to() == {0: 2, 1: 4, 2: 7}


def test_a_queue_is_full_by_its_share_of_the_bytes() -> None:
    """Two partitions have half each; one that was full is read on when half of it is gone."""
    merge = TimeMerge(max_queued_bytes=20_000)
    for partition in (0, 1):
        merge.open(partition, 0.0)
    for offset in range(5):
        merge.put(record(0, offset, offset, bytes(2_000)))
    assert (merge.full(), merge.hungry()) == ({0}, {1})
    merge.put(record(1, 0, 3))
    assert taken(merge) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]
    assert (merge.full(), merge.hungry()) == (set(), {0, 1})


def test_what_was_read_before_or_is_not_ours_is_left_out() -> None:
    """A fetch from before a pause or a rebalance may still be on its way."""
    merge = merge_of([1, 2], [])
    merge.put(record(0, 0, 1))
    merge.put(record(7, 0, 1))
    merge.close(1)
    assert taken(merge) == [(0, 0), (0, 1)]
    merge.put(record(0, 1, 2))
    merge.reached_end(0, 1)
    assert (taken(merge), merge.waiting()) == ([], {0: 2})


@pytest.mark.parametrize("partitions", [1, 2, 5])
@settings(max_examples=60)
@given(data=st.data())
def test_whatever_comes_when_all_is_taken_once_and_in_order(partitions: int, data: st.DataObject) -> None:
    """By time over all partitions where each is in order by itself, however their batches interleave."""
    logs = [sorted(data.draw(st.lists(st.integers(0, 50), max_size=12))) for _ in range(partitions)]
    merge = merge_of(*([] for _ in logs))
    read, out = [0] * partitions, []
    for partition in data.draw(st.permutations([part for part, log in enumerate(logs) for _ in [*log, 0]])):
        if read[partition] == len(logs[partition]):
            merge.reached_end(partition, read[partition])
        else:
            merge.put(record(partition, read[partition], logs[partition][read[partition]]))
            read[partition] += 1
        out += list(merge.take(0.0))
    assert [one.time_ms for one in out] == sorted(time_ms for log in logs for time_ms in log)
    for partition, log in enumerate(logs):
        offsets = [one.position.offset for one in out if one.position.partition == partition]
        assert offsets == list(range(len(log)))
