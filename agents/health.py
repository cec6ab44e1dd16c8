"""Is the worker alive, progressing, ready: what the pages tell, and the metrics behind it."""

from faust.exceptions import ConsumerNotStarted

from streams.app import InsessionApp
from streams.encodings.gate import SchemaGate
from streams.metrics import DeliveryMetrics
from streams.standstill import Standstill
from streams.start_guard import has_lost_brokers
from streams.window import Windows

STUCK_AFTER_SECONDS = 60.0


class Health:
    """Watches the worker from a timer, so that a page only reads.

    The timer runs from the end of the first recovery on; until then the worker is alive, since a recovery may take
    hours, and a start that does not move is ended by the `StartGuard`.
    """

    def __init__(
        self, app: InsessionApp, metrics: DeliveryMetrics, windows: Windows, gate: SchemaGate | None = None
    ) -> None:
        self._app = app
        self._gate = gate
        self._metrics = metrics
        self._windows = windows
        self._commit_age = Standstill()
        self._oldest_seconds = 0.0
        self._excused_seconds = 0.0

    def observe(self, now_seconds: float) -> None:
        """Look at every partition once."""
        committed = self._app.consumer.committed_offsets()
        self._commit_age.keep(set(committed))
        ages = {}
        self._metrics.consumer_lag.clear()
        for tp, offset in committed.items():
            end = max(self._app.consumer.next_offset(tp) or 0, self._app.consumer.highwater(tp) or 0)
            self._metrics.consumer_lag.labels(topic=tp.topic, partition=tp.partition).set(max(0, end - offset))
            is_owed = end > offset and not self._app.in_recovery
            ages[tp] = self._commit_age.seconds(tp, offset, now_seconds) if is_owed else 0.0
            if not is_owed:
                self._commit_age.restart(tp, offset, now_seconds)
        self._metrics.committed_age.clear()
        for tp, age in ages.items():
            self._metrics.committed_age.labels(topic=tp.topic, partition=tp.partition).set(age)
        oldest_seconds = max(ages.values(), default=0.0)
        # The commits need a moment after a wait for a schema, too: what stood still in it counts no more.
        self._excused_seconds = (
            min(self._excused_seconds, oldest_seconds) if self._waits_for is None else oldest_seconds
        )
        self._oldest_seconds = oldest_seconds - self._excused_seconds
        self._metrics.in_flight.set(len(self._windows))
        self._metrics.window_full.set(self._windows.full_ratio())

    @property
    def _waits_for(self) -> str | None:
        awaited = None if self._gate is None else self._gate.awaited
        return None if awaited is None else f"waiting for schema {awaited} of the registry"

    def alive(self) -> tuple[bool, str]:
        """Tell whether the worker makes progress; restart it when it does not.

        One that waits for a schema is alive: a restart brings no registry back, and the wait has its own end.
        """
        if self._waits_for is not None:
            return True, self._waits_for
        if self._oldest_seconds > STUCK_AFTER_SECONDS:
            return False, f"a committed offset has stood still for {self._oldest_seconds:.0f} s with events to answer"
        return True, "progressing"

    def ready(self) -> tuple[bool, str]:
        """Tell whether the worker answers clicks now."""
        if self._app.rebalancing:
            return False, "rebalancing"
        if self._app.in_recovery:
            return False, "recovering state"
        if self._waits_for is not None:
            return False, self._waits_for
        try:
            assigned = self._app.consumer.assignment()
        except ConsumerNotStarted:  # the pages are served before the consumer's thread runs
            return False, "starting"
        if has_lost_brokers(self._app):
            return False, "the brokers do not answer"
        return (True, "answering") if assigned else (False, "no partition assigned")
