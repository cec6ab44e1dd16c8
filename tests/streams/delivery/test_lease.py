import time

from hypothesis import given
from hypothesis import strategies as st

from streams.delivery.lease import Lease, boot_seconds


def test_a_lease_ends_a_margin_before_the_group_gives_the_partitions_away() -> None:
    """A write takes a moment to arrive."""
    lease = Lease(10.0)
    lease.renewed(100.0)
    assert [lease.is_over(now) for now in (100.0, 108.9, 109.1, 200.0)] == [False, False, True, True]


def test_a_worker_that_never_was_a_member_has_nothing_to_lose() -> None:
    """Before the first answer of the group no partition is its own."""
    assert not Lease(10.0).is_over(1e9)


def test_a_group_that_answers_again_has_kept_the_member() -> None:
    """It would say otherwise: a group that was not there for a while gives no partition away."""
    lease = Lease(10.0)
    lease.renewed(100.0)
    assert lease.is_over(150.0)
    lease.renewed(150.0)
    assert not lease.is_over(151.0)


def test_the_message_says_for_how_long_and_what_to_do() -> None:
    """One line for whoever finds the process ended."""
    lease = Lease(8.0)
    lease.renewed(100.0)
    assert str(lease.over(140.0)) == (
        "the group has not answered for 40.0 s (kafka.session_timeout is 8 s): this worker was paused or cut off, and "
        "its partitions may be another one's. Nothing was written since; start it again"
    )


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 2e6))
def test_only_the_latest_request_counts(sent: list[float], now: float) -> None:
    """Answers may come in any order; an old one takes nothing away and adds nothing."""
    lease, latest = Lease(10.0), Lease(10.0)
    for at in sent:
        lease.renewed(at)
    latest.renewed(max(sent))
    assert lease.is_over(now) == latest.is_over(now)


def test_the_clock_counts_since_boot() -> None:
    """Sleep included: it is never behind the clock that stands still meanwhile."""
    before = time.monotonic()
    assert boot_seconds() >= before
