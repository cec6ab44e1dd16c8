"""What `insession ledger` does: choose the inputs, book each, and find its record on the output topics."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final

import msgspec

from agents.encodings import Encodings, click_readers
from agents.settings import Settings
from schemas.click_reader import ClickReader
from schemas.errors import UsageError
from schemas.state import InputPosition
from schemas.validation import Ignored
from streams.cluster.group_state import group_state
from streams.cluster.topic_reader import TopicReader, latest
from streams.cluster.topics import Topic, admin_client, app_id
from streams.delivery.offset_ledger import Account, OffsetLedger
from streams.records import InputRecord
from streams.tools.dead_letter_log import parse_position, read_dead_letter

DEFAULT_LIMIT: Final = 1_000_000
_CLOCKS_APART: Final = timedelta(hours=1)
"""How far the clock that stamps an input may be ahead of the one that stamps its record, at first."""

Progress = Callable[[str, Iterable[InputRecord], int], Iterable[InputRecord]]
"""Passes records on and shows how many of a total have gone by: `(what, records, total)`."""


class _Answer(msgspec.Struct):
    """Of a record on `recommendations`, what is needed here."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsAsked:
    """Which inputs.

    since_ms, until_ms: of the record's timestamp, Unix ms, the end exclusive; None = to the end.
    partitions: empty = all. to_end: also what the workers have not committed, and so do not owe yet.
    limit: at most so many of the newest of each clickstream.
    """

    since_ms: int
    until_ms: int | None = None
    partitions: frozenset[int] = frozenset()
    to_end: bool = False
    limit: int = DEFAULT_LIMIT


@dataclass(slots=True)
class Books:
    """Everything that was booked.

    pending: inputs above the committed offset, which are not in the books. older: inputs before what was asked for, or
    beyond the limit. unreadable_outputs: records on `recommendations` that name no input.
    """

    ledgers: dict[str, dict[int, OffsetLedger]] = field(default_factory=dict)
    ignored_by_reason: Counter[str] = field(default_factory=Counter)
    first_ms: int | None = None
    pending: int = 0
    older: int = 0
    unreadable_outputs: int = 0

    def accounts(self) -> dict[str, dict[int, Account]]:
        """Count by topic and partition."""
        return {
            topic: {partition: ledger.account() for partition, ledger in ledgers.items()}
            for topic, ledgers in self.ledgers.items()
        }

    def total(self) -> Account:
        """Count all."""
        return sum((one for accounts in self.accounts().values() for one in accounts.values()), Account())

    def lost(self, at_most: int) -> list[InputPosition]:
        """Return the first lost inputs of each partition, `at_most` in all."""
        found = [
            InputPosition(topic, partition, offset)
            for topic, ledgers in self.ledgers.items()
            for partition, ledger in ledgers.items()
            for offset in ledger.lost(at_most)
        ]
        return found[:at_most]

    def ledger_of(self, position: InputPosition) -> OffsetLedger | None:
        """Return the books that an input is in."""
        return self.ledgers.get(position.topic, {}).get(position.partition)


def keep_books(settings: Settings, asked: InputsAsked, progress: Progress) -> Books:
    """Read the inputs that are asked for, and the records that they have.

    Raises UsageError for a partition that a clickstream does not have, TopicsError where the brokers refuse.
    """
    books, encodings = Books(), Encodings(settings)
    with TopicReader(settings.kafka.client_config()) as reader:
        for topic, clicks in click_readers(settings, encodings.clicks).items():
            offsets = _chosen(settings, reader, topic, asked, books)
            books.ledgers[topic] = {partition: OffsetLedger(wanted) for partition, wanted in offsets.items()}
            records = progress(topic, reader.read(topic, offsets), _length(offsets))
            _book_inputs(books, records, clicks)
        if books.first_ms is not None:
            _book_outputs(
                settings,
                reader,
                books,
                books.first_ms - _CLOCKS_APART // timedelta(milliseconds=1),
                progress,
                encodings,
            )
    return books


def _chosen(
    settings: Settings, reader: TopicReader, topic: str, asked: InputsAsked, books: Books
) -> Mapping[int, range]:
    """Return the offsets to book, and count those that are left out."""
    held = reader.bounds(topic)
    if unknown := sorted(asked.partitions - held.keys()):
        raise UsageError(f"{topic} has no partition {unknown[0]}: they are 0 to {max(held)}")
    since = reader.offsets_since(topic, asked.since_ms)
    until = None if asked.until_ms is None else reader.offsets_since(topic, asked.until_ms)
    committed = None if asked.to_end else _committed(settings, topic, len(held))
    wanted = {}
    for partition in asked.partitions or held:
        start = since[partition].start
        stop = held[partition].stop if until is None else until[partition].start
        owed = stop if committed is None else min(stop, committed.get(partition, 0))
        books.pending += max(0, stop - max(start, owed))
        books.older += start - held[partition].start
        wanted[partition] = range(start, max(start, owed))
    newest = latest(wanted, asked.limit)
    books.older += _length(wanted) - _length(newest)
    return newest


def _committed(settings: Settings, topic: str, partitions: int) -> Mapping[int, int]:
    admin = admin_client(settings.kafka.client_config())
    return group_state(admin, app_id(settings.kafka, settings.topics), topic, partitions).committed


def _book_inputs(books: Books, records: Iterable[InputRecord], reader: ClickReader) -> None:
    for record in records:
        ledger = books.ledger_of(record.position)
        assert ledger is not None
        read = record.rejection or reader.read(record.key, record.value, record.time_ms, record.headers)
        is_ignored = isinstance(read, Ignored)
        if isinstance(read, Ignored):
            books.ignored_by_reason[read.reason] += 1
        ledger.read(record.position.offset, owes_record=not is_ignored)
        if books.first_ms is None or record.time_ms < books.first_ms:
            books.first_ms = record.time_ms


def _book_outputs(
    settings: Settings, reader: TopicReader, books: Books, since_ms: int, progress: Progress, encodings: Encodings
) -> None:
    """Book the records since the first input; what is missing then is looked for in all that the topics hold."""
    outputs: dict[str, Callable[[Books, InputRecord], None]] = {
        settings.topics.name(Topic.RECOMMENDATIONS): partial(_book_answer, encodings.decode_output),
        settings.topics.name(Topic.DEAD_LETTERS): _book_letter,
    }
    earlier: dict[str, dict[int, range]] = {}
    for topic, book in outputs.items():
        held = reader.bounds(topic)
        since = reader.offsets_since(topic, max(0, since_ms))
        earlier[topic] = {partition: range(held[partition].start, since[partition].start) for partition in since}
        for record in progress(topic, reader.read(topic, since), _length(since)):
            book(books, record)
    if not books.lost(1):
        return
    for topic, book in outputs.items():
        for record in progress(f"earlier in {topic}", reader.read(topic, earlier[topic]), _length(earlier[topic])):
            book(books, record)


def _book_answer(decode: Callable[[bytes], object], books: Books, record: InputRecord) -> None:
    if record.value is None:  # the tombstone of an erasure
        return
    try:
        position = parse_position(msgspec.convert(decode(record.value), _Answer).id, "")
    except (ValueError, UsageError):
        books.unreadable_outputs += 1
        return
    if (ledger := books.ledger_of(position)) is not None:
        ledger.answered(position.offset)


def _book_letter(books: Books, record: InputRecord) -> None:
    origin = read_dead_letter(record).origin
    if origin is not None and (ledger := books.ledger_of(origin)) is not None:
        ledger.dead_lettered(origin.offset)


def _length(offsets: Mapping[int, range]) -> int:
    return sum(map(len, offsets.values()))
