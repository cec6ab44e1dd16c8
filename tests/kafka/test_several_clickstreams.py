"""Clicks and orders on topics of their own, in shapes of their own: one session, through a kill."""

import json
import signal
import time

import pytest

from streams.cluster.topics import Topic
from tests.builders.clicks import click
from tests.kafka.deployment import Deploy, NewRecord

pytestmark = pytest.mark.kafka

VISITORS = [f"v{number}" for number in range(20)]
ROUNDS = 15
ORDERS = "INSESSION_CLICKSTREAM__SOURCES__{prefix}orders__"
SETTINGS = {
    f"{ORDERS}PATHS__VISITOR_ID": "customer",
    f"{ORDERS}PATHS__EVENT_TIME": "at",
    f"{ORDERS}PATHS__ITEM_ID": "lines[].sku",
    f"{ORDERS}CONSTANTS__EVENT_TYPE": "purchase",
    "INSESSION_SESSIONS__INACTIVITY_GAP": "4",
    "INSESSION_SESSIONS__GRACE_PERIOD": "3",
    "INSESSION_SESSIONS__BOT_BURST_EVENTS": "1000",
    "INSESSION_KAFKA__TICK_INTERVAL": "0.2",
}


def order(visitor: str, time_ms: int, *items: str) -> NewRecord:
    """Make an order as the shop's back office writes it."""
    lines = [{"sku": item} for item in items]
    return NewRecord(visitor.encode(), json.dumps({"customer": visitor, "at": time_ms, "lines": lines}).encode())


def test_clicks_and_orders_of_two_topics_are_one_session(deploy: Deploy) -> None:
    """Through a kill every offset of both is answered, and each session ends once with all that was in it."""
    deployment = deploy(partitions=2, **SETTINGS)
    clicks, orders = deployment.settings.clickstreams
    start_ms = time.time_ns() // 1_000_000
    for number in range(ROUNDS):
        time_ms = start_ms + 20 * number
        deployment.write(Topic.CLICKSTREAM, [click(visitor, time_ms, item_id=f"i{number}") for visitor in VISITORS])
        deployment.write(orders, [order(visitor, time_ms + 10, f"b{number}", f"c{number}") for visitor in VISITORS])
    first = deployment.worker()
    first.wait_until(lambda: first.metric("insession_events_total") > 50, "it answered some")
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    second = deployment.worker()
    deployment.wait_until_committed(second)
    second.wait_until(lambda: len(deployment.ledger().session_ends()) >= len(VISITORS), "the sessions ended")
    assert second.end(signal.SIGTERM) == 0
    ledger = deployment.ledger()
    answered = {answer.id for answer in ledger.recommendations}
    assert answered == {
        f"{topic}-{partition}-{offset}"
        for topic in (clicks, orders)
        for partition, end in deployment.reader.end_offsets(topic).items()
        for offset in range(end)
    }
    assert len(answered) == 2 * ROUNDS * len(VISITORS)
    ends = {end.id: end for end in ledger.session_ends()}
    assert len({end.session_id for end in ends.values()}) == len(ends) == len(VISITORS)
    assert {end.event_count for end in ends.values()} == {3 * ROUNDS}
    assert {outcome.id.rpartition("-")[0].rpartition("-")[0] for outcome in ledger.outcomes()} >= {orders}
