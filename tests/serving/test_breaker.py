import pytest

from serving.breaker import CircuitBreaker, Permit
from tests.builders.clocks import HandClock


@pytest.fixture
def clock() -> HandClock:
    """Return a clock to move by hand."""
    return HandClock(1000.0)


@pytest.fixture
def breaker(clock: HandClock) -> CircuitBreaker:
    """Return a breaker that opens at the third failure for ten seconds."""
    return CircuitBreaker(failures=3, open_seconds=10, clock=clock)


def permit(breaker: CircuitBreaker) -> Permit:
    """Acquire a permit that must be given."""
    given = breaker.acquire()
    assert given is not None
    return given


def fail(breaker: CircuitBreaker, times: int) -> None:
    """Let calls fail."""
    for _ in range(times):
        breaker.failed(permit(breaker))


def test_opens_at_the_threshold(breaker: CircuitBreaker) -> None:
    """The breaker is closed after two failures and open after three."""
    fail(breaker, 2)
    assert breaker.state == "closed"
    assert not breaker.refuses
    fail(breaker, 1)
    assert breaker.state == "open"
    assert breaker.refuses
    assert breaker.acquire() is None


def test_failures_must_be_consecutive(breaker: CircuitBreaker) -> None:
    """One success forgets the failures before it."""
    fail(breaker, 2)
    breaker.succeeded(permit(breaker))
    fail(breaker, 2)
    assert breaker.state == "closed"


def test_undecided_calls_do_not_count(breaker: CircuitBreaker) -> None:
    """Calls without a verdict neither open the breaker nor forget failures."""
    fail(breaker, 2)
    for _ in range(5):
        breaker.undecided(permit(breaker))
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert breaker.state == "open"


def test_one_probe_after_the_pause(breaker: CircuitBreaker, clock: HandClock) -> None:
    """At `open_seconds`, not before, exactly one call goes."""
    fail(breaker, 3)
    clock.now += 9.999
    assert breaker.refuses
    clock.now += 0.001
    assert not breaker.refuses
    permit(breaker)
    assert breaker.state == "half_open"
    assert breaker.refuses
    assert breaker.acquire() is None


def test_probe_that_succeeds_closes(breaker: CircuitBreaker, clock: HandClock) -> None:
    """After a good probe three new failures are needed to open."""
    fail(breaker, 3)
    clock.now += 10
    breaker.succeeded(permit(breaker))
    assert breaker.state == "closed"
    fail(breaker, 2)
    assert breaker.state == "closed"


def test_probe_that_fails_opens_for_the_whole_pause(breaker: CircuitBreaker, clock: HandClock) -> None:
    """A bad probe starts the pause anew."""
    fail(breaker, 3)
    clock.now += 10
    fail(breaker, 1)
    clock.now += 9.999
    assert breaker.refuses
    clock.now += 0.001
    assert not breaker.refuses


def test_probe_without_verdict_leaves_the_probe_to_the_next_call(breaker: CircuitBreaker, clock: HandClock) -> None:
    """A cancelled probe does not lock the breaker."""
    fail(breaker, 3)
    clock.now += 10
    breaker.undecided(permit(breaker))
    assert breaker.state == "open"
    assert not breaker.refuses
    breaker.succeeded(permit(breaker))
    assert breaker.state == "closed"


@pytest.mark.parametrize("verdict", ["succeeded", "failed", "undecided"])
def test_results_from_before_a_change_do_not_move_it(breaker: CircuitBreaker, clock: HandClock, verdict: str) -> None:
    """A call sent before the breaker opened does not decide for the probe."""
    early = permit(breaker)
    fail(breaker, 3)
    clock.now += 10
    probe = permit(breaker)
    getattr(breaker, verdict)(early)
    assert breaker.state == "half_open"
    breaker.succeeded(probe)
    assert breaker.state == "closed"


def test_a_breaker_of_no_failures_never_opens(clock: HandClock) -> None:
    """Zero switches it off."""
    breaker = CircuitBreaker(failures=0, open_seconds=10, clock=clock)
    for _ in range(100):
        breaker.failed(permit(breaker))
    assert breaker.state == "closed"
