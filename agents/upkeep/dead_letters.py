"""What `insession dlq` does: read the letters that are asked for, plan a replay, carry it out."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from agents.settings import Settings
from schemas.errors import InsessionError, UsageError
from schemas.state import InputPosition
from streams.cluster.topic_reader import TopicReader, latest
from streams.cluster.topics import Topic
from streams.tools.dead_letter_log import DeadLetter, Obstacle, by_partition, obstacle, read_dead_letter, replay_record
from streams.tools.replay_ledger import ReplayLedger
from streams.tools.sender import Sender

DEFAULT_LIMIT = 10_000
_CHUNK = 500
_LIFTED_BY_AGAIN: frozenset[Obstacle] = frozenset({"replayed_before", "failed_again"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LettersAsked:
    """Which dead letters.

    reasons: empty = all. since_ms: the letter's timestamp, Unix ms. offsets: by partition; None = everywhere.
    limit: at most so many of the newest are looked at.
    """

    reasons: frozenset[str] = frozenset()
    since_ms: int | None = None
    offsets: Mapping[int, range] | None = None
    limit: int = DEFAULT_LIMIT


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What a replay would send, and how many letters it would leave for which reason."""

    letters: list[DeadLetter] = field(default_factory=list)
    left: Counter[Obstacle] = field(default_factory=Counter)

    def by_topic(self) -> dict[str, int]:
        """Count the letters that would be sent to each topic: it is what their headers say, so it must be seen."""
        return dict(Counter(letter.origin.topic for letter in self.letters if letter.origin is not None))


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did. forgotten: letters that the ledger could not keep; a second replay sends them again."""

    sent: int
    forgotten: int


def _ignore(_count: int) -> None:
    """Take a count that nobody asked for."""


def read_letters(
    settings: Settings, asked: LettersAsked, passed_over: Callable[[int], None] = _ignore
) -> Iterator[DeadLetter]:
    """Read the letters that are asked for, in offset order of each partition.

    passed_over: hears how many older ones are beyond the limit, where there are some.
    Raises UsageError for a partition that the topic does not have.
    """
    topic = settings.topics.name(Topic.DEAD_LETTERS)
    with TopicReader(settings.kafka.client_config()) as reader:
        held = reader.bounds(topic) if asked.since_ms is None else reader.offsets_since(topic, asked.since_ms)
        wanted = held if asked.offsets is None else _common(topic, held, asked.offsets)
        beyond = sum(map(len, wanted.values())) - asked.limit
        if beyond > 0:
            passed_over(beyond)
        for record in reader.read(topic, latest(wanted, asked.limit)):
            letter = read_dead_letter(record)
            if not asked.reasons or letter.reason in asked.reasons:
                yield letter


def find_letter(settings: Settings, position: InputPosition, limit: int) -> DeadLetter:
    """Return the letter at `position` of the dead-letter topic, or the latest of the input at `position` elsewhere.

    Raises InsessionError where there is none.
    """
    topic = settings.topics.name(Topic.DEAD_LETTERS)
    if position.topic == topic:
        only = {position.partition: range(position.offset, position.offset + 1)}
        found = list(read_letters(settings, LettersAsked(offsets=only)))
        remedy = "`insession dlq list` shows which offsets there are"
    else:
        found = [letter for letter in read_letters(settings, LettersAsked(limit=limit)) if letter.origin == position]
        remedy = f"the newest {limit} letters were looked at; raise --limit, or give PARTITION:OFFSET in {topic}"
    if not found:
        raise InsessionError(f"there is no dead letter for {position.record_id}: {remedy}")
    return max(found, key=lambda letter: letter.time_ms)


def replay_ledger(settings: Settings) -> ReplayLedger:
    """Open the ledger of the deployment's dead-letter topic."""
    group = settings.topics.prefix + settings.kafka.group
    topic = settings.topics.name(Topic.DEAD_LETTERS)
    return ReplayLedger(settings.kafka.client_config(), group=group, topic=topic)


def plan_replay(
    letters: Iterable[DeadLetter], control_topic: str, replayed: Mapping[int, set[int]], *, again: bool
) -> ReplayPlan:
    """Part the letters that may be sent again from those that may not."""
    plan = ReplayPlan()
    for letter in letters:
        found = obstacle(letter, control_topic, replayed)
        if found is None or (again and found in _LIFTED_BY_AGAIN):
            plan.letters.append(letter)
        else:
            plan.left[found] += 1
    return plan


def replay(
    sender: Sender,
    letters: Iterable[DeadLetter],
    ledger: ReplayLedger,
    advance: Callable[[int], None],
    is_over: Callable[[], bool],
) -> Replayed:
    """Send letters to where they came from and take note of each chunk that is acknowledged.

    is_over: asked before each chunk, of which nothing may be sent and not noted.
    """
    unsent = iter(letters)
    forgotten = 0
    while not is_over() and (chunk := list(islice(unsent, _CHUNK))):
        for letter in chunk:
            sender.send(replay_record(letter))
        sender.flush(advance)
        offsets = dict(by_partition(chunk))
        before = ledger.replayed(offsets)
        forgotten += ledger.note({partition: before[partition] | new for partition, new in offsets.items()})
    return Replayed(sender.acknowledged, forgotten)


def _common(topic: str, held: Mapping[int, range], asked: Mapping[int, range]) -> dict[int, range]:
    unknown = sorted(asked.keys() - held.keys())
    if unknown:
        raise UsageError(f"{topic} has no partition {unknown[0]}: they are 0 to {max(held)}")
    return {
        partition: range(max(held[partition].start, wanted.start), min(held[partition].stop, wanted.stop))
        for partition, wanted in asked.items()
    }
