"""Ends a worker whose start or rebalance has stalled, so that whoever runs it starts it again.

Faust and aiokafka wait in places without a bound, and end some of their tasks without a word. In Faust 0.15.3 a step
of `Recovery._restart_recovery` that runs into `broker_request_timeout` is taken for a stop of the service: the task
ends, and the worker idles for ever. In aiokafka 0.14 an error of the group coordinator waits until a caller of
`getmany` takes it; Faust reads from the fetcher instead and never does.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from schemas.errors import InsessionError
from streams.delivery.endings import explained

LOOK_EVERY_SECONDS: Final = 1.0

# Faust's consumer, aiokafka's inside it, and parts of that: none has a public face that does not make what it asks for.
# The versions are pinned.
_CONSUMER: Final = attrgetter("_consumer")
_CLIENT: Final = attrgetter("_thread._consumer")
_COORDINATOR: Final = attrgetter("_coordinator")
_IS_JOINING: Final = attrgetter("_subscription.reassignment_in_progress")
_TASKS: Final = attrgetter("_coordinator._coordination_task", "_fetcher._fetch_task", "_client._sync_task")
_PENDING_ERROR: Final = attrgetter("_coordinator._pending_exception")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a worker stands that does not answer yet. position: changes with all that it does in this step."""

    step: str
    position: object = None


class StalledError(InsessionError):
    """A start or a rebalance does not come to its end. The process ends without ack; a restart tries again."""


class StartGuard:
    """Fails when one step has not moved for `timeout_seconds`, however long the way as a whole takes.

    look: where the worker stands; None once it answers.
    broken: the error of a task that has ended where the worker waits for it; None while all run.
    fail: ends the process; called with a StalledError.
    """

    def __init__(
        self,
        look: Callable[[], Progress | None],
        broken: Callable[[], BaseException | None],
        *,
        timeout_seconds: float,
        fail: Callable[[BaseException], Any],
    ) -> None:
        self._look = look
        self._broken = broken
        self._timeout_seconds = timeout_seconds
        self._fail = fail
        self._last: Progress | None = None
        self._since_seconds = 0.0

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self.observe(time.monotonic())
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    def observe(self, now_seconds: float) -> None:
        """Look once."""
        error = self._broken()
        if error is not None:
            self._fail(StalledError(f"the Kafka client has given up: {explained(error)}"))
        progress = self._look()
        if progress is None or progress != self._last:
            self._last, self._since_seconds = progress, now_seconds
        elif now_seconds - self._since_seconds >= self._timeout_seconds:
            self._fail(
                StalledError(
                    f"{progress.step}: no progress for {self._timeout_seconds:g} s (kafka.stall_timeout); "
                    "check the brokers and start again"
                )
            )


def progress_of(app: Any) -> Progress | None:
    """Return where a Faust app stands between its start, or a rebalance, and the next record that it may process."""
    if app.rebalancing_count and not app.rebalancing:
        return None
    client = _started_client(app)
    if client is None:
        return Progress("connecting to the brokers")
    if _IS_JOINING(client):
        generation = _COORDINATOR(client).generation  # new with every join, while others keep the group from an end
        return Progress("joining the consumer group", (app.rebalancing_count, generation, len(app.consumer.unacked)))
    step = "recovering the state" if app.in_recovery else "seeking to the committed offsets"
    return Progress(step, (app.consumer_generation_id, dict(app.tables.recovery.active_offsets)))


def client_error(app: Any) -> BaseException | None:
    """Return the error that has ended or paused a background task of aiokafka's consumer; None while all run."""
    client = None if app.should_stop else _started_client(app)
    if client is None:
        return None
    ended = [task.exception() for task in _TASKS(client) if task.done() and not task.cancelled()]
    errors: list[BaseException | None] = [*ended, _PENDING_ERROR(client)]
    return next((error for error in errors if error is not None), None)


def has_lost_brokers(app: Any) -> bool:
    """Return whether the group's coordinator, and with it the group, is out of reach."""
    client = _started_client(app)
    return client is not None and _COORDINATOR(client).coordinator_id is None


def _started_client(app: Any) -> Any:
    """Return aiokafka's consumer; None before it has started."""
    consumer = _CONSUMER(app)
    client = None if consumer is None else _CLIENT(consumer)
    return None if client is None or _COORDINATOR(client) is None else client
