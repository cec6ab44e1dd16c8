"""Is the worker alive, progressing, ready: what the pages tell, and the metrics behind it."""

from collections import deque
from collections.abc import Collection
from typing import Final

from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from streams.app import InsessionApp
from streams.cluster.topic_watch import TopicWatch
from streams.delivery.standstill import Standstill
from streams.delivery.start_guard import has_lost_brokers
from streams.delivery.window import Windows
from streams.encodings.gate import SchemaGate
from streams.metrics import DeliveryMetrics

STUCK_AFTER_SECONDS = 60.0
ONLY_REPLAYED_SECONDS: Final = 60.0
ONLY_REPLAYED_ANSWERS: Final = 20
"""So many answers in that time, all of them `replayed`, are no crash that is made good, which takes a moment."""


class Health:
    """Watches the worker from a timer, so that a page only reads.

    The timer runs from the end of the first recovery on; until then the worker is alive, since a recovery may take
    hours, and a start that does not move is ended by the `StartGuard`.

    clickstreams: a worker that has no partition of these answers nobody.
    """

    def __init__(
        self,
        app: InsessionApp,
        metrics: DeliveryMetrics,
        windows: Windows,
        gate: SchemaGate | None = None,
        *,
        clickstreams: Collection[str],
        watch: TopicWatch,
    ) -> None:
        self._app = app
        self._clickstreams = clickstreams
        self._watch = watch
        self._replays = _Replays()
        self._idle = Standstill()
        self._idle_seconds = 0.0
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
        clicks = self._assigned_clicks()
        self._metrics.partitions_assigned.set(len(clicks))
        # What the group gave us and nobody reads: the seek that ends a rebalance has passed over it.
        idle = clicks - committed.keys() if not (self._app.rebalancing or self._app.in_recovery) else set()
        self._idle.keep(idle)
        self._idle_seconds = max((self._idle.seconds(tp, 0, now_seconds) for tp in idle), default=0.0)
        self._replays.observe(self._metrics, now_seconds)

    def _assigned_clicks(self) -> set[TP]:
        return {tp for tp in self._app.consumer.assignment() if tp.topic in self._clickstreams}

    @property
    def _trouble(self) -> str | None:
        """Return why no page may be green, whatever else holds."""
        if self._watch.trouble is not None:
            return self._watch.trouble
        if self._replays.are_all:
            return (
                "every click of the last minute was replayed, none answered: the group's commits lie before what the "
                "state has applied. Where a topic was made anew or restored, see 'insession state import'"
            )
        return None

    @property
    def _waits_for(self) -> str | None:
        awaited = None if self._gate is None else self._gate.awaited
        return None if awaited is None else f"waiting for schema {awaited} of the registry"

    def alive(self) -> tuple[bool, str]:
        """Return whether the worker makes progress; restart it when it does not.

        One that waits for a schema is alive: a restart brings no registry back, and the wait has its own end.
        """
        if self._waits_for is not None:
            return True, self._waits_for
        if self._oldest_seconds > STUCK_AFTER_SECONDS:
            return False, f"a committed offset has stood still for {self._oldest_seconds:.0f} s with events to answer"
        if self._idle_seconds > STUCK_AFTER_SECONDS:
            return False, f"a partition of ours has not been read for {self._idle_seconds:.0f} s"
        return (True, "progressing") if self._trouble is None else (False, self._trouble)

    def ready(self) -> tuple[bool, str]:
        """Return whether the worker answers clicks now, or is a spare where every partition has another one."""
        waiting = self._waiting() or self._watch.suspicion or self._trouble
        if waiting is not None:
            return False, waiting
        if self._assigned_clicks():
            return True, "answering"
        if self._watch.is_fully_owned:
            return True, "a spare: every clickstream partition has another worker"
        return False, "no clickstream partition assigned"

    def _waiting(self) -> str | None:
        """Return what passes by itself."""
        if self._app.rebalancing:
            return "rebalancing"
        if self._app.in_recovery:
            return "recovering state"
        if self._waits_for is not None:
            return self._waits_for
        try:
            self._assigned_clicks()
        except ConsumerNotStarted:  # the pages are served before the consumer's thread runs
            return "starting"
        return "the brokers do not answer" if has_lost_brokers(self._app) else None


class _Replays:
    """Counts the answers of the last minute by whether they were replayed."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, float, float]] = deque()
        self.are_all = False

    def observe(self, metrics: DeliveryMetrics, now_seconds: float) -> None:
        """Look at the counters; once a second or so."""
        samples = (sample for metric in metrics.events.collect() for sample in metric.samples)
        counted = {one.labels["status"]: one.value for one in samples if one.name.endswith("_total")}
        replayed = counted.pop("replayed", 0.0)
        self._counts.append((now_seconds, replayed, sum(counted.values())))
        while len(self._counts) > 1 and self._counts[1][0] <= now_seconds - ONLY_REPLAYED_SECONDS:
            self._counts.popleft()
        since_seconds, replayed_then, others_then = self._counts[0]
        halfway = next(one for one in self._counts if one[0] >= now_seconds - ONLY_REPLAYED_SECONDS / 2)
        self.are_all = (
            now_seconds - since_seconds >= ONLY_REPLAYED_SECONDS
            and replayed - replayed_then >= ONLY_REPLAYED_ANSWERS
            and replayed > halfway[1]
            and sum(counted.values()) == others_then
        )
