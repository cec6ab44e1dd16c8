import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from schemas import wire
from schemas.events import from_unix_ms
from schemas.ids import ItemId
from schemas.records import DEFAULT_KEY, CatalogItem, DefaultRecommendations, RecommendedItem
from streams.availability_history import ALLOWED_MS
from streams.cluster.topics import Topic
from tests.builders.clicks import click
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, NewRecord

pytestmark = pytest.mark.kafka

OFTEN = {"INSESSION_SERVING__DEFAULT_LIST_INTERVAL_SECONDS": "0.2"}
VISITORS = [f"v{number}" for number in range(20)]


def lists(deployment: Deployment) -> Mapping[str, Sequence[str] | None]:
    """Return the items of each key's latest record; None = a tombstone."""
    latest: dict[str, Sequence[str] | None] = {}
    for record in deployment.reader.read(deployment.settings.topics.name(Topic.DEFAULT_RECOMMENDATIONS)):
        items = None if record.value is None else wire.decode_default_recommendations(record.value).items
        latest[(record.key or b"").decode()] = items and [item.item_id for item in items]
    return latest


def test_one_of_two_workers_writes_the_lists(deploy: Deploy) -> None:
    """A list for everywhere and one for a location that differs, until it no longer does: all by the same worker."""
    deployment = deploy(partitions=2, **NO_TICKS, **OFTEN)
    workers = [deployment.worker(name) for name in ("a", "b")]
    for worker in workers:
        worker.wait_until_ready()
    # Everybody does the same, so that both workers know the same of their partitions.
    tied_in_the_north = [{"item_id": "i1", "location": "north"}, {"item_id": "i2", "location": "north"}]
    for fields in tied_in_the_north:
        deployment.write(Topic.CLICKSTREAM, [click(visitor, **fields) for visitor in VISITORS])
    deployment.write(
        Topic.CLICKSTREAM, [click(f"south-{visitor}", item_id="i2", location="south") for visitor in VISITORS]
    )
    expected = {DEFAULT_KEY: ["i2", "i1"], "north": ["i1", "i2"], "south": ["i2"]}
    workers[0].wait_until(lambda: lists(deployment) == expected, "it wrote the lists")
    deployment.write(
        Topic.CLICKSTREAM, [click(f"north-{visitor}", item_id="i2", location="north") for visitor in VISITORS]
    )
    workers[0].wait_until(lambda: lists(deployment)["north"] is None, "it removed the north's")
    assert lists(deployment) == {**expected, "north": None}
    written = [worker.metric("insession_default_lists_total") for worker in workers]
    assert min(written) == 0 < max(written)


def test_lists_of_strangers_that_are_left_are_removed_after_a_restart(deploy: Deploy) -> None:
    """Seventy invented clicks at invented locations list nothing, and what an earlier worker left there goes."""
    deployment = deploy(partitions=1, **NO_TICKS, **OFTEN)
    left = DefaultRecommendations(
        location="evil<script>",
        items=[RecommendedItem(ItemId("spam"), 1.0)],
        source="popular",
        updated_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    deployment.write(Topic.DEFAULT_RECOMMENDATIONS, [NewRecord(b"evil<script>", wire.encode(left))])
    worker = deployment.worker("a")
    worker.wait_until_ready()
    shop = [click(f"v{number}", item_id=f"i{number % 7}", location=f"city{number % 5}") for number in range(200)]
    deployment.write(Topic.CLICKSTREAM, shop)
    cities = {DEFAULT_KEY, *(f"city{number}" for number in range(5))}
    worker.wait_until(lambda: len(lists(deployment).keys() & cities) > 3, "it wrote the lists")
    worker.wait_until(lambda: lists(deployment)["evil<script>"] is None, "it removed the stranger's")
    invented = [click(f"a{number}", item_id=f"spam{number % 3}", location=f"evil{number}") for number in range(70)]
    deployment.write(Topic.CLICKSTREAM, [*invented, click("last", item_id="i0", location="city1")])
    worker.wait_until(lambda: worker.metric("insession_events_total") == 271, "it answered all")
    found = {key: items for key, items in lists(deployment).items() if items is not None}
    assert DEFAULT_KEY in found.keys() <= cities  # one that is like the rest has none of its own
    assert not any("spam" in item for items in found.values() for item in items or ())


def test_what_goes_leaves_the_lists_long_before_they_are_renewed(deploy: Deploy) -> None:
    """Lists are renewed once a minute: what sells out, is removed or ends leaves one that an earlier worker wrote.

    That it does so within a second is for bench.availability to say: here the producer begins anew for each record, on
    a machine that runs other tests.
    """
    deployment = deploy(partitions=1, **NO_TICKS)
    now_ms = time.time_ns() // 1_000_000
    items = [RecommendedItem(ItemId(f"i{number}"), 1.0) for number in range(4)]
    left = DefaultRecommendations(items=items, source="popular", updated_at=from_unix_ms(now_ms))
    deployment.write(Topic.DEFAULT_RECOMMENDATIONS, [NewRecord(DEFAULT_KEY.encode(), wire.encode(left))])
    worker = deployment.worker()
    worker.wait_until_ready()

    def said() -> tuple[list[str], int]:
        record = deployment.reader.read(deployment.settings.topics.name(Topic.DEFAULT_RECOMMENDATIONS))[-1]
        found = wire.decode_default_recommendations(record.value or b"").items
        return [item.item_id for item in found], record.time_ms

    end_ms = time.time_ns() // 1_000_000 + 3_000
    goes = {
        "i1": wire.encode(CatalogItem(item_id=ItemId("i1"), available=False)),
        "i2": None,
        "i3": wire.encode(CatalogItem(item_id=ItemId("i3"), available_until=end_ms)),
    }
    for item_id, value in goes.items():
        gone_ms = max(end_ms if item_id == "i3" else 0, time.time_ns() // 1_000_000)
        deployment.write(Topic.CATALOG, [NewRecord(item_id.encode(), value)])
        worker.wait_until(lambda gone=item_id: gone not in said()[0], "the item left the list")  # type: ignore[misc]
        assert 0 <= said()[1] - gone_ms < 10 * ALLOWED_MS
    assert said()[0] == ["i0"]
