"""What `insession ledger` does: read the inputs of a range and what was written for them, and strike the balance."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from agents.settings import Settings
from schemas.click_reader import ClickReader
from schemas.errors import UsageError
from schemas.validation import Ignored
from streams.app import app_id
from streams.dead_letter_log import read_dead_letter
from streams.group_state import group_state
from streams.offset_ledger import Balance, OffsetLedger
from streams.topic_reader import TopicReader, latest
from streams.topics import COMPACTION_LAG, Topic, admin_client

DEFAULT_LIMIT: Final = 1_000_000
_CLOCK_SLACK_MS: Final = 3_600_000
"""A worker's clock may be behind that of the shop's producers: its records are looked for from so much earlier on."""

Ranges = Mapping[str, Mapping[int, range]]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsAsked:
    """Which inputs. since_ms: by the record's timestamp, Unix ms. partitions: empty = all.

    to_end: what is not committed, too, which no worker owes yet. limit: the newest so many.
    """

    since_ms: int | None = None
    partitions: frozenset[int] = frozenset()
    to_end: bool = False
    limit: int = DEFAULT_LIMIT


@dataclass(frozen=True, slots=True)
class Books:
    """A balance and what it rests on.

    pending: inputs behind the commits, which were left out. beyond: older ones beyond the limit, left out, too.
    unreadable: records on `recommendations` without an id. oldest_ms: timestamp of the oldest input, None = no input.
    """

    balance: Balance
    pending: int
    beyond: int
    unreadable: int
    oldest_ms: int | None

    def is_compacted(self, now_ms: int) -> bool:
        """Tell whether answers may be compacted away already, and what was answered may look lost."""
        return self.oldest_ms is not None and now_ms - self.oldest_ms > COMPACTION_LAG.total_seconds() * 1000


class _Identified(msgspec.Struct):
    id: str


_decode_id = msgspec.json.Decoder(_Identified).decode


def keep_books(settings: Settings, asked: InputsAsked, advance: Callable[[str, int], None]) -> Books:
    """Read inputs and outputs; `advance` is told of each record that was read, by the topic's name.

    Raises UsageError for a partition that there is not, TopicsError where the brokers do not answer.
    """
    with TopicReader(settings.kafka.client_config()) as reader:
        ranges, pending = _ranges(settings, asked, reader)
        total = sum(len(held) for by_partition in ranges.values() for held in by_partition.values())
        kept = _newest(ranges, asked.limit)
        ledger = OffsetLedger(kept)
        oldest_ms = None
        for topic, mapping in settings.clickstreams.items():
            clicks = ClickReader(mapping)
            for record in reader.read(topic, kept[topic]):
                found = record.rejection or clicks.read(record.key, record.value, record.time_ms, record.headers)
                ledger.read(record.position, is_ignored=isinstance(found, Ignored))
                oldest_ms = record.time_ms if oldest_ms is None else min(oldest_ms, record.time_ms)
                advance(topic, 1)
        unreadable = 0 if oldest_ms is None else _book_outputs(settings, reader, ledger, oldest_ms, advance)
    return Books(ledger.balance(), pending, max(0, total - asked.limit), unreadable, oldest_ms)


def _ranges(settings: Settings, asked: InputsAsked, reader: TopicReader) -> tuple[Ranges, int]:
    """Give the offsets that are asked for, and how many behind the commits are left out."""
    admin, group = admin_client(settings.kafka.client_config()), app_id(settings.kafka, settings.topics)
    ranges, pending = dict[str, Mapping[int, range]](), 0
    for topic in settings.clickstreams:
        held = reader.bounds(topic) if asked.since_ms is None else reader.offsets_since(topic, asked.since_ms)
        if unknown := sorted(asked.partitions - held.keys()):
            raise UsageError(f"{topic} has no partition {unknown[0]}: they are 0 to {max(held)}")
        wanted = {partition: held[partition] for partition in asked.partitions or held}
        if not asked.to_end:
            committed = group_state(admin, group, topic, len(held)).committed
            owed = {
                number: range(one.start, max(one.start, min(one.stop, committed.get(number, one.start))))
                for number, one in wanted.items()
            }
            pending += sum(len(wanted[number]) - len(owed[number]) for number in wanted)
            wanted = owed
        ranges[topic] = wanted
    return ranges, pending


def _newest(ranges: Ranges, limit: int) -> Ranges:
    flat = {(topic, number): held for topic, by_number in ranges.items() for number, held in by_number.items()}
    kept: dict[str, dict[int, range]] = {topic: {} for topic in ranges}
    for place, held in latest(dict(enumerate(flat.values())), limit).items():
        topic, number = list(flat)[place]
        kept[topic][number] = held
    return kept


def _book_outputs(
    settings: Settings, reader: TopicReader, ledger: OffsetLedger, oldest_ms: int, advance: Callable[[str, int], None]
) -> int:
    """Book what was written since; give how many answers had no id."""
    since_ms, unreadable = max(0, oldest_ms - _CLOCK_SLACK_MS), 0
    answers, letters = (settings.topics.name(topic) for topic in (Topic.RECOMMENDATIONS, Topic.DEAD_LETTERS))
    for record in reader.read(answers, reader.offsets_since(answers, since_ms)):
        try:
            ledger.answered(_decode_id(record.value or b"").id)
        except msgspec.MsgspecError:
            unreadable += 1
        advance(answers, 1)
    for record in reader.read(letters, reader.offsets_since(letters, since_ms)):
        origin = read_dead_letter(record).origin
        if origin is not None:
            ledger.dead_lettered(origin.record_id)
        advance(letters, 1)
    return unreadable
