"""The list for visitors of whom nothing is known: one worker writes it for all, whenever it has changed.

A worker knows what is popular in its own partitions only; keys are spread by hash, so one worker's share is a fair
sample. Whoever owns partition 0 of the clickstream writes: that moves with the assignment and is never two for long.
Who begins to write reads which lists are there, and removes those of locations that are not listed any more, unless the
catalog names them; where it names none, only once enough visitors came to tell. An item that may not be shown any more
leaves the lists at once, also those that another worker wrote.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog
from msgspec.structs import replace

from agents.clicks.output_headers import OutputHeaders
from schemas import wire
from schemas.availability import moment_ms
from schemas.events import from_unix_ms, unix_ms
from schemas.ids import ItemId, ModelVersion
from schemas.records import DEFAULT_KEY, DefaultRecommendations, ImpersonalTier, RecommendedItem
from serving.chain import Recommender
from serving.rules.book import NO_RULES, RuleBook
from streams.cluster.topic_reader import TopicReader
from streams.cluster.topics import Topic
from streams.metrics import DeliveryMetrics
from streams.records import Delivery, OutputRecord, RecordSink

log = structlog.get_logger(__name__)

GONE_CHECK_SECONDS: Final = 0.1
"""How often it is looked whether an item has gone: however many records the catalog gets, a list is not written anew
more often."""
_AFTER_FAILURE_MS: Final = 1_000
_MOST_UNDER_WAY: Final = 4
"""Of one list, that the brokers have not acknowledged."""
_UNCHECKED: Final = -1
_NO_MORE: Final = object()
_AT_ONCE_SECONDS: Final = 0.002
"""Lists are made for so long, then clicks go on."""

Content = tuple[ImpersonalTier, ModelVersion | None, datetime | None, tuple[ItemId, ...]]
"""What a list says; scores move with every click and change nothing for the reader while the order stays."""


class StoredList(msgspec.Struct):
    """What is read of a list that is there; an unreadable one says nothing."""

    items: list[RecommendedItem] = []
    source: str = ""
    location: str | None = None
    model_version: int | None = None
    valid_until: datetime | int | None = None


class DefaultListWriter:
    """Keeps the default lists of this worker in their topic; remembers what it wrote.

    stored_lists: reads which keys have a list now.
    """

    def __init__(  # noqa: PLR0913 - the parts that it binds
        self,
        recommender: Recommender,
        topic: str,
        sink: RecordSink,
        headers: OutputHeaders,
        metrics: DeliveryMetrics,
        stored_lists: Callable[[], Awaitable[Mapping[str, StoredList]]],
        *,
        encode: Callable[[msgspec.Struct], bytes] = wire.encode,
    ) -> None:
        self._recommender = recommender
        self._topic = topic
        self._sink = sink
        self._headers = headers
        self._encode = encode
        self._metrics = metrics
        self._stored_lists = stored_lists
        self._written: dict[str, Content | None] = {}
        self._shown: dict[str, DefaultRecommendations] = {}
        self._under_way = Counter[str]()
        self._left = set[str]()
        self._has_looked = False
        self._has_begun = False
        self._checked_records = _UNCHECKED
        self._next_check_ms = -math.inf
        self._failed_ms = -math.inf
        self._obeyed: tuple[RuleBook, int] | None = (NO_RULES, 0)

    async def begin(self) -> None:
        """Look at the lists before the first visitors of this life are taken for the first of the shop."""
        await self._look()

    async def renew(self, *, is_ours: Callable[[], bool]) -> None:
        """Write what has changed, all of it after another worker had its turn; a failure is left to the next time.

        is_ours: asked before each write, which takes time: a partition that goes meanwhile is another's to write for.
        """
        if not is_ours():
            self._leave()
            return
        await self._look()
        await self._send_all(self._renewed(), is_ours)

    async def drop_gone(self, *, is_ours: Callable[[], bool]) -> None:
        """Write those lists anew that hold what may not be shown any more, or that say a wrong `valid_until`.

        And all that merchants' rules change, when these change or their time comes. It costs next to nothing while no
        record of the catalog or a rule comes and no time is over.
        """
        if not is_ours():
            self._leave()
            return
        now_ms, records = self._recommender.wall_ms(), self._recommender.catalog.records_taken
        if now_ms < self._failed_ms + _AFTER_FAILURE_MS:
            return
        await self._look()
        if self._has_new_rules(now_ms):
            await self._send_all(self._renewed(), is_ours)
        if records == self._checked_records and now_ms < self._next_check_ms:
            return
        self._checked_records = records
        await self._send_all(self._without_gone(now_ms), is_ours)
        self._next_check_ms = self._next_change_ms(now_ms)

    def _next_change_ms(self, now_ms: int) -> float:
        """Return when the first item of a list ends, or a sale of one begins, whose end its list is to say."""
        ends = [unix_ms(one.valid_until) for one in self._shown.values() if one.valid_until is not None]
        items = (item.item_id for one in self._shown.values() for item in one.items)
        begin = self._recommender.catalog.next_sale_ms(items, now_ms)
        return min([*ends, math.inf if begin is None else begin], default=math.inf)

    def _has_new_rules(self, now_ms: int) -> bool:
        """Return whether other rules hold than when the lists were last made; before the first are, that is no news."""
        book = self._recommender.rules.book
        obeyed, self._obeyed = self._obeyed, (book, book.period(now_ms))
        return bool(self._written) and (obeyed is None or obeyed[0] is not book or obeyed[1] != self._obeyed[1])

    def _leave(self) -> None:
        """Forget what is another worker's to write."""
        self._written, self._shown = {}, {}
        self._has_looked = False
        self._checked_records = _UNCHECKED

    async def _look(self) -> None:
        """Learn once which lists another worker, or an earlier life of this one, has left behind."""
        if self._has_looked:
            return
        try:
            stored = await self._stored_lists()
        except Exception as error:  # noqa: BLE001 - see `_send_all`
            self._failed_ms = self._recommender.wall_ms()
            log.warning("default_lists_not_read", topic=self._topic, error=str(error), remedy="retried next time")
            return
        self._has_looked = True
        self._left = stored.keys() - {DEFAULT_KEY}
        for key, one in stored.items():
            if one.items:
                self._shown.setdefault(key, _record_of(one))
        if not self._has_begun and DEFAULT_KEY in stored and stored[DEFAULT_KEY].source == "popular":
            items = {item.item_id for one in stored.values() for item in one.items}
            self._recommender.popularity.found(items, self._left)
        self._has_begun = True

    def _let_go(self) -> None:
        """Have removed what is left and not listed: places that the catalog refuses at once, unknown ones in time."""
        known = {place: self._recommender.catalog.knows_place(place) for place in self._left}
        not_the_shops = {place for place, is_known in known.items() if is_known is False}
        if self._recommender.popularity.is_settled:
            not_the_shops |= {place for place, is_known in known.items() if is_known is None}
        for place in not_the_shops:
            self._written.setdefault(place, None)
        self._left -= not_the_shops

    def _renewed(self) -> Iterator[None]:
        """Send the list that counts everywhere, and one for each location where something else is recommended.

        Locations are those of shoppers and those that a rule names.

        Each is made and sent in one step, so that none is sent from which an item is gone meanwhile.
        """
        everywhere = self._list(None)
        if everywhere is not None:
            self._send_changed(DEFAULT_KEY, everywhere)
            yield
        listed = {DEFAULT_KEY}  # a location may be called like it, and has no list then
        for location in (*self._recommender.popularity.locations(), *self._recommender.rules.book.places):
            if location not in listed:
                listed.add(location)
                self._send_changed(location, self._local(location, everywhere))
                yield
        self._let_go()
        for key in [key for key in self._written if key not in listed]:
            self._send_changed(key, None)
            yield

    def _without_gone(self, now_ms: int) -> Iterator[None]:
        """Send those lists anew that are over; one that was found here is only cut, until there is a better one."""
        over = [key for key, shown in self._shown.items() if self._is_over(shown, now_ms)]
        over = [key for key in over if self._under_way[key] < _MOST_UNDER_WAY]  # looked at again when one is there
        everywhere = self._list(None) if over else None
        for key in sorted(over, key=lambda key: key != DEFAULT_KEY):
            if key not in self._shown:
                continue  # it was removed meanwhile
            if key not in self._written:
                self._send(key, self._cut(key), is_cut=True)
            elif key == DEFAULT_KEY:
                self._send(key, everywhere or self._cut(key))
            else:
                self._send(key, self._local(key, everywhere))
            yield

    def _is_over(self, shown: DefaultRecommendations, now_ms: int) -> bool:
        catalog, location = self._recommender.catalog, shown.location
        if not all(map(catalog.allowed_at(location, now_ms), (item.item_id for item in shown.items))):
            return True
        return self._end(shown.items, location, now_ms) != shown.valid_until

    def _list(self, location: str | None) -> DefaultRecommendations | None:
        return default_list(self._recommender, location, from_unix_ms(self._recommender.wall_ms()))

    def _local(self, location: str, everywhere: DefaultRecommendations | None) -> DefaultRecommendations | None:
        """Make the list of a location; None where it says what the one that counts everywhere does."""
        record = self._list(location)
        if record is None or (everywhere is not None and content(record) == content(everywhere)):
            return None
        return record

    def _cut(self, key: str) -> DefaultRecommendations | None:
        """Return what may still be shown of a list; None = nothing."""
        shown, now_ms = self._shown[key], self._recommender.wall_ms()
        is_allowed = self._recommender.catalog.allowed_at(shown.location, now_ms)
        items = [item for item in shown.items if is_allowed(item.item_id)]
        if not items:
            return None
        end = self._end(items, shown.location, now_ms)
        return replace(shown, items=items, updated_at=from_unix_ms(now_ms), valid_until=end)

    def _end(self, items: Sequence[RecommendedItem], location: str | None, now_ms: int) -> datetime | None:
        end_ms = self._recommender.catalog.earliest_end_ms((item.item_id for item in items), location, now_ms)
        return None if end_ms is None else from_unix_ms(end_ms)

    def _send_changed(self, key: str, record: DefaultRecommendations | None) -> None:
        """Send a list that says something else than what was written, or that there is none where one was."""
        is_as_written = key not in self._written if record is None else content(record) == self._written.get(key)
        if not is_as_written:
            self._send(key, record)

    def _send(self, key: str, record: DefaultRecommendations | None, *, is_cut: bool = False) -> None:
        """Send a list, None = its tombstone; what is cut counts as shown, not as written. The brokers answer later."""
        output = OutputRecord(self._topic, key.encode(errors="surrogateescape"), None)
        if record is not None:
            record_id = f"{self._topic}-{key}-{unix_ms(record.updated_at)}"
            headers = self._headers.of(None, Topic.DEFAULT_RECOMMENDATIONS, record_id, record.updated_at)
            output = replace(output, value=self._encode(record), headers=headers)
        delivery = self._sink.send(output)
        shown, written, before = self._shown, self._written, self._shown.get(key)
        if record is None:
            shown.pop(key, None)
            written.pop(key, None)
        else:
            shown[key] = record
            if not is_cut:
                written[key] = content(record)
        self._under_way[key] += 1

        def settled(delivery: Delivery) -> None:
            self._under_way[key] -= 1
            self._checked_records = _UNCHECKED
            if delivery.error is None:
                self._metrics.default_lists.labels(result="removed" if record is None else "written").inc()
                return
            self._failed(delivery.error)
            if shown.get(key) is record:  # no newer one is under way
                shown.update({} if before is None else {key: before})
                written.update({} if is_cut else {key: None})

        delivery.then(settled)

    def _failed(self, error: Exception) -> None:
        """Count a list that was not written; told once a second at most."""
        now_ms = self._recommender.wall_ms()
        self._metrics.default_lists.labels(result="failed").inc()
        if now_ms >= self._failed_ms + _AFTER_FAILURE_MS:
            log.warning("default_list_not_written", topic=self._topic, error=repr(error), remedy="retried next time")
            self._failed_ms = now_ms
        self._checked_records = _UNCHECKED
        self._obeyed = None

    async def _send_all(self, sending: Iterator[None], is_ours: Callable[[], bool]) -> None:
        """Send what there is to send, between the clicks."""
        began = time.monotonic()
        try:
            while is_ours() and next(sending, _NO_MORE) is None:
                if time.monotonic() - began > _AT_ONCE_SECONDS:
                    await asyncio.sleep(0)
                    began = time.monotonic()
        except Exception as error:  # noqa: BLE001 - the lists are no reason to end a worker that answers
            self._failed(error)


def default_list(recommender: Recommender, location: str | None, now: datetime) -> DefaultRecommendations | None:
    """Make the list for a location, None = everywhere; nothing where nothing is known."""
    answer = recommender.impersonal(location)
    if not answer.items:
        return None
    return DefaultRecommendations(
        location=location,
        items=answer.items,
        source="popular" if answer.tier == "popular" else "default",
        updated_at=now,
        model_version=answer.model_version,
        valid_until=None if answer.valid_until_ms is None else from_unix_ms(answer.valid_until_ms),
    )


def stored_lists(
    client_config: Mapping[str, Any], topic: str, decode: Callable[[bytes], object]
) -> dict[str, StoredList]:
    """Read which keys of the topic have which list; it takes a moment. Raises TopicsError."""
    with TopicReader(client_config) as reader:
        latest = {record.key: record.value for record in reader.read(topic, reader.bounds(topic))}
    # A key that is no text was not written by us; it is removed as it is.
    return {
        key.decode(errors="surrogateescape"): _stored(value, decode)
        for key, value in latest.items()
        if key and value is not None
    }


def _stored(value: bytes, decode: Callable[[bytes], object]) -> StoredList:
    try:
        stored = msgspec.convert(decode(value), StoredList)
        _record_of(stored)
    except (ValueError, TypeError, OverflowError):  # a time without a zone, or beyond all calendars
        return StoredList()
    return stored


def content(record: DefaultRecommendations) -> Content:
    """Return what a list says, apart from when and with which scores."""
    return record.source, record.model_version, record.valid_until, tuple(item.item_id for item in record.items)


def _record_of(stored: StoredList) -> DefaultRecommendations:
    """Return a list that is there as one of ours; `updated_at` is of no account."""
    return DefaultRecommendations(
        location=stored.location,
        items=stored.items,
        source="popular" if stored.source == "popular" else "default",
        updated_at=from_unix_ms(0),
        model_version=None if stored.model_version is None else ModelVersion(stored.model_version),
        valid_until=None if stored.valid_until is None else from_unix_ms(moment_ms(stored.valid_until)),
    )
