"""Answers to show, and a server to show them."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from agents.clicks.watcher import EmittedAnswer
from agents.live.access import Access
from agents.live.feed import LiveFeed
from agents.live.pages import LivePages
from schemas import wire
from schemas.events import ClickEvent
from schemas.ids import EventId, ItemId, ModelVersion, SessionId, VisitorId
from schemas.records import CatalogItem, IntentSignal, RecommendationSet, RecommendedItem
from streams.catalog import Catalog

EVENT_TIME = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def catalog_of(*items: CatalogItem) -> Catalog:
    """Make a catalog."""
    catalog = Catalog()
    for item in items:
        catalog.apply(item.item_id.encode(), wire.encode(item))
    return catalog


def released(visitor: str = "v1", item_id: str = "i1", *, status: str = "answered", **fields: Any) -> EmittedAnswer:
    """Make an answer of the model that recommends i2 and i3, 20 ms after the record's timestamp."""
    of = {"visitor_id": VisitorId(visitor), "event_id": EventId("e"), "event_time": EVENT_TIME}
    session = SessionId(f"session-of-{visitor}")
    recommendation = RecommendationSet(
        id="clickstream-0-0",
        status=status,  # type: ignore[arg-type]
        session_id=session,
        items=[RecommendedItem(ItemId("i2"), 0.9), RecommendedItem(ItemId("i3"), 0.8)],
        tier="model",
        model_version=ModelVersion(3),
        **of,  # type: ignore[arg-type]
    )
    signal = IntentSignal(
        id="clickstream-0-0",
        session_id=session,
        prefix_length=1,
        purchase_status="calibrated",
        purchase_probability=0.25,
        pattern="focused",
        **of,  # type: ignore[arg-type]
    )
    event = ClickEvent(visitor_id=VisitorId(visitor), event_type="view", event_time=EVENT_TIME, item_id=ItemId(item_id))
    known = {
        "visitor_key": f"{visitor:0<32}".replace("v", "f"),
        "record_time_ms": time.time_ns() // 1_000_000 - 20,
        "event": event,
        "recommendation": recommendation,
        "signal": signal,
    }
    return EmittedAnswer(**known | fields)  # type: ignore[arg-type]


def decoded(message: bytes) -> tuple[str, dict[str, Any]]:
    """Read one server-sent event: its kind and its data."""
    kind, data, *rest = message.decode().split("\n")
    assert rest == ["", ""]
    return kind.removeprefix("event: "), msgspec.json.decode(data.removeprefix("data: "))


@asynccontextmanager
async def served(feed: LiveFeed, access: Access) -> AsyncIterator[tuple[str, web.AppRunner]]:
    """Serve the page as the worker's web port does; gives its address."""
    server = web.Application()
    LivePages(feed, access).add_to(server)
    runner = web.AppRunner(server)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}", runner
    finally:
        await runner.cleanup()
