"""What is trending in the topics of a deployment, held against a batch over the same clickstream."""

import time
from collections.abc import Mapping

from schemas import wire
from schemas.records import TRENDING_KEY, Trending
from streams.cluster.topics import Topic
from streams.trending.counts import PlaceCounts
from streams.trending.fold import ReadRecord, StoredProgress, TrendingFold
from streams.trending.snapshots import PLACE_PREFIX, PROGRESS_KEY, decode_place, decode_progress
from tests.kafka.deployment import Deployment
from tests.kafka.observer_process import ObserverProcess
from tests.streams.trending.logs import assert_same_counts

PLACES = ("nl/nh/ams", "nl/zh/rot", "de/be/ber", None)
OFTEN = {
    "INSESSION_TRENDING__PUBLISH_INTERVAL": "0.1",
    "INSESSION_TRENDING__STORE_INTERVAL": "0.1",
}


def lists(deployment: Deployment) -> Mapping[str, Trending | None]:
    """Return the latest list of each key; None = a tombstone."""
    latest: dict[str, Trending | None] = {}
    for record in deployment.reader.read(deployment.settings.topics.name(Topic.TRENDING)):
        latest[(record.key or b"").decode()] = record.value and wire.decode_trending(record.value)  # type: ignore[assignment]
    return latest


def stored(deployment: Deployment) -> tuple[StoredProgress, dict[str, PlaceCounts]]:
    """Read what the observer has stored last."""
    latest = {
        r.key or b"": r.value for r in deployment.reader.read(deployment.settings.topics.name(Topic.OBSERVER_STATE))
    }
    progress = decode_progress(latest[PROGRESS_KEY] or b"")
    places = [decode_place(value) for key, value in latest.items() if key.startswith(PLACE_PREFIX) and value]
    return progress, {one.place: PlaceCounts.restored(one.counts, 10_000) for one in places}


def batch(deployment: Deployment) -> TrendingFold:
    """Count what the session rules count in the clickstream as it lies there, without any worker or observer."""
    ledger = deployment.ledger()
    fold = TrendingFold(deployment.settings.locations.chain, lambda visitor: int(visitor.removeprefix("v")) + 1)
    visitors = {record.id: record.visitor_id for record in ledger.recommendations}
    for offset, (record_id, counts) in enumerate(ledger.expected.counts.items()):
        fold.apply(ReadRecord(record_id, visitors[record_id], counts), 0, offset, time.time_ns() // 1_000_000)
    return fold


def assert_counted_once(deployment: Deployment, observer: ObserverProcess) -> None:
    """Wait until all is read and stored, and hold it against the batch: positions = ends, counts to a billionth."""
    clickstream = deployment.settings.topics.name(Topic.CLICKSTREAM)
    expected = batch(deployment)
    observer.wait_until(lambda: observer.is_done, "it has read all")
    observer.wait_until(lambda: stored(deployment)[0].offsets == expected.offsets, "it has stored all")
    progress, places = stored(deployment)
    assert progress.offsets == expected.offsets
    assert places.keys() == expected.places.keys()
    for place, counts in expected.places.items():
        assert_same_counts(places[place], counts, expected.now_ms)
    observer.wait_until(
        lambda: (found := lists(deployment).get(TRENDING_KEY)) is not None and found.positions == expected.offsets,
        "it has published all",
    )
    ends = deployment.reader.end_offsets(clickstream)
    assert all(offset < ends[int(source.rpartition("-")[2])] for source, offset in expected.offsets.items())
