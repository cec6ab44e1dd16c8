from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from schemas.state import StateHeader
from streams.sessions.expiry import BUCKET_MS, STATES_A_TURN, ExpiryIndex

YEAR_MS = 365 * 24 * 3600 * 1000
NOW_MS = 1_700_000_000_000


def busy(due_ms: int, clock_lag_ms: int = 0) -> StateHeader:
    """Make the header of a visitor with an open session."""
    return StateHeader(due_ms, clock_lag_ms)


def quiet(due_ms: int) -> StateHeader:
    """Make the header of a visitor who only waits to be forgotten."""
    return StateHeader(due_ms, 0, is_quiet=True)


def load(index: ExpiryIndex, partition: int, headers: Iterable[tuple[bytes, StateHeader]]) -> None:
    """Build a partition at one go."""
    for _ in index.loading(partition, headers):
        pass


def loaded(*due: tuple[bytes, int], clock_lag_ms: int = 0) -> ExpiryIndex:
    """Build partition 0 from states that are due at these times."""
    index = ExpiryIndex()
    load(index, 0, ((key, busy(due_ms, clock_lag_ms)) for key, due_ms in due))
    return index


def taken(index: ExpiryIndex, until_ms: int) -> list[bytes]:
    """Take everything that may be due."""
    found = []
    while (key := index.take(0, until_ms)) is not None:
        found.append(key)
    return found


def test_the_earliest_are_taken_first_and_once() -> None:
    """Visitors come in the order in which they are due, to within a bucket; what was taken is gone."""
    index = loaded((b"late", 3000), (b"early", 1000), (b"middle", 2000), (b"later", 4000))
    assert taken(index, 3000) == [b"early", b"middle", b"late"]
    assert taken(index, 3000) == []
    index.put(0, b"early", 2500)
    assert taken(index, 3000) == [b"early"]


def test_who_is_due_later_is_not_taken_yet() -> None:
    """A visitor comes at most one bucket too soon, and never too late."""
    index = loaded((b"v", 5500))
    assert taken(index, 4999) == []
    assert taken(index, 5500) == [b"v"]


def test_a_session_that_goes_on_costs_nothing_more() -> None:
    """A later schedule leaves the entry where it is: whoever takes it sees in the state when the visitor is due."""
    index = loaded((b"v", 1000))
    for due_ms in range(2000, 100_000, 1000):
        index.schedule(0, b"v", busy(due_ms), before=busy(due_ms - 1000))
    assert taken(index, 500_000) == [b"v"]


def test_an_earlier_schedule_counts() -> None:
    """A visitor who is due sooner than before is looked at sooner."""
    index = loaded((b"v", 200_000))
    index.schedule(0, b"v", busy(100_000), before=busy(200_000))
    assert taken(index, 100_000) == [b"v"]


def test_a_quiet_visitor_has_no_entry() -> None:
    """Whoever only waits to be forgotten costs no memory; a click that opens a session makes an entry."""
    index = ExpiryIndex()
    load(index, 0, [(b"v", quiet(1000))])
    index.schedule(0, b"w", quiet(2000), before=busy(500))
    assert taken(index, 10_000) == []
    index.schedule(0, b"v", busy(9000), before=quiet(1000))
    assert taken(index, 10_000) == [b"v"]


def test_a_pass_finds_whom_to_forget() -> None:
    """It is asked for when one may be due, goes on where it was, and starts over when the next one may be."""
    index = ExpiryIndex()
    load(index, 0, [(b"a", quiet(1000)), (b"b", quiet(5000)), (b"c", quiet(1500))])
    assert index.next_to_pass(0, 999) == (False, None)
    assert index.next_to_pass(0, 2000) == (True, None)
    index.passed(0, [(b"a", quiet(1000)), (b"b", quiet(5000))], 2000, to=b"b")
    assert index.next_to_pass(0, 2000) == (True, b"b")
    index.passed(0, [(b"c", quiet(1500)), (b"open", busy(1))], 2000, to=None)
    assert sorted(taken(index, 2000)) == [b"a", b"c"]
    assert index.next_to_pass(0, 4999) == (False, None)
    assert index.next_to_pass(0, 5000) == (True, None)


def test_who_becomes_quiet_behind_a_pass_is_found_by_the_next() -> None:
    """The pass under way has gone by already, so its end must not forget that somebody is due."""
    index = ExpiryIndex()
    load(index, 0, [(b"a", quiet(1000)), (b"z", quiet(9000))])
    index.passed(0, [(b"a", quiet(1000))], 2000, to=b"a")
    index.schedule(0, b"A", quiet(3000), before=busy(1))
    index.passed(0, [(b"z", quiet(9000))], 2000, to=None)
    assert index.next_to_pass(0, 3000) == (True, None)


@given(
    st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b"d"]), st.integers(0, 9 * BUCKET_MS)), max_size=60),
    st.integers(0, 10 * BUCKET_MS),
)
def test_nobody_is_looked_at_too_late(schedules: list[tuple[bytes, int]], until_ms: int) -> None:
    """Whatever the order of schedules, everybody whose latest one is due is among those who are taken."""
    index, latest = loaded(), dict[bytes, StateHeader]()
    for key, due_ms in schedules:
        index.schedule(0, key, busy(due_ms), before=latest.get(key))
        latest[key] = busy(due_ms)
    assert {key for key, header in latest.items() if header.due_ms <= until_ms} <= set(taken(index, until_ms))


def test_a_partition_that_was_never_built_knows_nothing() -> None:
    """Schedules and observations for it are left alone; it is built from the states when it comes."""
    index = ExpiryIndex()
    index.schedule(3, b"v", busy(10), before=None)
    index.observe(3, 7)
    assert index.partitions() == set()
    assert index.take(3, 100) is None
    assert index.next_to_pass(3, 100) == (False, None)
    assert index.stream_time_ms(3, NOW_MS) is None


def test_a_partition_that_comes_back_is_built_anew() -> None:
    """Nothing of the time before it went away is left, neither visitors nor stream time."""
    index = loaded((b"stays away", 10), clock_lag_ms=500)
    index.drop(0)
    assert index.partitions() == set()
    index.schedule(0, b"too late", busy(10), before=None)
    load(index, 0, [(b"moved on", busy(300, 40))])
    assert (index.partitions(), index.stream_time_ms(0, NOW_MS)) == ({0}, NOW_MS - 40)
    assert taken(index, 1_000) == [b"moved on"]


def test_partitions_are_apart() -> None:
    """A visitor is due on its own partition only."""
    index = loaded((b"v", 10))
    load(index, 1, [])
    assert index.take(1, 100) is None
    assert index.take(0, 100) == b"v"


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
        assert (index.take(0, stream_time_ms) is not None) is is_due


def test_stream_time_after_recovery_is_that_of_the_most_live_visitor() -> None:
    """The smallest lag of the recovered states counts; a visitor of long ago does not hold time back."""
    index = ExpiryIndex()
    headers = [
        (b"old", busy(5, 10 * YEAR_MS)),
        (b"live", busy(9, 30)),
    ]
    load(index, 0, headers)
    assert index.stream_time_ms(0, NOW_MS) == NOW_MS - 30


def test_a_partition_is_there_when_all_of_its_states_are_read() -> None:
    """Others go on meanwhile; where that is broken off, nothing of it is left."""
    index = ExpiryIndex()
    loading = index.loading(0, ((b"%d" % number, busy(number, 0)) for number in range(3 * STATES_A_TURN + 1)))
    turns = [(read, index.partitions()) for read in loading]
    assert turns == [(times * STATES_A_TURN, set()) for times in (1, 2, 3)]
    assert index.partitions() == {0}
    next(index.loading(1, ((b"%d" % number, busy(number, 0)) for number in range(2 * STATES_A_TURN))))
    assert index.partitions() == {0}
