from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.state import NEVER_MS, StateHeader
from streams.expiry import ExpiryIndex

YEAR_MS = 365 * 24 * 3600 * 1000
NOW_MS = 1_700_000_000_000

Make = Callable[..., ExpiryIndex]


def loaded(*due: tuple[bytes, int], clock_lag_ms: int = 0) -> ExpiryIndex:
    """Build partition 0 from states that are due at these times."""
    index = ExpiryIndex()
    index.load(0, ((key, StateHeader(due_ms, clock_lag_ms)) for key, due_ms in due))
    return index


def taken(index: ExpiryIndex, until_ms: int) -> list[bytes]:
    """Take everything that is due."""
    return list(index.take_due(0, until_ms))


@pytest.mark.parametrize(("until_ms", "is_due"), [(99, False), (100, True), (101, True)])
def test_a_visitor_is_due_from_its_time_on(until_ms: int, *, is_due: bool) -> None:
    """The bound is inclusive."""
    index = loaded((b"v", 100))
    assert index.has_due(0, until_ms) is is_due
    assert taken(index, until_ms) == [b"v"] * is_due


def test_the_earliest_are_taken_first_and_once() -> None:
    """Visitors come in the order in which they are due; what was taken is gone until it is scheduled again."""
    index = loaded((b"late", 30), (b"early", 10), (b"middle", 20), (b"later", 40))
    assert taken(index, 30) == [b"early", b"middle", b"late"]
    assert not index.has_due(0, 30)
    index.schedule(0, b"early", 25)
    assert taken(index, 30) == [b"early"]


def test_who_stops_early_takes_no_more_than_it_was_given() -> None:
    """The visitors behind the last one that was given stay in the index."""
    index = loaded((b"a", 10), (b"b", 20))
    assert next(index.take_due(0, 100)) == b"a"
    assert taken(index, 100) == [b"b"]


def test_a_later_schedule_replaces_the_earlier_one() -> None:
    """A visitor who clicked again is not due at the old time; the old entry in the heap is dead."""
    index = loaded((b"v", 100))
    index.schedule(0, b"v", 200)
    assert not index.has_due(0, 199)
    assert taken(index, 200) == [b"v"]
    assert taken(index, 10_000) == []


def test_an_earlier_schedule_replaces_the_later_one() -> None:
    """A visitor whose session ended is due sooner, and not a second time at the old time."""
    index = loaded((b"v", 200))
    index.schedule(0, b"v", 100)
    assert taken(index, 100) == [b"v"]
    assert taken(index, 10_000) == []


def test_never_forgets_the_visitor() -> None:
    """An erased visitor is not due any more, though its entry is still in the heap."""
    index = loaded((b"v", 100), (b"w", 150))
    index.schedule(0, b"v", NEVER_MS)
    index.schedule(0, b"unknown", NEVER_MS)
    assert not index.has_due(0, 149)
    assert taken(index, 150) == [b"w"]


def test_dead_entries_do_not_pile_up() -> None:
    """A visitor who clicks for ever costs a bounded number of entries, and is due once."""
    index = loaded((b"other", 5))
    for due_ms in range(10, 50_010):
        index.schedule(0, b"v", due_ms)
    assert len(index._partitions[0].heap) <= 2 * 2 + 1000
    assert taken(index, 100_000) == [b"other", b"v"]


@given(
    st.lists(
        st.tuples(st.sampled_from([b"a", b"b", b"c", b"d"]), st.one_of(st.integers(0, 50), st.just(NEVER_MS))),
        max_size=60,
    ),
    st.integers(0, 60),
)
def test_the_index_is_a_map_from_visitor_to_latest_schedule(schedules: list[tuple[bytes, int]], until_ms: int) -> None:
    """Whatever the order of schedules, exactly those are due whose latest schedule says so, earliest first."""
    index = loaded()
    for key, due_ms in schedules:
        index.schedule(0, key, due_ms)
    latest = dict(schedules)
    due = taken(index, until_ms)
    assert sorted(due) == sorted(key for key, due_ms in latest.items() if due_ms <= until_ms)
    assert [latest[key] for key in due] == sorted(latest[key] for key in due)


def test_a_partition_that_was_never_built_knows_nothing() -> None:
    """Schedules and observations for it are left alone; it is built from the states when it comes."""
    index = ExpiryIndex()
    index.schedule(3, b"v", 10)
    index.observe(3, 7)
    assert index.partitions() == set()
    assert not index.has_due(3, 100)
    assert list(index.take_due(3, 100)) == []
    assert index.stream_time_ms(3, NOW_MS) is None


def test_a_partition_that_comes_back_is_built_anew() -> None:
    """Nothing of the time before it went away is left, neither visitors nor stream time."""
    index = loaded((b"stays away", 10), clock_lag_ms=500)
    index.drop(0)
    assert index.partitions() == set()
    index.schedule(0, b"too late", 10)
    index.load(0, [(b"moved on", StateHeader(300, 40))])
    assert (index.partitions(), index.stream_time_ms(0, NOW_MS)) == ({0}, NOW_MS - 40)
    assert taken(index, 1_000) == [b"moved on"]


def test_partitions_are_apart() -> None:
    """A visitor is due on its own partition only."""
    index = loaded((b"v", 10))
    index.load(1, [])
    assert not index.has_due(1, 100)
    assert index.has_due(0, 100)


def test_stream_time_is_unknown_before_the_first_event() -> None:
    """An empty partition ends nothing."""
    assert loaded().stream_time_ms(0, NOW_MS) is None


def test_stream_time_of_a_live_stream_is_about_now() -> None:
    """It lags by as much as the latest event lay behind its record."""
    index = loaded()
    index.observe(0, 250)
    assert index.stream_time_ms(0, NOW_MS) == NOW_MS - 250


def test_stream_time_of_an_old_log_is_of_the_log() -> None:
    """A ten-year-old log that is written today is ten years ago."""
    index = loaded()
    index.observe(0, 10 * YEAR_MS)
    assert index.stream_time_ms(0, NOW_MS) == NOW_MS - 10 * YEAR_MS


def test_stream_time_goes_on_when_nobody_clicks() -> None:
    """Sessions end by the clock on the wall although no event moves it."""
    index = loaded((b"v", NOW_MS + 1_000))
    index.observe(0, 0)
    for passed_ms, is_due in ((999, False), (1_000, True)):
        stream_time_ms = index.stream_time_ms(0, NOW_MS + passed_ms)
        assert stream_time_ms is not None
        assert index.has_due(0, stream_time_ms) is is_due


def test_stream_time_after_recovery_is_that_of_the_most_live_visitor() -> None:
    """The smallest lag of the recovered states counts; a visitor of long ago does not hold time back."""
    index = ExpiryIndex()
    headers = [
        (b"old", StateHeader(5, 10 * YEAR_MS)),
        (b"live", StateHeader(9, 30)),
    ]
    index.load(0, headers)
    assert index.stream_time_ms(0, NOW_MS) == NOW_MS - 30
