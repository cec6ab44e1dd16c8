"""Compressed topics, and what the client cannot decode, on a real broker and with the worker as it is."""

import signal

import pytest

from schemas import wire
from schemas.events import Erase
from schemas.ids import ItemId, VisitorId
from schemas.records import CatalogItem
from streams.cluster.topics import Topic, changelog_name
from streams.delivery.codecs import CODECS
from tests.builders.clicks import click
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, NewRecord
from tests.kafka.ledger import error_headers
from tests.streams.batches import OddName, send

pytestmark = pytest.mark.kafka

ALL = ("none", *CODECS)
CLICKS_EACH = 3


def clicks(visitor: str) -> list[NewRecord]:
    """Make clicks of a visitor, so alike that compressing them pays."""
    return [click(visitor, title="t" * 200) for _ in range(CLICKS_EACH)]


def last_prefix_lengths(deployment: Deployment) -> dict[str, int]:
    """Return how many events of the session each visitor's last answer knew of."""
    records = deployment.ledger().records(Topic.INTENT_SIGNALS)
    signals = [wire.decode_intent_signal(record.value or b"") for record in records]
    return {signal.visitor_id: signal.prefix_length for signal in signals}


def test_every_codec_is_read_on_every_topic_and_recovered(deploy: Deploy) -> None:
    """Of the producer or of the topic; clicks, erasures, catalog, and the state on an empty data folder."""
    deployment = deploy(partitions=1, **NO_TICKS)
    clickstream = deployment.settings.topics.name(Topic.CLICKSTREAM)
    first = deployment.worker("first")
    first.wait_until_ready()
    deployment.set_compression(changelog_name(deployment.settings.kafka, deployment.settings.topics), "zstd")
    for codec in ALL:
        items = [CatalogItem(item_id=ItemId(f"{codec}-{number}"), title="t" * 200) for number in range(CLICKS_EACH)]
        erasures = [NewRecord(None, wire.encode(Erase(visitor_id=VisitorId("gone" * 50))))] * CLICKS_EACH
        deployment.write(Topic.CLICKSTREAM, clicks(f"producer-{codec}"), codec=codec)
        deployment.write(Topic.SESSION_CONTROL, erasures, codec=codec)
        deployment.write(Topic.CATALOG, [NewRecord(i.item_id.encode(), wire.encode(i)) for i in items], codec=codec)
    for codec in ("uncompressed", *CODECS):
        deployment.set_compression(clickstream, codec)
        deployment.write(Topic.CLICKSTREAM, clicks(f"topic-{codec}"))
    deployment.wait_until_committed(first)
    visitors = [*(f"producer-{codec}" for codec in ALL), *(f"topic-{codec}" for codec in ("uncompressed", *CODECS))]
    assert last_prefix_lengths(deployment) == dict.fromkeys(visitors, CLICKS_EACH)
    first.wait_until(
        lambda: first.metric("insession_catalog_items") == CLICKS_EACH * len(ALL), "it read the whole catalog"
    )
    assert first.log_text().count('"visitor_erased"') == CLICKS_EACH * len(ALL)
    assert first.end(signal.SIGTERM) == 0
    second = deployment.worker("on-an-empty-folder")
    deployment.write(Topic.CLICKSTREAM, [click(visitor) for visitor in visitors])
    deployment.wait_until_committed(second)
    assert second.metric("insession_catalog_items") == CLICKS_EACH * len(ALL)
    assert last_prefix_lengths(deployment) == dict.fromkeys(visitors, CLICKS_EACH + 1)
    assert deployment.ledger().dead_letters() == []


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_a_header_name_that_is_no_utf8_is_a_dead_letter_and_the_partition_goes_on(deploy: Deploy, codec: str) -> None:
    """Its neighbours in the batch are answered; a letter has the value, and says which name it was."""
    deployment = deploy(partitions=1, **NO_TICKS)
    before, odd, after, later = (click(visitor) for visitor in ("before", "odd", "after", "later"))
    erase = wire.encode(Erase(visitor_id=VisitorId("before")))
    names, brokers = deployment.settings.topics.name, deployment.settings.kafka.brokers
    batch = [(one.key, one.value, [("h", b"1")]) for one in (before, odd, after)]
    batch[1] = (odd.key, odd.value, [("h", b"1"), (OddName("x"), b"2")])
    send(brokers, names(Topic.CLICKSTREAM), *batch, codec=codec)
    send(brokers, names(Topic.SESSION_CONTROL), (None, erase, [(OddName("x"), None)]), codec=codec)
    worker = deployment.worker()
    deployment.wait_until_committed(worker)
    deployment.write(Topic.CLICKSTREAM, [later])
    deployment.wait_until_committed(worker)
    assert worker.metric("insession_dead_letters_total") == 2
    assert worker.end(signal.SIGTERM) == 0
    ledger = deployment.ledger()
    assert [record.visitor_id for record in ledger.recommendations] == ["before", "after", "later"]
    by_topic = {error_headers(letter)["topic"]: letter for letter in ledger.dead_letters()}
    letter = by_topic[names(Topic.CLICKSTREAM)]
    assert (letter.key, letter.value, letter.headers[:2]) == (
        odd.key,
        odd.value,
        (("h", b"1"), (r"\xff\xfe-origin", b"2")),
    )
    assert (error_headers(letter)["reason"], error_headers(letter)["offset"]) == ("undecodable", "1")
    assert error_headers(letter)["message"] == r"the header name \xff\xfe-origin is no UTF-8"
    assert by_topic[names(Topic.SESSION_CONTROL)].value == erase
    assert "Traceback" not in worker.log_text()
