import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import InconsistentGroupProtocolError

from streams.delivery.start_guard import Progress, StalledError, StartGuard, client_error, has_lost_brokers, progress_of

TIMEOUT_SECONDS = 150.0


class Guarded:
    """A guard over a worker that the test moves; what it fails with is kept."""

    def __init__(self) -> None:
        self.progress: Progress | None = Progress("joining", 1)
        self.error: BaseException | None = None
        self.failures: list[BaseException] = []
        self._guard = StartGuard(
            lambda: self.progress, lambda: self.error, timeout_seconds=TIMEOUT_SECONDS, fail=self.failures.append
        )

    def observe(self, *seconds: float) -> list[str]:
        """Look at these moments; give what it failed with so far."""
        for now_seconds in seconds:
            self._guard.observe(now_seconds)
        assert all(isinstance(failure, StalledError) for failure in self.failures)
        return [str(failure) for failure in self.failures]


async def done(error: BaseException | None = None) -> "asyncio.Future[None]":
    """Make a task that has ended."""

    async def end() -> None:
        if error is not None:
            raise error

    task = asyncio.ensure_future(end())
    await asyncio.wait([task])
    return task


@pytest.fixture
async def client() -> Any:
    """Stand for aiokafka's consumer, started: its tasks run, no error waits."""
    endless = asyncio.get_running_loop().create_future()
    return SimpleNamespace(
        _subscription=SimpleNamespace(reassignment_in_progress=False),
        _coordinator=SimpleNamespace(
            _coordination_task=endless, _pending_exception=None, generation=1, coordinator_id=0
        ),
        _fetcher=SimpleNamespace(_fetch_task=endless),
        _client=SimpleNamespace(_sync_task=endless),
    )


@pytest.fixture
def app(client: Any) -> Any:
    """Stand for a Faust app in the middle of its first rebalance."""
    consumer = SimpleNamespace(_thread=SimpleNamespace(_consumer=client), unacked=set())
    return SimpleNamespace(
        _consumer=consumer,
        consumer=consumer,
        consumer_generation_id=1,
        in_recovery=False,
        rebalancing=True,
        rebalancing_count=1,
        should_stop=False,
        tables=SimpleNamespace(recovery=SimpleNamespace(active_offsets={})),
    )


def test_a_step_that_does_not_move_ends_the_worker() -> None:
    """The message names the step, for how long it has stood still, and the setting."""
    guarded = Guarded()
    assert guarded.observe(0, TIMEOUT_SECONDS - 0.1) == []
    (message,) = guarded.observe(TIMEOUT_SECONDS)
    assert message == "joining: no progress for 150 s (kafka.stall_timeout); check the brokers and start again"


def test_a_start_that_moves_may_take_as_long_as_it_likes() -> None:
    """A recovery of hours is left alone while it restores records."""
    guarded = Guarded()
    for restored in range(100):
        guarded.progress = Progress("recovering", restored)
        assert guarded.observe(restored * (TIMEOUT_SECONDS - 1)) == []


def test_the_next_step_is_given_the_whole_time() -> None:
    """Each step is measured from its own beginning."""
    guarded = Guarded()
    guarded.observe(0)
    guarded.progress = Progress("seeking", 1)
    assert guarded.observe(TIMEOUT_SECONDS - 1, 2 * TIMEOUT_SECONDS - 2) == []
    assert len(guarded.observe(2 * TIMEOUT_SECONDS - 1)) == 1


def test_a_worker_that_answers_is_left_alone() -> None:
    """Without events nothing moves, and that is no stall; the next rebalance is measured from its own beginning."""
    guarded = Guarded()
    guarded.observe(0)
    guarded.progress = None
    assert guarded.observe(1, 10 * TIMEOUT_SECONDS) == []
    guarded.progress = Progress("joining", 1)
    assert guarded.observe(10 * TIMEOUT_SECONDS + 1, 11 * TIMEOUT_SECONDS) == []


def test_a_client_that_has_given_up_ends_the_worker_at_once() -> None:
    """The error is in the message; nobody waits for the timeout."""
    guarded = Guarded()
    guarded.error = InconsistentGroupProtocolError()
    (message,) = guarded.observe(0)
    assert message.startswith("the Kafka client has given up: the group has members that are no insession workers")
    assert "end it, or give one of the two another group" in message


def test_an_app_that_has_not_connected_says_so(app: Any) -> None:
    """Before the consumer is there, and before its connection is."""
    app.rebalancing, app.rebalancing_count = False, 0
    app._consumer._thread._consumer._coordinator = None
    assert progress_of(app) == Progress("connecting to the brokers")
    app._consumer = None
    assert progress_of(app) == Progress("connecting to the brokers")


def acknowledge(app: Any) -> None:
    """Let a revocation wait for one event less."""
    app.consumer.unacked.pop()


def join_again(app: Any) -> None:
    """Let another member's coming make everybody join once more before this join has come to its end."""
    app._consumer._thread._consumer._coordinator.generation += 1


def restore(app: Any) -> None:
    """Let a recovery apply a record of the changelog."""
    app.tables.recovery.active_offsets["changelog"] = 8


def rejoin(app: Any) -> None:
    """Begin the next rebalance."""
    app.rebalancing_count += 1
    app.consumer_generation_id += 1


@pytest.mark.parametrize(
    ("joining", "recovering", "step", "moves"),
    [
        (True, False, "joining the consumer group", [acknowledge, join_again, rejoin]),
        (False, True, "recovering the state", [restore, rejoin]),
        (False, False, "seeking to the committed offsets", [rejoin]),
    ],
)
def test_a_rebalance_moves_with_what_it_does(
    app: Any, client: Any, joining: bool, recovering: bool, step: str, moves: list[Callable[[Any], None]]
) -> None:
    """Each step has a name, and what it does counts as progress; a look alone does not."""
    client._subscription.reassignment_in_progress, app.in_recovery = joining, recovering
    app.consumer.unacked.add("event")
    app.tables.recovery.active_offsets["changelog"] = 7
    for move in moves:
        before = progress_of(app)
        assert before is not None
        assert before.step == step
        assert progress_of(app) == before
        move(app)
        assert progress_of(app) != before


def test_an_app_is_through_after_the_rebalance(app: Any) -> None:
    """Then it processes records; also without a partition."""
    app.rebalancing = False
    assert progress_of(app) is None


@pytest.mark.parametrize("task", ["_coordinator._coordination_task", "_fetcher._fetch_task", "_client._sync_task"])
async def test_a_task_of_the_client_that_has_failed_is_seen(app: Any, client: Any, task: str) -> None:
    """Nobody else looks at coordination, fetching and metadata."""
    assert client_error(app) is None
    error = ValueError("bug")
    part, name = task.split(".")
    setattr(getattr(client, part), name, await done(error))
    assert client_error(app) is error


async def test_an_error_that_pauses_the_coordination_is_seen(app: Any, client: Any) -> None:
    """The client keeps it for a caller that Faust is not: a group that may not be read, an assignor that raised."""
    client._coordinator._pending_exception = PermissionError("group")
    assert isinstance(client_error(app), PermissionError)


async def test_what_ends_at_a_stop_is_no_error(app: Any, client: Any) -> None:
    """Tasks that were cancelled or came to their end are not failed, and a stopping app has nothing to lose."""
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    client._fetcher._fetch_task, client._coordinator._coordination_task = cancelled, await done()
    assert client_error(app) is None
    client._coordinator._pending_exception = PermissionError("group")
    app.should_stop = True
    assert client_error(app) is None


async def test_a_worker_without_its_coordinator_has_lost_the_brokers(app: Any, client: Any) -> None:
    """Until the client has found one again; before it has started nothing is lost."""
    assert not has_lost_brokers(app)
    client._coordinator.coordinator_id = None
    assert has_lost_brokers(app)
    app._consumer = None
    assert not has_lost_brokers(app)
