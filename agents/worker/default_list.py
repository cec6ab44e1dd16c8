"""The list for visitors of whom nothing is known: one worker writes it for all, whenever it has changed.

A worker knows what is popular in its own partitions only; keys are spread by hash, so one worker's share is a fair
sample. Whoever owns partition 0 of the clickstream writes: that moves with the assignment and is never two for long.
Who begins to write reads which lists are there, and removes those of locations that are not listed any more, unless the
catalog names them; where it names none, only once enough visitors came to tell.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace

from agents.clicks.output_headers import OutputHeaders
from schemas import wire
from schemas.events import unix_ms
from schemas.ids import ItemId, ModelVersion
from schemas.records import DEFAULT_KEY, DefaultRecommendations, ImpersonalTier, RecommendedItem
from serving.chain import Recommender
from streams.cluster.topic_reader import TopicReader
from streams.cluster.topics import Topic
from streams.metrics import DeliveryMetrics
from streams.records import OutputRecord, RecordSink

log = structlog.get_logger(__name__)

Content = tuple[ImpersonalTier, ModelVersion | None, tuple[ItemId, ...]]
"""What a list says; scores move with every click and change nothing for the reader while the order stays."""


class StoredList(msgspec.Struct):
    """What is read of a list that is there; an unreadable one says nothing."""

    items: list[RecommendedItem] = []
    source: str = ""


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
        self._left = set[str]()
        self._has_looked = False
        self._has_begun = False

    async def begin(self) -> None:
        """Look at the lists before the first visitors of this life are taken for the first of the shop."""
        await self._look()

    async def renew(self, *, is_ours: Callable[[], bool]) -> None:
        """Write what has changed, all of it after another worker had its turn; a failure is left to the next time.

        is_ours: asked before each write, which takes time: a partition that goes meanwhile is another's to write for.
        """
        if not is_ours():
            self._written.clear()
            self._has_looked = False
            return
        try:
            await self._look()
            lists = await self._lists()
            self._let_go()
            for key, record in list(changes(lists, self._written)):
                if not is_ours():
                    return
                await self._write(key, record)
        except Exception as error:  # noqa: BLE001 - the lists are no reason to end a worker that answers
            self._metrics.default_lists.labels(result="failed").inc()
            log.warning("default_list_not_written", topic=self._topic, error=repr(error), remedy="retried next time")

    async def _look(self) -> None:
        """Learn once which lists another worker, or an earlier life of this one, has left behind."""
        if self._has_looked:
            return
        try:
            stored = await self._stored_lists()
        except Exception as error:  # noqa: BLE001 - see `renew`
            log.warning("default_lists_not_read", topic=self._topic, error=str(error), remedy="retried next time")
            return
        self._has_looked = True
        self._left = stored.keys() - {DEFAULT_KEY}
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
        self._written = dict.fromkeys(not_the_shops) | self._written
        self._left -= not_the_shops

    async def _lists(self) -> dict[str, DefaultRecommendations]:
        """Make the list that counts everywhere, and one for each location where something else is recommended."""
        lists: dict[str, DefaultRecommendations] = {}
        for location in (None, *self._recommender.popularity.locations()):
            record = default_list(self._recommender, location, datetime.now(UTC))
            if record is not None:
                lists.setdefault(DEFAULT_KEY if location is None else location, record)
            await asyncio.sleep(0)  # ranking a location takes a millisecond: clicks go first
        return {key: record for key, record in lists.items() if key == DEFAULT_KEY or not _is_repeated(record, lists)}

    async def _write(self, key: str, record: DefaultRecommendations | None) -> None:
        output = OutputRecord(self._topic, key.encode(errors="surrogateescape"), None)
        if record is not None:
            record_id = f"{self._topic}-{key}-{unix_ms(record.updated_at)}"
            headers = self._headers.of(None, Topic.DEFAULT_RECOMMENDATIONS, record_id, record.updated_at)
            output = replace(output, value=self._encode(record), headers=headers)
        await self._sink.send(output)  # the producer bounds the wait
        if record is None:
            del self._written[key]
        else:
            self._written[key] = content(record)
        self._metrics.default_lists.labels(result="removed" if record is None else "written").inc()


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
    )


def changes(
    lists: Mapping[str, DefaultRecommendations], written: Mapping[str, Content | None]
) -> Iterator[tuple[str, DefaultRecommendations | None]]:
    """Return the keys to write, None = a location without a list of its own; the list for everywhere never goes.

    written: what each key says, None = something that is not known.
    """
    yield from [(key, record) for key, record in lists.items() if content(record) != written.get(key)]
    yield from [(key, None) for key in written if key not in lists and key != DEFAULT_KEY]


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
        return msgspec.convert(decode(value), StoredList)
    except ValueError:
        return StoredList()


def content(record: DefaultRecommendations) -> Content:
    """Return what a list says, apart from when and with which scores."""
    return record.source, record.model_version, tuple(item.item_id for item in record.items)


def _is_repeated(record: DefaultRecommendations, lists: Mapping[str, DefaultRecommendations]) -> bool:
    return DEFAULT_KEY in lists and content(record) == content(lists[DEFAULT_KEY])
