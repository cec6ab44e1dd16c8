"""The worker's view of what is trending: the observer's topic, followed from its beginning, without a group."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from prometheus_client import CollectorRegistry, Gauge

from agents.encodings import Encodings
from agents.settings import Settings
from schemas import wire
from schemas.events import from_unix_ms
from schemas.records import Trending
from serving.trending import TrendingBoard
from streams.cluster.topics import Topic
from streams.compacted_view import CompactedView, following
from streams.metrics import ViewMetrics
from streams.records import InputRecord


def trending_board(settings: Settings, registry: CollectorRegistry) -> TrendingBoard:
    """Make an empty board, and the metrics that tell how it is."""
    trending = settings.trending
    board = TrendingBoard(
        settings.locations,
        stale_after_seconds=trending.stale_after.total_seconds(),
        max_places=trending.max_places,
    )
    lists = Gauge("insession_trending_lists", "Places of which is known what is trending.", registry=registry)
    lists.set_function(lambda: len(board))
    stale = Gauge(
        "insession_trending_stale",
        "1 while what is trending is too old to be answered; 0 also where no observer ever wrote.",
        registry=registry,
    )
    stale.set_function(lambda: board.is_stale)
    return board


@asynccontextmanager
async def following_trending(
    settings: Settings, board: TrendingBoard, encodings: Encodings, registry: CollectorRegistry
) -> AsyncIterator[None]:
    """Follow the topic; nothing waits for it: until it is read popular is that of the release."""
    metrics = ViewMetrics(registry, "trending")
    view = CompactedView(
        settings.topics.name(Topic.TRENDING),
        settings.kafka.view_config(),
        taking(board, lambda value: from_avro(encodings.decode_output(value))),
        metrics,
    )
    async with following(view):
        yield


def from_avro(decoded: object) -> Trending:
    """Make a list of what was decoded, in which moments are Unix milliseconds; raises ValueError where it is none."""
    fields = dict(decoded) if isinstance(decoded, dict) else {}
    for name in ("event_time", "updated_at"):
        if isinstance(fields.get(name), int):
            fields[name] = from_unix_ms(fields[name])
    return msgspec.convert(fields, Trending)


def taking(board: TrendingBoard, decode: Callable[[bytes], Trending]) -> Callable[[InputRecord], None]:
    """Return what puts a record of the topic on the board, and raises where it cannot be read.

    decode: reads what is no JSON.
    """

    def take(record: InputRecord) -> None:
        key = (record.key or b"").decode(errors="surrogateescape")
        value = record.value
        if value is None:
            board.put(key, None, record.time_ms)
        else:
            board.put(key, wire.decode_trending(value) if value[:1] == b"{" else decode(value), record.time_ms)

    return take
