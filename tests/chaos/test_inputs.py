"""What a clickstream may bring: ten times the rate, anything at all, every codec at once, one key for all."""

import json
import random
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from schemas.state import decode_state
from streams.cluster.topics import Topic
from streams.delivery.codecs import CODECS
from tests.chaos.books import answered, balance, let_pass, recovery
from tests.chaos.fuzz import fuzzed
from tests.chaos.table import ChaosRow
from tests.kafka.deployment import NO_TICKS, Deploy, NewRecord
from tests.kafka.shop import Click, Shop

STEADY_EVENTS_PER_SECOND = 40
BURST = 10
STATE_BYTES = 64 << 10

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.fault("ten times the rate for {seconds} s", "none lost, the worker stays live, caught up soon after")
@pytest.mark.parametrize("seconds", [10, pytest.param(60, marks=pytest.mark.long)])
def test_a_burst_is_worked_off(deploy: Deploy, row: ChaosRow, seconds: int) -> None:
    """Every click of it is answered; /healthz is good all the time."""
    deployment = deploy(**NO_TICKS)
    clicks = Shop(seed=12).clicks()
    steady, burst = deployment.traffic(clicks), deployment.traffic(Shop(seed=13).clicks())
    worker = deployment.worker()
    worker.wait_until_ready()
    with steady.at_rate(STEADY_EVENTS_PER_SECOND):
        let_pass(steady, worker, STEADY_EVENTS_PER_SECOND)
        with burst.at_rate(STEADY_EVENTS_PER_SECOND * BURST):
            ends = time.monotonic() + seconds
            worker.wait_until(lambda: time.monotonic() > ends or worker.page("/healthz").status != 200, "the burst")
        with recovery(row):
            deployment.wait_until_committed(worker)
        assert worker.page("/healthz").status == 200
    balance(deployment, row, worker)


@pytest.mark.fault(
    "{records:,} records of anything: mutated clicks, random bytes, deep and huge JSON",
    "each answered, dead-lettered or not for us",
)
@pytest.mark.parametrize("records", [10_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_no_record_ends_a_worker(deploy: Deploy, row: ChaosRow, records: int) -> None:
    """The books hold, and the worker goes on."""
    deployment = deploy(**NO_TICKS)
    worker = deployment.worker()
    worker.wait_until_ready()
    producer = deployment.producer()
    inputs = fuzzed(random.Random(14), records)
    while batch := list(islice(inputs, 5_000)):
        deployment.produce(producer, Topic.CLICKSTREAM, batch)
    with recovery(row):
        deployment.wait_until_committed(worker)
    balance(deployment, row, worker)


@pytest.mark.fault("every codec by turns", "none lost")
def test_clicks_of_every_codec_are_answered(deploy: Deploy, row: ChaosRow) -> None:
    """Producers that do not agree on one."""
    deployment = deploy(**NO_TICKS)
    worker = deployment.worker()
    worker.wait_until_ready()
    clicks = Shop(seed=15).clicks()
    for codec in ("none", *CODECS):
        deployment.write(Topic.CLICKSTREAM, map(record_of, islice(clicks, 300)), codec=codec)
    with recovery(row):
        deployment.wait_until_committed(worker)
    balance(deployment, row, worker)


@pytest.mark.fault(
    "hot key: {clicks:,} clicks of one visitor between others'", "none lost, the others are answered, too"
)
@pytest.mark.parametrize("clicks", [5_000, pytest.param(30_000, marks=pytest.mark.long)])
def test_one_visitor_does_not_hold_up_the_others(deploy: Deploy, row: ChaosRow, clicks: int) -> None:
    """A session of thousands of events, and a bot's rate."""
    deployment = deploy(partitions=2, **NO_TICKS)
    worker = deployment.worker()
    worker.wait_until_ready()
    others = Shop(seed=16).clicks()
    hot = Shop(seed=17, visitors=2).clicks()

    def mixed() -> Iterator[Click]:
        for number, click in enumerate(hot):
            yield Click("hot", click.value and click.value.replace(b'"v0"', b'"hot"').replace(b'"v1"', b'"hot"'))
            if number % 10 == 0:
                yield next(others)

    deployment.write(Topic.CLICKSTREAM, map(record_of, islice(mixed(), clicks)))
    with recovery(row):
        deployment.wait_until_committed(worker)
    assert answered(worker) > 0
    balance(deployment, row, worker)


@pytest.mark.fault("a session of {events:,} events", "none lost, its state stays within its bounds")
@pytest.mark.parametrize("events", [10_000])
def test_a_long_session_is_one_session(deploy: Deploy, row: ChaosRow, events: int) -> None:
    """A tab that is left open beside others' clicks; all but the latest events are only counted."""
    deployment = deploy(partitions=2, **NO_TICKS)
    worker = deployment.worker()
    worker.wait_until_ready()
    start_ms = time.time_ns() // 1_000_000 - events * 1000
    views = (
        {
            "visitor_id": "tab",
            "event_type": "view",
            "item_id": f"i{number % 300}",
            "event_time": start_ms + number * 1000,
        }
        for number in range(events)
    )
    deployment.write(Topic.CLICKSTREAM, (NewRecord(b"tab", json.dumps(view).encode()) for view in views))
    deployment.write(Topic.CLICKSTREAM, map(record_of, islice(Shop(seed=18).clicks(), 300)))
    with recovery(row):
        deployment.wait_until_committed(worker)
    ledger = balance(deployment, row, worker)
    (state,) = (state for (_, key), state in ledger.changelog().items() if key == b"tab")
    assert decode_state(state).session.event_count == events  # type: ignore[union-attr]
    assert len(state) < STATE_BYTES


def record_of(click: Click) -> NewRecord:
    """Return a click as a record."""
    return NewRecord(click.key.encode(), click.value)
