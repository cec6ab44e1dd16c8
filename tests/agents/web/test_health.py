from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from faust.types import TP
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from agents.web.health import ONLY_REPLAYED_ANSWERS, STUCK_AFTER_SECONDS, Health
from agents.web.pages import ProbePages
from agents.web.pulse import Pulse
from streams.cluster.topic_watch import SeenTopic, Sighting, TopicWatch
from streams.delivery.window import Windows
from streams.metrics import DeliveryMetrics

CLICKS = TP("clicks", 0)


class FakeApp:
    """An app with one partition, whose offsets the test decides."""

    def __init__(self) -> None:
        self.rebalancing = self.in_recovery = False
        coordinator = SimpleNamespace(coordinator_id=0)
        self._consumer = SimpleNamespace(_thread=SimpleNamespace(_consumer=SimpleNamespace(_coordinator=coordinator)))
        self.committed = {CLICKS: 10}
        self.unread: set[TP] = set()
        self.next: dict[TP, int] = {CLICKS: 10}
        self.end: dict[TP, int | None] = {CLICKS: None}
        self.consumer = SimpleNamespace(
            committed_offsets=lambda: dict(self.committed),
            next_offset=self.next.get,
            highwater=self.end.get,
            assignment=lambda: set(self.committed) | self.unread,
        )


class Watched:
    """Health over a fake app, with its pages."""

    def __init__(self) -> None:
        self.app: Any = FakeApp()
        self.gate: Any = SimpleNamespace(awaited=None)
        self.registry = CollectorRegistry()
        windows = Windows(lambda _: pytest.fail("no window is made by looking"))
        self.metrics = DeliveryMetrics(self.registry)
        self.topics = TopicWatch(["clicks"], self.metrics, lambda error: pytest.fail(str(error)))
        self.health = Health(self.app, self.metrics, windows, self.gate, clickstreams=["clicks"], watch=self.topics)
        self.pulse = Pulse(self.health)

    async def ask(self, path: str) -> tuple[int, str]:
        """Ask for a page after a beat of the loop; gives status and text."""
        self.pulse.beat()
        server = web.Application()
        ProbePages(self.registry, self.pulse).add_to(server)
        request = make_mocked_request("GET", path)
        match = await server.router.resolve(request)
        answer = await match.handler(request)
        assert isinstance(answer, web.Response)
        assert isinstance(answer.body, bytes)
        return answer.status, answer.body.decode()

    def age(self) -> float | None:
        """Read the age of the committed offset."""
        return self.registry.get_sample_value(
            "insession_committed_offset_age_seconds", {"topic": "clicks", "partition": "0"}
        )


@pytest.fixture
def watched() -> Watched:
    """Make a worker's health."""
    return Watched()


@pytest.mark.parametrize(
    ("passed", "is_alive"), [(0.0, True), (STUCK_AFTER_SECONDS, True), (STUCK_AFTER_SECONDS + 1, False)]
)
async def test_a_commit_that_stands_still_with_events_in_flight_is_stuck(
    watched: Watched, passed: float, *, is_alive: bool
) -> None:
    """Longer than the bound, /healthz says for how long, with 503; the metric shows the age."""
    watched.app.next[CLICKS] = 12
    watched.health.observe(100.0)
    watched.health.observe(100.0 + passed)
    status, text = await watched.ask("/healthz")
    assert status == (200 if is_alive else 503)
    assert text == ("progressing" if is_alive else "a committed offset has stood still for 61 s with events to answer")
    assert watched.age() == passed


async def test_lag_counts_the_records_behind_the_committed_offset(watched: Watched) -> None:
    """The end is what the broker last told; a partition that went away has no lag any more."""
    where = {"topic": "clicks", "partition": "0"}
    watched.app.end[CLICKS] = 25
    watched.health.observe(0.0)
    assert watched.registry.get_sample_value("insession_consumer_lag_records", where) == 15
    watched.app.committed.clear()
    watched.health.observe(1.0)
    assert watched.registry.get_sample_value("insession_consumer_lag_records", where) is None


async def test_a_shop_where_nobody_clicks_is_no_standstill(watched: Watched) -> None:
    """A commit that has reached the actor's offset may stand for ever, and is as young as the next click."""
    for now in (0.0, 10_000.0):
        watched.health.observe(now)
    watched.app.next[CLICKS] = 11
    watched.health.observe(10_001.0)
    assert watched.age() == 1.0
    assert (await watched.ask("/healthz"))[0] == 200


async def test_a_commit_that_moves_is_progress(watched: Watched) -> None:
    """A worker that lags but commits is alive."""
    watched.app.next[CLICKS] = 500
    for n in range(10):
        watched.app.committed[CLICKS] = 10 + n
        watched.health.observe(n * 50.0)
    assert watched.health.alive() == (True, "progressing")


async def test_a_worker_that_no_longer_reads_is_stuck(watched: Watched) -> None:
    """Events on the broker that never reach the actor are owed too; while state is recovered nothing is."""
    watched.app.end[CLICKS] = 11
    watched.health.observe(0.0)
    watched.health.observe(61.0)
    assert not watched.health.alive()[0]
    watched.app.in_recovery = True
    watched.health.observe(62.0)
    assert watched.health.alive()[0]


async def test_a_worker_that_recovers_for_hours_is_alive(watched: Watched) -> None:
    """Nothing looks at the partitions before the first recovery has ended; the start guard tells whether it moves."""
    watched.app.in_recovery = True
    watched.app.end[CLICKS] = 11
    assert await watched.ask("/healthz") == (200, "progressing")
    assert (await watched.ask("/readyz"))[0] == 503


async def test_a_partition_that_went_away_is_not_stuck(watched: Watched) -> None:
    """Neither the probe nor the metric speaks of partitions that another worker has."""
    watched.app.next[CLICKS] = 12
    watched.health.observe(0.0)
    watched.app.committed.clear()
    watched.health.observe(1_000.0)
    assert watched.age() is None
    assert watched.health.alive()[0]


@pytest.mark.parametrize(
    ("attribute", "value", "text"),
    [
        ("rebalancing", True, "rebalancing"),
        ("in_recovery", True, "recovering state"),
        ("committed", {}, "no clickstream partition assigned"),
        ("committed", {TP("session-control", 0): 3}, "no clickstream partition assigned"),
        ("rebalancing", False, "answering"),
    ],
)
async def test_ready_says_what_it_waits_for(watched: Watched, attribute: str, value: Any, text: str) -> None:
    """A worker is ready when it answers clicks now; else the page says why not, with 503."""
    setattr(watched.app, attribute, value)
    assert await watched.ask("/readyz") == (200 if text == "answering" else 503, text)


async def test_metrics_are_prometheus_text_with_bounded_labels(watched: Watched) -> None:
    """The page parses, and no label is made of visitors, sessions or items."""
    watched.health.observe(0.0)
    status, text = await watched.ask("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    labels = {label for family in families.values() for sample in family.samples for label in sample.labels}
    assert status == 200
    assert {"insession_events", "insession_in_flight_events", "insession_dead_letters"} <= families.keys()
    bounded = {"status", "reason", "kind", "header", "result", "where", "up_to", "action", "tier", "position"}
    assert labels <= bounded | {"topic", "partition", "le"}


async def test_a_worker_that_waits_for_a_schema_is_alive_and_not_ready(watched: Watched) -> None:
    """A restart brings no registry back; the commits have a moment when it is, and stand still again after that."""
    watched.app.next[CLICKS] = 11
    watched.health.observe(0.0)
    watched.gate.awaited = 42
    watched.health.observe(2 * STUCK_AFTER_SECONDS)
    assert await watched.ask("/healthz") == (200, "waiting for schema 42 of the registry")
    assert await watched.ask("/readyz") == (503, "waiting for schema 42 of the registry")
    assert watched.age() == 2 * STUCK_AFTER_SECONDS
    watched.gate.awaited = None
    watched.health.observe(2 * STUCK_AFTER_SECONDS + 1)
    assert (await watched.ask("/healthz"))[0] == 200
    watched.health.observe(4 * STUCK_AFTER_SECONDS)
    assert (await watched.ask("/healthz"))[0] == 503


async def test_a_worker_that_has_lost_the_brokers_is_not_ready(watched: Watched) -> None:
    """Also where nobody clicks meanwhile; a restart would not help, so it is alive."""
    watched.app._consumer._thread._consumer._coordinator.coordinator_id = None
    assert await watched.ask("/readyz") == (503, "the brokers do not answer")
    assert (await watched.ask("/healthz"))[0] == 200
    watched.app._consumer._thread._consumer._coordinator.coordinator_id = 1
    assert await watched.ask("/readyz") == (200, "answering")


async def test_a_worker_without_partitions_is_a_spare_where_others_have_them(watched: Watched) -> None:
    """It is ready to take over; where nobody has them, it is not."""
    watched.app.committed.clear()
    watched.topics.observe(Sighting({"clicks": SeenTopic(1, 2)}, {"clicks": frozenset({0, 1})}))
    assert await watched.ask("/readyz") == (200, "a spare: every clickstream partition has another worker")
    watched.topics.observe(Sighting({"clicks": SeenTopic(1, 2)}, {"clicks": frozenset({0})}))
    assert await watched.ask("/readyz") == (503, "no clickstream partition assigned")


async def test_no_page_is_green_while_a_partition_has_no_worker(watched: Watched) -> None:
    """Also not that of a worker that reads the others."""
    for _ in range(2):
        watched.topics.observe(Sighting({"clicks": SeenTopic(1, 2)}, {"clicks": frozenset({0})}))
    for path in ("/healthz", "/readyz"):
        status, text = await watched.ask(path)
        assert (status, "no worker of the group has clicks-1" in text) == (503, True)


async def test_no_page_is_green_while_everything_is_replayed(watched: Watched) -> None:
    """For a minute, at least twenty; a crash that is made good is over before, and one answer ends it."""
    for second in range(90):
        watched.metrics.events.labels(status="replayed").inc()
        watched.health.observe(float(second))
        assert watched.health.ready()[0] == (second < 60)
    for path in ("/healthz", "/readyz"):
        status, text = await watched.ask(path)
        assert (status, "every click of the last minute was replayed" in text) == (503, True)
    watched.metrics.events.labels(status="answered").inc()
    watched.health.observe(90.0)
    assert await watched.ask("/healthz") == (200, "progressing")


async def test_a_quiet_shop_after_a_crash_is_not_all_replayed(watched: Watched) -> None:
    """What was answered again in the first seconds is made good, however long nobody clicks then."""
    for second in range(120):
        if second < 3:
            watched.metrics.events.labels(status="replayed").inc(ONLY_REPLAYED_ANSWERS)
        watched.health.observe(float(second))
        assert watched.health.ready()[0]


async def test_a_partition_of_ours_that_is_never_read_is_stuck(watched: Watched) -> None:
    """The group gave it to this worker, and no offset is expected of it; a rebalance may take its time."""
    watched.app.unread = {TP("clicks", 1)}
    watched.health.observe(0.0)
    watched.health.observe(61.0)
    assert watched.health.alive() == (False, "a partition of ours has not been read for 61 s")
    watched.app.rebalancing = True
    watched.health.observe(62.0)
    assert watched.health.alive()[0]


def test_the_assigned_partitions_of_the_clickstream_are_counted(watched: Watched) -> None:
    """Those of session-control are none."""
    watched.app.committed = {CLICKS: 0, TP("clicks", 4): 0, TP("session-control", 0): 0}
    watched.health.observe(0.0)
    assert watched.registry.get_sample_value("insession_partitions_assigned") == 2
