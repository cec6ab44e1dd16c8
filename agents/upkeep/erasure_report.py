"""What `insession erase` says of each place where a visitor's id may stand: found, done, and until when it remains."""

from dataclasses import dataclass
from typing import Final

from streams.cluster.topic_lifetime import TopicLifetime
from streams.state.id_search import Found
from streams.state.search import StateSurvey

_IDLE: Final = "a partition without new records keeps its last segment until one comes"
"""Brokers look at the age of a segment that is written to only when they append to it, and compact no such segment."""
_NO_COMPACTION_TIME: Final = "when is up to the brokers: set max.compaction.lag.ms on it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place. found, remains: records that name the ids; None = it was not looked at.

    until_ms: when the last of what remains is gone, at the latest, Unix milliseconds; None = nothing remains, or the
    time is not bounded: then `note` says what bounds it. Compaction is later in a partition without new records.
    """

    place: str
    found: int | None
    done: str
    remains: int | None
    until_ms: int | None = None
    note: str = ""


def of_state(
    changelog: str, found: StateSurvey, left: StateSurvey, lifetime: TopicLifetime | None, erased_ms: int | None
) -> Place:
    """Report the states and their changelog; erased_ms: when that was, Unix milliseconds, None = they are not.

    left: what is there now. What other visitors' states say of the ids is theirs, and stays.
    """
    states = f"{len(found.states)} states of {len(found.ids)} ids"
    notes = [f"{left.others} states of other visitors name an id of these: {_THEIRS}"] if left.others else []
    if erased_ms is None:
        done, note = f"nothing: {states}", "; ".join(notes)
        return Place(place=changelog, found=found.records, done=done, remains=left.records, note=note)
    until_ms = None if lifetime is None else lifetime.tombstoned_until_ms(erased_ms, erased_ms)
    by = _IDLE if until_ms is not None else _NO_COMPACTION_TIME
    again = f"{len(left.states)} states begun anew by later clicks" if left.states else "no state any more"
    notes = [again, f"records before the tombstones go by compaction, {by}", *notes]
    return Place(
        place=changelog,
        found=found.records,
        done=f"{states} erased",
        remains=left.records,
        until_ms=None if left.states or left.others else until_ms,
        note="; ".join(notes),
    )


def kept(place: str, found: Found, lifetime: TopicLifetime | None, note: str = "") -> Place:
    """Report a topic in which records stay until its retention ends."""
    until_ms = None if lifetime is None or not found.records else lifetime.record_until_ms(found.newest_ms)
    notes = [note] if note else []
    if found.records and until_ms is None:
        notes.append(_unbounded(lifetime))
    return Place(
        place=place,
        found=found.records,
        done="nothing",
        remains=found.records,
        until_ms=until_ms,
        note="; ".join(notes),
    )


def tombstoned(place: str, found: Found, lifetime: TopicLifetime | None, erased_ms: int, *, count: int) -> Place:
    """Report a topic to which `count` tombstones were written at `erased_ms`, Unix milliseconds."""
    if not count or lifetime is None:
        return kept(place, found, lifetime)
    until_ms = lifetime.tombstoned_until_ms(found.newest_ms, erased_ms)
    return Place(
        place=place,
        found=found.records,
        done=f"{count} tombstones",
        remains=found.records,
        until_ms=until_ms,
        note=f"readers forget at once; compaction: {_IDLE if until_ms is not None else _NO_COMPACTION_TIME}",
    )


def of_dead_letters(place: str, found: Found, lifetime: TopicLifetime | None, *, deleted: int | None) -> Place:
    """Report the dead letters; deleted: how many went, those of others included, None = they stay."""
    if deleted is not None:
        done = f"{deleted} letters deleted, {max(0, deleted - found.records)} of others"
        return Place(place=place, found=found.records, done=done, remains=0)
    note = "they hold the original bytes; --delete-dead-letters deletes all up to the last of these"
    return kept(place, found, lifetime, note if found.records else "")


def of_control(place: str, found: Found, left: Found, lifetime: TopicLifetime | None, *, refused: str | None) -> Place:
    """Report session-control, where requests and what workers pass on name visitors; left: what could not go."""
    if refused is not None:
        return kept(place, found, lifetime, f"{refused}; let this user Delete on the topic")
    remaining = kept(place, left, lifetime)
    return Place(
        place=place,
        found=found.records,
        done=f"{found.records - left.records} deleted, with the records before them",
        remains=left.records,
        until_ms=remaining.until_ms,
        note=remaining.note,
    )


def elsewhere() -> list[Place]:
    """Report the places that are no topic of ours, or name nobody, and so are not looked at."""
    return [Place(place=place, found=None, done=done, remains=None, note=note) for place, done, note in _ELSEWHERE]


_THEIRS: Final = (
    "they have logged in on the same device, and keep it until they are erased, or forgotten "
    "sessions.visitor_retention after their last click"
)
_FILES: Final = (
    "compacted within a minute by the worker that erased, while it has the partition, and within a day by one that got "
    "it since or keeps a standby copy; a copy out of use is deleted after a day, one moved aside as damaged after 7"
)
_ELSEWHERE: Final = (
    ("local files", "by the workers", _FILES),
    ("default-recommendations", "nothing", "its keys are places, not visitors: the same lists for everybody"),
    ("memory", "nothing", "popularity holds keyed hashes; what the calibration holds of a session goes with it"),
    ("logs", "nothing", "lines name topic, partition, offset and the keyed hash, never the id"),
    ("elsewhere", "nothing", "mirrors, backups and what consumers have stored are not reached: erase there, too"),
)


def _unbounded(lifetime: TopicLifetime | None) -> str:
    if lifetime is None:
        return "the brokers hide its settings from this user, so it cannot be told until when"
    return "its retention is not bounded: set retention.ms on it"
