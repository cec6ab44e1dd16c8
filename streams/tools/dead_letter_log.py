"""Dead letters read back: what each says, what they amount to, and the record that sends one to its topic again."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from schemas.errors import UsageError
from schemas.state import InputPosition
from streams.delivery.dead_letters import HEADER_PREFIX
from streams.records import InputRecord, OutputRecord

REPLAY_HEADER: Final = "__insession.replay.dead_letter"
"""On a record that was sent again: `{topic}-{partition}-{offset}` of the dead letter. It survives a second failure."""
UNKNOWN: Final = "unknown"
"""The reason of a record that is no dead letter of ours."""
UNREADABLE_STATE: Final = "unreadable_state"
"""The reason of a letter that is no input, but a stored state."""
_NOT_WHOLE: Final = frozenset({"truncated_from_bytes", "headers_dropped", "encoded"})
Obstacle = Literal["foreign", "state", "cut", "control_record", "replayed_before", "failed_again"]
OBSTACLES: Final[Mapping[Obstacle, str]] = {
    "foreign": "not a dead letter of insession's: nothing says where it came from",
    "state": "no click, but what was stored of a visitor and could not be decoded",
    "cut": "the original was too large to be kept whole, or not decodable; send it again from where it was made",
    "control_record": "no click, but a control record; send the erasure again",
    "replayed_before": "was replayed before; --again sends it once more",
    "failed_again": "is what a replay came to: mend the cause first, then --again sends it once more",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter. position, time_ms: of the letter itself; time_ms in Unix milliseconds.

    origin: topic, partition and offset of the input; None where the headers do not say.
    headers: the input's own. is_cut: key, value or headers are not the input's own, whole.
    replayed_from: the dead letter of which this is a failed replay.
    """

    position: InputPosition
    time_ms: int
    reason: str
    detail: str
    origin: InputPosition | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    is_cut: bool
    replayed_from: str | None


@dataclass(slots=True)
class ReasonSummary:
    """All letters of one reason. offsets: by partition, the lowest and the highest."""

    reason: str
    count: int
    first_ms: int
    last_ms: int
    offsets: dict[int, tuple[int, int]]
    latest: DeadLetter


def read_dead_letter(record: InputRecord) -> DeadLetter:
    """Sort a record of the dead-letter topic into the input and what went wrong with it."""
    errors = {
        name.removeprefix(HEADER_PREFIX): content.decode(errors="replace")
        for name, content in record.headers
        if name.startswith(HEADER_PREFIX)
    }
    own = tuple((name, content) for name, content in record.headers if not name.startswith(HEADER_PREFIX))
    replayed_from = dict(own).get(REPLAY_HEADER)
    return DeadLetter(
        position=record.position,
        time_ms=record.time_ms,
        reason=errors.get("reason", UNKNOWN),
        detail=errors.get("message", ""),
        origin=_origin(errors),
        key=record.key,
        value=record.value,
        headers=own,
        is_cut=not errors.keys().isdisjoint(_NOT_WHOLE),
        replayed_from=None if replayed_from is None else replayed_from.decode(errors="replace"),
    )


def summarize(letters: Iterable[DeadLetter]) -> list[ReasonSummary]:
    """Count letters by reason, the most frequent first."""
    found: dict[str, ReasonSummary] = {}
    for letter in letters:
        partition, offset = letter.position.partition, letter.position.offset
        summary = found.setdefault(
            letter.reason, ReasonSummary(letter.reason, 0, letter.time_ms, letter.time_ms, {}, letter)
        )
        summary.count += 1
        summary.first_ms = min(summary.first_ms, letter.time_ms)
        if letter.time_ms >= summary.last_ms:
            summary.last_ms, summary.latest = letter.time_ms, letter
        low, high = summary.offsets.get(partition, (offset, offset))
        summary.offsets[partition] = (min(low, offset), max(high, offset))
    return sorted(found.values(), key=lambda summary: (-summary.count, summary.reason))


def obstacle(letter: DeadLetter, control_topic: str, replayed: Mapping[int, set[int]]) -> Obstacle | None:
    """Return why a letter should not be sent again; None = it may. `replayed`: offsets by partition of the letters."""
    if letter.reason == UNREADABLE_STATE:
        return "state"
    if letter.origin is None:
        return "foreign"
    if letter.is_cut:
        return "cut"
    if letter.origin.topic == control_topic:
        return "control_record"
    if letter.position.offset in replayed.get(letter.position.partition, ()):
        return "replayed_before"
    return "failed_again" if letter.replayed_from is not None else None


def replay_record(letter: DeadLetter) -> OutputRecord:
    """Return the input as it was, for the topic that it came from, with a header that names the letter."""
    assert letter.origin is not None
    headers = [(name, content) for name, content in letter.headers if name != REPLAY_HEADER]
    headers.append((REPLAY_HEADER, letter.position.record_id.encode()))
    return OutputRecord(letter.origin.topic, letter.key, letter.value, headers)


def parse_position(text: str, topic: str) -> InputPosition:
    """Read `partition:offset` of `topic`, or a record id `topic-partition-offset` of any topic."""
    name, separator, rest = text.rpartition(":")
    if not separator:
        head, _, rest = text.rpartition("-")
        topic, _, name = head.rpartition("-")
    if not (topic and _is_number(name) and _is_number(rest)):
        raise UsageError(f"{text!r} is no position: give PARTITION:OFFSET, or TOPIC-PARTITION-OFFSET as in the logs")
    return InputPosition(topic, int(name), int(rest))


def by_partition(letters: Iterable[DeadLetter]) -> Iterator[tuple[int, set[int]]]:
    """Return the letters' offsets of each partition."""
    found: defaultdict[int, set[int]] = defaultdict(set)
    for letter in letters:
        found[letter.position.partition].add(letter.position.offset)
    return iter(sorted(found.items()))


def _origin(errors: Mapping[str, str]) -> InputPosition | None:
    topic, partition, offset = (errors.get(name, "") for name in ("topic", "partition", "offset"))
    if not (topic and _is_number(partition) and _is_number(offset)):
        return None
    return InputPosition(topic, int(partition), int(offset))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 19
