import asyncio
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from msgspec import structs
from structlog.testing import capture_logs

from agents.live import feed as feed_module
from agents.live.feed import MAX_PENDING, MAX_SESSIONS, MAX_WATCHERS, QUIET_SECONDS, LiveFeed, TooManyWatchersError
from schemas.ids import ItemId
from schemas.records import CatalogItem, RecommendedItem
from streams.catalog import Catalog
from tests.agents.live.builders import catalog_of, decoded, released


class Clock:
    """The monotonic clock of the feed."""

    now = 1000.0

    def monotonic(self) -> float:
        """Return the time that the test set."""
        return self.now

    def time(self) -> float:
        """Return a wall clock."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let the test decide on the time."""
    clock = Clock()
    monkeypatch.setattr(feed_module, "time", clock)
    return clock


async def test_an_answer_is_shown_with_what_the_catalog_says() -> None:
    """Title, category and price of the item and of what is recommended; an unknown item is called by its id."""
    shirt = CatalogItem(item_id=ItemId("i1"), title="Linen shirt", category="clothes", price=39.5)
    feed = LiveFeed(catalog_of(shirt, CatalogItem(item_id=ItemId("i2"), title="Oak chair")))
    with feed.subscribed() as subscription:
        feed.emitted(released())
        ((kind, shown),) = map(decoded, await subscription.take())
    assert kind == "answer"
    assert shown["item"] == {"id": "i1", "title": "Linen shirt", "category": "clothes", "price": 39.5}
    assert [item["title"] for item in shown["answers"]] == ["Oak chair", "i3"]
    assert (shown["tier"], shown["model_version"], shown["probability"], shown["pattern"]) == (
        "model",
        3,
        0.25,
        "focused",
    )
    assert 20 <= shown["latency_ms"] < 10_000


async def test_an_answer_says_why_each_item_is_in_it() -> None:
    """By the title of the item to which it is owed, or by what placed it; nothing where the tier says it all."""
    feed = LiveFeed(catalog_of(CatalogItem(item_id=ItemId("i1"), title="Linen shirt")))
    owed = RecommendedItem(ItemId("i2"), 0.9, because=ItemId("i1"))
    made = released()
    rises = RecommendedItem(ItemId("i3"), 0.8, source="rising")
    items = [owed, rises, RecommendedItem(ItemId("i4"), 0.1)]
    with feed.subscribed() as subscription:
        feed.emitted(replace(made, recommendation=structs.replace(made.recommendation, items=items)))
        ((_, shown),) = map(decoded, await subscription.take())
    assert shown["answers"] == [
        {"id": "i2", "title": "i2", "because": "Linen shirt"},
        {"id": "i3", "title": "i3", "source": "rising"},
        {"id": "i4", "title": "i4"},
    ]


async def test_nobody_can_be_told_by_what_is_shown() -> None:
    """Neither the visitor's id, nor the shop's session id, nor the whole of the keyed hash is on the page."""
    feed = LiveFeed(Catalog())
    answer = released("visitor-17")
    with feed.subscribed() as subscription:
        feed.emitted(answer)
        (message,) = await subscription.take()
    assert b"visitor-17" not in message
    assert b"session-of" not in message
    assert answer.visitor_key.encode() not in message


async def test_events_of_one_session_go_together() -> None:
    """The same session has the same name, another visitor's has another."""
    feed = LiveFeed(Catalog())
    with feed.subscribed() as subscription:
        for visitor in ("v1", "v2", "v1"):
            feed.emitted(released(visitor))
        first, other, again = (decoded(message)[1]["session"] for message in await subscription.take())
    assert first == again != other


def test_while_nobody_looks_nothing_is_computed() -> None:
    """The pipeline asks, and is told that it need not tell."""
    feed = LiveFeed(Catalog())
    assert not feed.is_watching
    feed.summarise()


async def test_a_slow_page_loses_the_oldest_and_holds_up_nobody() -> None:
    """What waits for it is bounded."""
    feed = LiveFeed(Catalog())
    with feed.subscribed() as slow:
        for n in range(MAX_PENDING + 3):
            feed.emitted(released(item_id=f"i{n}"))
        messages = await slow.take()
    assert len(messages) == MAX_PENDING
    assert decoded(messages[0])[1]["item"]["id"] == "i3"


async def test_a_busy_shop_is_shown_in_part(clock: Clock) -> None:
    """So many sessions are followed, each wholly; a new one takes the place of one that has become quiet."""
    feed = LiveFeed(Catalog())
    with feed.subscribed() as subscription:
        for n in range(MAX_SESSIONS + 1):
            feed.emitted(released(f"v{n}"))
        assert len(await subscription.take()) == MAX_SESSIONS
        clock.now += QUIET_SECONDS
        feed.emitted(released("v0"))
        feed.emitted(released("late"))
        feed.emitted(released("v1"))
        shown = [decoded(message)[1]["visitor"] for message in await subscription.take()]
    assert shown == ["f0000000", "late0000", "f1000000"]


async def test_the_summary_counts_what_is_not_shown_too(clock: Clock) -> None:
    """Events of sessions that are not followed, or that have none."""
    feed = LiveFeed(Catalog())
    without = released(recommendation=msgspec.structs.replace(released().recommendation, session_id=None))
    with feed.subscribed() as subscription:
        for n in range(MAX_SESSIONS + 1):
            feed.emitted(released(f"v{n}"))
        feed.emitted(without)
        await subscription.take()
        clock.now += 1
        feed.summarise()
        ((kind, summary),) = map(decoded, await subscription.take())
    assert kind == "summary"
    assert (summary["tiers"], summary["watchers"]) == ({"model": MAX_SESSIONS + 2}, 1)


async def test_the_figures_begin_anew_with_the_next_page() -> None:
    """What nobody saw is not told later as if it were the last minute."""
    feed = LiveFeed(Catalog())
    with feed.subscribed():
        feed.emitted(released())
    with feed.subscribed() as subscription:
        feed.summarise()
        ((_, summary),) = map(decoded, await subscription.take())
    assert summary["tiers"] == {}


async def test_so_many_may_look_and_no_more() -> None:
    """The next one is told so; when one leaves there is room again."""
    feed = LiveFeed(Catalog())
    with ExitStack() as stack:
        for _ in range(MAX_WATCHERS):
            stack.enter_context(feed.subscribed())
        with pytest.raises(TooManyWatchersError, match="close one"):
            stack.enter_context(feed.subscribed())
    assert not feed.is_watching


async def test_a_bug_in_the_feed_costs_no_answer() -> None:
    """It is logged, and the pipeline goes on."""

    def fail(item_id: ItemId) -> Any:
        raise RuntimeError(item_id)

    broken = Catalog()
    broken.get = fail
    feed = LiveFeed(broken)
    with feed.subscribed() as subscription, capture_logs() as logged:
        feed.emitted(released())
        waiting = asyncio.ensure_future(subscription.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
    assert [entry["event"] for entry in logged] == ["live_feed_failed"]
