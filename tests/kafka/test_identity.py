"""A login moves a session between partitions and workers, exactly once, also where workers are killed on the way."""

import json
import signal
import time
from collections.abc import Iterator

import pytest

from schemas import wire
from schemas.events import Erase
from schemas.ids import VisitorId
from schemas.state import VisitorState, decode_state
from streams.cluster.topics import Topic
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, NewRecord, Say
from tests.kafka.ledger import Ledger
from tests.kafka.shop import Click
from tests.kafka.worker_process import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]

SHOPPERS = 200
BEFORE_LOGIN = 3
CLICKS = 6
"""Of each shopper, the last ones logged in."""


def shopping() -> Iterator[Click]:
    """Make the clicks of shoppers who log in in mid-session, a few of them at a time."""
    start_ms = time.time_ns() // 1_000_000
    order = sorted((shopper + 10 * step, shopper, step) for shopper in range(SHOPPERS) for step in range(CLICKS))
    for moment, shopper, step in order:
        is_known = step >= BEFORE_LOGIN
        event = {
            "visitor_id": f"user-{shopper}" if is_known else f"anon-{shopper}",
            "anonymous_id": f"anon-{shopper}",
            "event_type": "view",
            "event_time": start_ms + moment,
            "item_id": f"i{step}",
        }
        yield Click(str(event["visitor_id"]), json.dumps(event).encode())


def settle(deployment: Deployment, worker: WorkerProcess) -> None:
    """Wait until clicks, what they hand over and what is adopted are all committed."""
    for _ in range(3):
        deployment.wait_until_committed(worker)


def states(ledger: Ledger) -> dict[str, VisitorState]:
    """Read the states from the changelog."""
    return {key.decode(): decode_state(value) for (_, key), value in ledger.changelog().items()}


def test_a_login_keeps_the_session_while_workers_are_killed(deploy: Deploy, say: Say) -> None:
    """Every click of a shopper is once in the open session of the known id, and nothing is left of the cookie."""
    deployment = deploy(**NO_TICKS)
    staying, leaving = deployment.worker("a"), deployment.worker("b")
    for worker in (staying, leaving):
        worker.wait_until_ready()
    clicks = SHOPPERS * CLICKS
    traffic = deployment.traffic(shopping())
    with traffic.at_rate(100):
        for share in (0.25, 0.5, 0.75):
            enough = round(clicks * share)
            staying.wait_until(lambda: traffic.sent >= enough, "the shop has sent more")  # noqa: B023 - called at once
            assert leaving.end(signal.SIGKILL) == -signal.SIGKILL
            leaving = deployment.worker(leaving.datadir.name)
            leaving.wait_until_ready()
            staying, leaving = leaving, staying
        staying.wait_until(lambda: traffic.sent >= clicks, "the shop has sent all")
    settle(deployment, staying)
    ledger = deployment.ledger()
    found = states(ledger)
    control = [wire.decode_control(record.value or b"") for record in ledger.records(Topic.SESSION_CONTROL)]
    kinds = [type(record).__name__ for record in control]
    say(f"{clicks} clicks, {kinds.count('Handover')} handovers, {kinds.count('Adoption')} adoptions, 3 kills")
    assert ledger.session_ends() == []
    assert ledger.dead_letters() == []
    for shopper in range(SHOPPERS):
        session = found[f"user-{shopper}"].session
        assert session is not None
        assert [event.item_id for event in session.events] == [f"i{step}" for step in range(CLICKS)]
        assert (session.event_count, found[f"user-{shopper}"].parked) == (CLICKS, ())
        assert found[f"anon-{shopper}"].open_sessions == ()


def test_an_erasure_of_either_id_leaves_a_tombstone_of_both(deploy: Deploy) -> None:
    """Written to every partition for one of the two ids, by the customer's and by the cookie's."""
    deployment = deploy(**NO_TICKS)
    worker = deployment.worker()
    clicks = [NewRecord(click.key.encode(), click.value) for click in shopping()]
    deployment.write(Topic.CLICKSTREAM, clicks)
    settle(deployment, worker)
    erasures = [Erase(visitor_id=VisitorId("user-1")), Erase(visitor_id=VisitorId("anon-2"))]
    deployment.write(
        Topic.SESSION_CONTROL,
        [NewRecord(None, wire.encode(erase), partition=partition) for erase in erasures for partition in range(4)],
    )
    settle(deployment, worker)
    gone = {"user-1", "anon-1", "user-2", "anon-2"}
    left = {f"{kind}-{shopper}" for kind in ("user", "anon") for shopper in range(SHOPPERS)} - gone
    assert set(states(deployment.ledger())) == left
