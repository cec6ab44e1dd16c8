"""What `insession erase` says of each place where a visitor's id may stand: found, done, and until when it remains."""

from dataclasses import dataclass
from typing import Final

from streams.id_search import Found
from streams.state_search import StateSurvey
from streams.topic_lifetime import TopicLifetime

_NO_COMPACTION_TIME: Final = "when is up to the brokers: set max.compaction.lag.ms on it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place. found, remains: records that name the ids; None = it is no topic, and was not looked at.

    until_ms: when the last of what remains is gone, at the latest, Unix milliseconds; None = nothing remains, or the
    time is not bounded: then `note` says what bounds it.
    """

    place: str
    found: int | None
    done: str
    remains: int | None
    until_ms: int | None = None
    note: str = ""


def of_state(
    changelog: str, found: StateSurvey, remains: int, lifetime: TopicLifetime | None, erased_ms: int | None
) -> Place:
    """Tell of the states and their changelog; erased_ms: when that was, Unix milliseconds, None = they are not."""
    states = f"{len(found.states)} states of {len(found.ids)} ids"
    if erased_ms is None:
        return Place(place=changelog, found=found.records, done=f"nothing: {states}", remains=remains)
    until_ms = None if lifetime is None else lifetime.tombstoned_until_ms(erased_ms, erased_ms)
    note = "no state any more; records before the tombstones go by compaction"
    if until_ms is None:
        note += f", {_NO_COMPACTION_TIME}"
    return Place(
        place=changelog, found=found.records, done=f"{states} erased", remains=remains, until_ms=until_ms, note=note
    )


def kept(place: str, found: Found, lifetime: TopicLifetime | None, note: str = "") -> Place:
    """Tell of a topic in which records stay until its retention ends."""
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
    """Tell of a topic to which `count` tombstones were written at `erased_ms`, Unix milliseconds."""
    if not count or lifetime is None:
        return kept(place, found, lifetime)
    until_ms = lifetime.tombstoned_until_ms(found.newest_ms, erased_ms)
    return Place(
        place=place,
        found=found.records,
        done=f"{count} tombstones",
        remains=found.records,
        until_ms=until_ms,
        note="readers forget at once" if until_ms is not None else f"readers forget at once; {_NO_COMPACTION_TIME}",
    )


def of_dead_letters(place: str, found: Found, lifetime: TopicLifetime | None, *, deleted: int | None) -> Place:
    """Tell of the dead letters; deleted: how many went, those of others included, None = they stay."""
    if deleted is not None:
        done = f"{deleted} letters deleted, {max(0, deleted - found.records)} of others"
        return Place(place=place, found=found.records, done=done, remains=0)
    note = "they hold the original bytes; --delete-dead-letters deletes all up to the last of these"
    return kept(place, found, lifetime, note if found.records else "")


def of_control(place: str, found: Found, left: Found, lifetime: TopicLifetime | None, *, refused: str | None) -> Place:
    """Tell of session-control, where requests and what workers pass on name visitors; left: what could not go."""
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
    """Tell of the places that are no topic of ours, and so are not looked at."""
    return [Place(place=place, found=None, done=done, remains=None, note=note) for place, done, note in _ELSEWHERE]


_FILES: Final = (
    "compacted within a minute by the worker that erased, while it has the partition, and within a day by one that got "
    "it since or keeps a standby copy; a copy out of use is deleted after a day, one moved aside as damaged after 7"
)
_ELSEWHERE: Final = (
    ("local files", "by the workers", _FILES),
    ("memory", "nothing", "popularity holds keyed hashes; what the calibration holds of a session goes with it"),
    ("logs", "nothing", "lines name topic, partition, offset and the keyed hash, never the id"),
    ("elsewhere", "nothing", "mirrors, backups and what consumers have stored are not reached: erase there, too"),
)


def _unbounded(lifetime: TopicLifetime | None) -> str:
    if lifetime is None:
        return "the brokers hide its settings from this user, so it cannot be told until when"
    return "its retention is not bounded: set retention.ms on it"
