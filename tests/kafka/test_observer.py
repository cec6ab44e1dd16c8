"""The observer on a real broker: its counts are those of a batch over the clickstream, whatever is killed meanwhile."""

import contextlib
import json
import random
import signal
import time
from collections.abc import Callable
from itertools import count

import pytest

from agents.observer.process import Turn
from schemas import wire
from schemas.ids import ItemId
from schemas.records import TRENDING_KEY, CatalogItem
from streams.cluster.group_state import group_state
from streams.cluster.topics import Topic
from tests.builders.clicks import click
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, NewRecord
from tests.kafka.shop import Shop
from tests.kafka.trending_books import OFTEN, assert_counted_once, lists
from tests.kafka.worker_process import PATIENCE_SECONDS

pytestmark = pytest.mark.kafka

EVENTS_PER_SECOND = 200


def test_what_is_trending_is_published_by_place_and_answered(deploy: Deploy) -> None:
    """A worker answers it to a late visitor of the place, and in the default list; Ctrl-C ends an observer with 0."""
    deployment = deploy(partitions=2, **NO_TICKS, **OFTEN)
    worker, observer = deployment.worker(), deployment.observer()
    worker.wait_until_ready()
    # Nobody knows the shop's items here: an item is answered once 20 visitors and 1 % of the views are of it.
    views = [click(f"v{number}", item_id="rug", location="nl/nh/ams") for number in range(60)]
    deployment.write(Topic.CLICKSTREAM, [*views, *(click(f"w{n}", item_id="bed", location="de") for n in range(70))])
    expected = {TRENDING_KEY: "bed", "nl": "rug", "nl/nh": "rug", "nl/nh/ams": "rug", "de": "bed"}

    def firsts() -> dict[str, str | None]:
        return {key: record and record.items[0].item_id for key, record in lists(deployment).items()}

    observer.wait_until(lambda: firsts() == expected, "it wrote the lists")
    worker.wait_until(lambda: worker.metric("insession_trending_lists") == 5, "it read the lists")
    assert worker.metric("insession_trending_stale") == 0
    deployment.write(Topic.CLICKSTREAM, [click("x", item_id="lamp", location="nl/nh/ams", consent=False)])

    def answers() -> list[str]:
        told = deployment.ledger().recommendations
        return [item.item_id for one in told if one.visitor_id == "x" for item in one.items]

    worker.wait_until(lambda: bool(answers()), "it answered")
    assert answers()[0] == "rug"
    assert observer.end(signal.SIGINT) == 0


def test_an_observer_that_is_killed_again_and_again_counts_each_input_once(deploy: Deploy) -> None:
    """At whatever write it is; a second worker joins, and the first is killed, so that inputs are answered twice."""
    chance = random.Random(3)
    deployment = deploy(partitions=4, **NO_TICKS, **OFTEN)
    traffic = deployment.traffic(Shop(seed=5).clicks())
    worker = deployment.worker()
    worker.wait_until_ready()
    with traffic.at_rate(EVENTS_PER_SECOND):
        for number in range(6):
            observer = deployment.observer(f"observer-{number}")
            observer.wait_until(lambda: observer.is_active, "it counts")  # noqa: B023 - called at once
            written = observer.metric("insession_observer_written_records_total")
            wanted = written + chance.randrange(1, 12)
            observer.wait_until(
                lambda: observer.metric("insession_observer_written_records_total") >= wanted,  # noqa: B023
                "it wrote",
            )
            assert observer.end(signal.SIGKILL) == -signal.SIGKILL
            if number == 1:
                joining = deployment.worker("b")
                joining.wait_until_ready()
            if number == 3:
                worker.end(signal.SIGKILL)
    worker = joining
    worker.wait_until_ready()
    deployment.wait_until_committed(worker)
    deployment.ledger().check().assert_clean()
    assert_counted_once(deployment, deployment.observer("last"))


def test_of_two_observers_one_counts_and_a_zombie_does_no_harm(deploy: Deploy) -> None:
    """One that stands still loses its turn; when it wakes, it writes what is old by then, and nothing counts twice."""
    deployment = deploy(partitions=4, **NO_TICKS, **OFTEN)
    traffic = deployment.traffic(Shop(seed=6).clicks())
    worker = deployment.worker()
    worker.wait_until_ready()
    with traffic.at_rate(EVENTS_PER_SECOND):
        first = deployment.observer("first")
        first.wait_until(lambda: first.metric("insession_observer_stored_timestamp_seconds") > 0, "it stored")
        second = deployment.observer("second")
        second.wait_until(lambda: group_of(deployment) == ("STABLE", 2), "it takes part")
        assert second.is_ready()
        assert (first.is_active, second.is_active) == (True, False)
        first.send(signal.SIGSTOP)
        second.wait_until(lambda: second.is_active and second.is_ready(), "it took over")
        first.send(signal.SIGCONT)
        first.wait_until(lambda: "observer_turn_over" in first.log_text(), "it saw that its turn is over")
        first.wait_until(lambda: group_of(deployment) == ("STABLE", 2), "it takes part")
        assert first.is_ready()
        assert (first.is_active, second.is_active) == (False, True)
        assert "observer_turn_over" not in second.log_text()
        assert second.end(signal.SIGTERM) == 0
        first.wait_until(lambda: first.is_active, "it took over")
    deployment.wait_until_committed(worker)
    assert_counted_once(deployment, first)


def test_whoever_joins_the_one_whose_turn_it_is_keeps_it(deploy: Deploy) -> None:
    """Until it leaves: each change of turns reads the state again."""
    deployment = deploy(partitions=1, **NO_TICKS)
    state = deployment.settings.topics.name(Topic.OBSERVER_STATE)
    turns: list[Turn] = []
    with contextlib.ExitStack() as stack:

        def wait_until(condition: Callable[[], bool]) -> None:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not condition():
                assert time.monotonic() < deadline
                for turn in turns:
                    turn.poll(0.05)

        for count_of_turns in range(1, 6):
            turns.append(Turn(deployment.settings, state))
            stack.callback(turns[-1].close)
            wait_until(lambda: group_of(deployment) == ("STABLE", count_of_turns))  # noqa: B023 - called at once
            wait_until(lambda: turns[0].is_ours)
            assert [turn.is_ours for turn in turns] == [True] + [False] * (count_of_turns - 1)
        turns.pop(0).close()
        wait_until(lambda: any(turn.is_ours for turn in turns))
        assert sum(turn.is_ours for turn in turns) == 1


def group_of(deployment: Deployment) -> tuple[str, int]:
    """Return the state of the observers' group and how many take part."""
    topics, kafka = deployment.settings.topics, deployment.settings.kafka
    group = f"{topics.prefix}{kafka.group}-observer"
    found = group_state(deployment.admin, group, topics.name(Topic.OBSERVER_STATE), 1)
    return found.state, found.members


def test_an_observer_waits_for_topics_that_are_not_there(deploy: Deploy) -> None:
    """It says so, and goes on when they come."""
    deployment = deploy(partitions=1, **NO_TICKS, **OFTEN)
    deployment.delete(Topic.TRENDING)
    observer = deployment.observer()
    observer.wait_until(lambda: "observer_waits" in observer.log_text(), "it said so")
    assert not observer.is_ready()
    assert observer.page("/healthz").status == 200
    deployment.create(next(one for one in deployment.settings.topic_specs() if one.name.endswith("-trending")))
    observer.wait_until(lambda: observer.is_active, "it counts")


def test_lists_with_what_was_gone_are_counted(deploy: Deploy) -> None:
    """Answers and default lists, by whoever wrote them; the catalog is read before them."""
    deployment = deploy(partitions=2, **NO_TICKS, **OFTEN)
    gone = [CatalogItem(item_id=ItemId("gone"), available=False), CatalogItem(item_id=ItemId("here"))]
    deployment.write(Topic.CATALOG, [NewRecord(item.item_id.encode(), wire.encode(item)) for item in gone])
    observer = deployment.observer()
    observer.wait_until(lambda: observer.is_active, "it counts")
    numbers = count()

    def write(item: str) -> None:
        record = {"id": f"clickstream-0-{next(numbers)}", "visitor_id": "v", "items": [{"item_id": item}]}
        for topic in (Topic.RECOMMENDATIONS, Topic.DEFAULT_RECOMMENDATIONS):
            deployment.write(topic, [NewRecord(b"v", json.dumps(record).encode())])

    def counted(kind: str) -> float:
        return observer.metric("insession_observer_unavailable_lists_total", f'kind="{kind}"')

    def is_told() -> bool:
        write("gone")  # again and again: until a second after the record nobody is to blame
        return min(counted("answer"), counted("default_list")) > 0

    write("here")
    observer.wait_until(is_told, "it said so")
    assert counted("answer") < next(numbers)
    assert "unavailable_item_listed" in observer.log_text()
