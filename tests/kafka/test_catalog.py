from collections.abc import Mapping

import pytest

from schemas import wire
from streams.cluster.topics import Topic
from tests.builders.clicks import click
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, NewRecord

pytestmark = pytest.mark.kafka

MAPPED = {
    "INSESSION_CATALOG__MAPPING__PATHS__ITEM_ID": "sku",
    "INSESSION_CATALOG__MAPPING__PATHS__AVAILABLE": "stock.pieces",
}


def recommended(deployment: Deployment) -> Mapping[str, set[str]]:
    """Return the items of each visitor's answers so far."""
    items: dict[str, set[str]] = {}
    for record in deployment.reader.read(deployment.settings.topics.name(Topic.RECOMMENDATIONS)):
        answer = wire.decode_recommendation_set(record.value or b"")
        items.setdefault(answer.visitor_id, set()).update(item.item_id for item in answer.items)
    return items


def test_what_is_sold_out_or_unreadable_is_not_recommended_until_a_record_says_otherwise(deploy: Deploy) -> None:
    """The shop's own records: one of no pieces left, one that ends too early, and later one that can be read."""
    deployment = deploy(partitions=1, **NO_TICKS, **MAPPED)
    stocks = [(b"tv", b"3"), (b"tv", b"0"), (b"radio", b"5"), (b"lamp", b'"4"')]
    items = [NewRecord(key, b'{"sku": "%s", "stock": {"pieces": %s}}' % (key, pieces)) for key, pieces in stocks]
    deployment.write(Topic.CATALOG, [*items, NewRecord(b"radio", b'{"sku": "radio", "sto')])
    worker = deployment.worker()
    worker.wait_until_ready()
    assert worker.metric("insession_catalog_closed_items") == 1
    deployment.write(Topic.CLICKSTREAM, [click("v1", item_id=name) for name in ("tv", "radio", "lamp")])
    worker.wait_until(lambda: "lamp" in recommended(deployment).get("v1", ()), "it answered the first")
    deployment.write(Topic.CATALOG, [items[2]])
    worker.wait_until(lambda: worker.metric("insession_catalog_closed_items") == 0, "it read the update")
    deployment.write(Topic.CLICKSTREAM, [click("v2", item_id="lamp")])
    worker.wait_until(lambda: "v2" in recommended(deployment), "it answered the second")
    assert recommended(deployment) == {"v1": {"lamp"}, "v2": {"lamp", "radio"}}
    assert worker.metric("insession_catalog_unreadable_records_total") == 1
