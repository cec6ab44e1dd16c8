"""Records of a topic as data, named by a URL: `kafka://kafka-1:9092,kafka-2:9092/session-ends?from=…&to=…`.

`from` and `to` are `beginning`, `end`, a time (RFC 3339; of the records' timestamps), or offsets: one number for all
partitions, or `0:1200,1:1180` for each. `to` is exclusive. Without them it is all that the topic holds now.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal
from urllib.parse import parse_qsl

from schemas.errors import UsageError
from schemas.secret import masked

SCHEME: Final = "kafka://"
_FORM: Final = "kafka://HOST:PORT[,HOST:PORT]/TOPIC[?from=…&to=…]"
_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_OFFSET: Final = re.compile(r"[0-9]{1,18}")
_OFFSETS: Final = re.compile(r"[0-9]{1,9}:[0-9]{1,18}(?:,[0-9]{1,9}:[0-9]{1,18})*")


@dataclass(frozen=True, slots=True)
class AtTime:
    """The first record whose timestamp is this or later, Unix milliseconds."""

    time_ms: int


@dataclass(frozen=True, slots=True)
class AtOffsets:
    """An offset of each partition; `by_partition` goes before `others`, and None there is a partition left out."""

    by_partition: dict[int, int]
    others: int | None


Place = Literal["beginning", "end"] | AtTime | AtOffsets


@dataclass(frozen=True, slots=True)
class TopicUrl:
    """Part of a topic, from `first` up to and without `stop`."""

    text: str
    brokers: str
    topic: str
    first: Place = "beginning"
    stop: Place = "end"

    def __str__(self) -> str:
        return self.text


def parse_topic_url(text: str) -> TopicUrl:
    """Read which part of which topic; raises UsageError for any other form, and for credentials in the address."""
    address, separator, query = text.partition("?")
    brokers, slash, topic = address.removeprefix(SCHEME).partition("/")
    if not text.startswith(SCHEME) or not brokers or not slash:
        raise UsageError(f"{masked(text)} names no topic; write {_FORM}")
    if "@" in brokers:
        raise UsageError(f"{masked(text)}: no credentials in a URL; they are kafka.security of --config")
    if not _TOPIC.fullmatch(topic):
        raise UsageError(f"{text}: {topic!r} is no topic's name; write {_FORM}")
    try:
        given = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if separator else []
    except ValueError as error:
        raise UsageError(f"{text}: what is behind ? is no NAME=VALUE; write {_FORM}") from error
    places = {name: _place(text, name, value) for name, value in given}
    if len(places) < len(given) or not places.keys() <= {"from", "to"}:
        raise UsageError(f"{text}: behind ? stand from and to, each at most once")
    return TopicUrl(text, brokers, topic, places.get("from", "beginning"), places.get("to", "end"))


def _place(url: str, name: str, value: str) -> Place:
    match value:
        case "beginning" | "end":
            return value
        case _ if _OFFSET.fullmatch(value):
            return AtOffsets({}, int(value))
        case _ if _OFFSETS.fullmatch(value):
            pairs = [part.split(":") for part in value.split(",")]
            return AtOffsets({int(partition): int(offset) for partition, offset in pairs}, None)
    try:
        moment = datetime.fromisoformat(value.replace(" ", "+"))  # a plus that nobody wrote as %2B
    except ValueError as error:
        raise UsageError(
            f"{url}: {name}={value} is none of beginning, end, a time like 2026-01-31T12:00Z, an offset, or offsets "
            "by partition like 0:1200,1:1180"
        ) from error
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return AtTime(max(0, int(moment.timestamp() * 1000)))  # Kafka has other uses for negative ones
