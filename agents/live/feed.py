"""What the live page is told: answers of a bounded number of sessions, and a summary of all."""

import asyncio
import hashlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
import structlog
from msgspec import Struct, structs

from agents.clicks.watcher import EmittedAnswer
from agents.live.recent import Recent
from schemas.errors import InsessionError
from schemas.events import EventType
from schemas.ids import ItemId, ModelVersion
from schemas.records import ItemSource, Pattern, RecommendedItem, Status, Tier
from streams.catalog import Catalog

log = structlog.get_logger(__name__)

MAX_WATCHERS: Final = 8
MAX_SESSIONS: Final = 50
QUIET_SECONDS: Final = 10.0
"""A session without an event for so long gives its place to a new one."""
MAX_PENDING: Final = 256
_KEY_LENGTH: Final = 8


class TooManyWatchersError(InsessionError):
    """No more pages may look on; close one."""


class ShownItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An item as the catalog describes it; its title is its id where there is none.

    source: what placed it in a list, where its tier does not say it. because: title of the item to which it is owed.
    """

    id: ItemId
    title: str
    category: str | None = None
    price: float | None = None
    source: ItemSource | None = None
    because: str | None = None


class LiveAnswer(Struct, frozen=True, kw_only=True):
    """One event of a session and what was answered. Neither a visitor's nor a shop's session id is in it.

    latency_ms: from the record's timestamp to the answer.
    """

    id: str
    event_time_ms: int
    visitor: str
    session: str
    status: Status
    event_type: EventType
    item: ShownItem | None
    answers: list[ShownItem]
    tier: Tier | None
    reason: str | None
    model_version: ModelVersion | None
    latency_ms: float
    probability: float | None
    pattern: Pattern | None


class Subscription:
    """What one page has not read yet; the oldest goes where it reads too slowly.

    It is read on the event loop that made it, and written from another thread.
    """

    def __init__(self) -> None:
        self._pending: deque[bytes] = deque(maxlen=MAX_PENDING)
        self._arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def put(self, message: bytes) -> None:
        """Leave a message; never waits."""
        self._pending.append(message)
        self._loop.call_soon_threadsafe(self._arrived.set)

    async def take(self) -> list[bytes]:
        """Wait for messages, and take all there are."""
        await self._arrived.wait()
        self._arrived.clear()
        return [self._pending.popleft() for _ in range(len(self._pending))]


class LiveFeed:
    """Hands what is answered to the pages that look on; while there is none, nothing is computed.

    The pages come and go on the web port's thread, while the worker's own releases: a lock keeps the two apart.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._subscriptions: set[Subscription] = set()
        self._recent = Recent()
        self._followed: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def is_watching(self) -> bool:
        """Whether a page looks on."""
        return bool(self._subscriptions)

    @contextmanager
    def subscribed(self) -> Iterator[Subscription]:
        """Look on for a while. Raises TooManyWatchersError."""
        with self._lock:
            if len(self._subscriptions) >= MAX_WATCHERS:
                raise TooManyWatchersError(f"{MAX_WATCHERS} pages look on already; close one and load this one again")
            subscription = Subscription()
            self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            with self._lock:
                self._subscriptions.discard(subscription)
                if not self._subscriptions:
                    self._recent, self._followed = Recent(), OrderedDict()

    def emitted(self, answer: EmittedAnswer) -> None:
        """Show an answer, if its session is one of those that are followed."""
        try:
            with self._lock:
                self._show(answer)
        except Exception:
            log.exception("live_feed_failed")  # whoever looks on must not cost the shopper the answer

    def summarise(self) -> None:
        """Send the pages the last minute; a timer calls it, so that they also hear when nothing happens."""
        with self._lock:
            if self._subscriptions:
                self._publish("summary", self._recent.summary(time.monotonic(), len(self._subscriptions)))

    def _show(self, answer: EmittedAnswer) -> None:
        now_seconds, recommendation = time.monotonic(), answer.recommendation
        latency_ms = max(0.0, time.time() * 1000 - answer.record_time_ms)
        self._recent.add(now_seconds, latency_ms, recommendation.tier)
        if recommendation.session_id is None:
            return
        name = f"{answer.visitor_key}/{recommendation.session_id}".encode()
        session = hashlib.blake2b(name, digest_size=_KEY_LENGTH // 2).hexdigest()
        if self._follows(session, now_seconds):
            self._publish("answer", self._shown(answer, session, latency_ms))

    def _follows(self, session: str, now_seconds: float) -> bool:
        """Note an event of a session; False = there is no place for another one."""
        if session not in self._followed and len(self._followed) >= MAX_SESSIONS:
            quietest, seen_seconds = next(iter(self._followed.items()))
            if now_seconds - seen_seconds < QUIET_SECONDS:
                return False
            del self._followed[quietest]
        self._followed[session] = now_seconds
        self._followed.move_to_end(session)
        return True

    def _shown(self, answer: EmittedAnswer, session: str, latency_ms: float) -> LiveAnswer:
        event, recommendation, signal = answer.event, answer.recommendation, answer.signal
        return LiveAnswer(
            id=recommendation.id,
            event_time_ms=event.event_time_ms,
            visitor=answer.visitor_key[:_KEY_LENGTH],
            session=session,
            status=recommendation.status,
            event_type=event.event_type,
            item=None if event.item_id is None else self._item(event.item_id),
            answers=[self._listed(item) for item in recommendation.items],
            tier=recommendation.tier,
            reason=recommendation.reason,
            model_version=recommendation.model_version,
            latency_ms=round(latency_ms, 1),
            probability=None if signal is None else signal.purchase_probability,
            pattern=None if signal is None else signal.pattern,
        )

    def _listed(self, item: RecommendedItem) -> ShownItem:
        shown = self._item(item.item_id)
        if item.source is None and item.because is None:
            return shown
        because = None if item.because is None else self._item(item.because).title
        return structs.replace(shown, source=item.source, because=because)

    def _item(self, item_id: ItemId) -> ShownItem:
        known = self._catalog.get(item_id)
        if known is None:
            return ShownItem(id=item_id, title=item_id)
        return ShownItem(id=item_id, title=known.title or item_id, category=known.category, price=known.price)

    def _publish(self, kind: str, message: Struct) -> None:
        data = b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(message))
        for subscription in self._subscriptions:
            subscription.put(data)
