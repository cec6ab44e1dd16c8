"""Where the fields of a click lie in a shop's own JSON, guessed from names, values, record keys and coverage."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from agents.doctor.field_likeness import (
    NAMES,
    can_be,
    event_type_of,
    is_known_type,
    is_personal,
    lists_of,
    name_likeness,
    names_no_offset,
    readable_consent,
    time_format,
)
from agents.doctor.json_facts import PathFacts, facts
from schemas.events import EVENT_TYPES, ITEM_EVENT_TYPES
from schemas.field_values import READERS
from schemas.mapping import FieldMapping
from schemas.mapping_language import Paths
from schemas.paths import look_up, parse_path, text_of
from streams.records import InputRecord

REQUIRED: Final = ("visitor_id", "event_type", "event_time")
NOWHERE: Final = "-"
"""A path at which nothing is: it hides a field of the shop's that has our name and another meaning."""
RECORD_KEY: Final = "$record.key"

_LEAST_SCORE: Final = 0.55
_OTHERS_LEAST: Final = 0.7
"""What a further path of a field must look like."""
_KEY_BONUS: Final = 1.0
_SIBLING_BONUS: Final = 0.5
_MOST_KEYS: Final = 0.95
_UNIQUE: Final = 0.97
_LEAST_GAIN: Final = 0.01
_HALF: Final = 0.5
_MOST_PATHS: Final = 4
_OF_AN_ITEM: Final = ("price", "quantity")
_MAX_CODES: Final = 20

Event = tuple[InputRecord, dict[str, Any]]
_Facts = Mapping[str, PathFacts]


@dataclass(frozen=True, slots=True)
class Guess:
    """A mapping, and what a person should know and say about it."""

    mapping: FieldMapping
    questions: tuple[str, ...]
    warnings: tuple[str, ...]


def guess(events: Sequence[Event]) -> Guess:
    """Guess the mapping of a sample's events."""
    known = facts(found for _, found in events)
    named = {path: found for path, found in known.items() if not is_personal(found)}
    chosen: dict[str, list[str]] = {}
    if types := _event_type_paths(named, len(events)):
        chosen["event_type"] = types
    interactions = [event for event in events if is_known_type(_event_type(event[1], types))] or list(events)
    _Fields(interactions, types, chosen).choose()
    mapping = _mapping(named, chosen)
    if "visitor_id" not in chosen and _are_visitors([record.key for record, _ in events]):
        mapping.paths["visitor_id"] = RECORD_KEY
    hidden = list(_misnamed(events, chosen))
    mapping.paths.update(dict.fromkeys(hidden, NOWHERE))
    questions = (
        *_missing(mapping, named),
        *(f"the shop's {field} is something else than ours and is left out" for field in hidden),
        *_about_values(named, chosen, mapping),
    )
    return Guess(mapping, questions, tuple(_personal(known, chosen)))


class _Fields:
    """Gives each field the paths that cover the interactions best, no path to two fields."""

    def __init__(self, events: Sequence[Event], types: Sequence[str], chosen: dict[str, list[str]]) -> None:
        self._events, self._types, self._chosen = events, types, chosen

    def choose(self) -> None:
        """Add to what is chosen; what lies in lists belongs to items only."""
        known = self._facts_of(EVENT_TYPES)
        plain = {path: found for path, found in known.items() if not found.is_list}
        keys = self._paths_of_keys(plain)
        self._take("visitor_id", plain, keys)
        self._take("event_time", plain)
        of_items = self._facts_of(ITEM_EVENT_TYPES)
        self._take("item_id", of_items)
        for field in _OF_AN_ITEM:
            self._take_of_items(field, of_items)
        searches = self._facts_of(frozenset({"search"}))
        for field in NAMES:
            if field not in self._chosen and field not in {"item_id", *_OF_AN_ITEM}:
                own = searches if field == "query" and searches else plain
                self._take(field, {path: found for path, found in own.items() if not found.is_list})

    def _facts_of(self, kinds: frozenset[str]) -> dict[str, PathFacts]:
        """Return the facts of the events of these types; of all where no type is known."""
        of_kinds = [
            found
            for _, found in self._events
            if not self._types or (event_type_of(kind := _event_type(found, self._types)) or kind) in kinds
        ]
        known = facts(of_kinds or ([] if kinds == {"search"} else [found for _, found in self._events]))
        return {path: found for path, found in known.items() if not is_personal(found)}

    def _paths_of_keys(self, known: _Facts) -> set[str]:
        """Find the paths whose value is the record's key wherever they have one; a message's key never repeats."""
        equal = Counter[str]()
        parsed = {path: parse_path(path).parts[-1] for path in known}
        for record, found in self._events:
            key = (record.key or b"").decode(errors="replace")
            if key:
                equal.update(path for path, steps in parsed.items() if text_of(look_up(found, steps)) == key)
        return {
            path
            for path, count in equal.items()
            if count >= _MOST_KEYS * known[path].present and known[path].distinct_share < _UNIQUE
        }

    def _take(self, field: str, known: _Facts, keys: AbstractSet[str] = frozenset()) -> None:
        """Choose for a field; keys: the paths that hold the record's key, whatever they are called."""
        taken = {path for paths in self._chosen.values() for path in paths}
        likely = {
            path: likeness
            for path, found in known.items()
            if path not in taken
            and ((likeness := name_likeness(field, path)) >= _LEAST_SCORE or (path in keys and not _is_named(path)))
            and can_be(field, found)
        }
        bonus = partial(_bonus, keys, _KEY_BONUS)
        # A single no to tracking counts; of other fields a path in few records is luck.
        paths = _covering(known, likely, len(self._events), bonus, 0.0 if field == "consent" else _LEAST_GAIN)
        if paths:
            self._chosen[field] = paths

    def _take_of_items(self, field: str, known: _Facts) -> None:
        """Choose for each item path what stands beside it: in the same list, else in the same object."""
        found: list[str] = []
        for item in self._chosen.get("item_id", ()):
            lists = _lists(item)
            beside = {path: facts_of for path, facts_of in known.items() if _lists(path) == lists}
            parent = item.rpartition(".")[0]
            likely = {
                path: likeness
                for path, facts_of in beside.items()
                if (likeness := name_likeness(field, path)) >= _LEAST_SCORE and can_be(field, facts_of)
            }
            here = len(known[item].objects)
            siblings = {path for path in likely if path.rpartition(".")[0] == parent}
            bonus = partial(_bonus, siblings, _SIBLING_BONUS)
            found += [path for path in _covering(beside, likely, here, bonus)[:1] if path not in found]
        if found:
            self._chosen[field] = found


def _bonus(paths: AbstractSet[str], worth: float, path: str) -> float:
    return worth if path in paths else 0.0


def _covering(
    known: _Facts,
    likely: Mapping[str, float],
    total: int,
    bonus: Callable[[str], float],
    least_gain: float = _LEAST_GAIN,
) -> list[str]:
    """Choose paths until no other adds records; what is there and looks right goes before what only looks right."""
    paths: list[str] = []
    covered: set[int] = set()
    while likely and len(paths) < _MOST_PATHS:
        gains = {path: len(known[path].objects - covered) / max(1, total) for path in likely if path not in paths}
        least = _OTHERS_LEAST if paths else 0.0
        worth = {
            path: (gain * likely[path] + bonus(path), not known[path].is_list, -len(path))
            for path, gain in gains.items()
            if gain >= least_gain and gain and likely[path] >= least
        }
        if not worth:
            break
        best = max(worth, key=lambda path: worth[path])
        paths.append(best)
        covered |= known[best].objects
    return paths


def _is_named(path: str) -> bool:
    """Return whether a path has the name of some field."""
    return any(name_likeness(field, path) >= _OTHERS_LEAST for field in NAMES)


def _event_type_paths(known: _Facts, total: int) -> list[str]:
    """Choose by how many records say something that we know; else by name, what can be a code."""
    plain = {path: found for path, found in known.items() if not found.is_list}
    share = {
        path: sum(count for value, count in found.values.items() if is_known_type(value)) / max(1, total)
        for path, found in plain.items()
        if can_be("event_type", found)
    }
    likely = {path: likeness for path in share if (likeness := name_likeness("event_type", path)) >= _LEAST_SCORE}
    words = [path for path, found in plain.items() if _may_be_codes(found, total)]
    if not likely:
        return sorted((path for path in words if len(plain[path].objects) >= _HALF * total), key=_unlikeness)[:1]
    first = max(likely, key=lambda path: (share[path] * likely[path], -len(path)))
    # Where it is missing, what is no interaction is known by another one: without any, it would be a dead letter.
    missing = {path: len(plain[path].objects - plain[first].objects) for path in {*likely, *words} - {first}}
    others = sorted((path for path, count in missing.items() if count >= _LEAST_GAIN * total), key=_unlikeness)
    return [first, *others[: _MOST_PATHS - 1]]


def _may_be_codes(found: PathFacts, total: int) -> bool:
    """Return whether a path is named like an event type and has few values, whatever they mean."""
    is_few = len(found.values) <= min(_MAX_CODES, max(1, total))
    return name_likeness("event_type", found.path) >= _OTHERS_LEAST and found.share_of(str, int) == 1 and is_few


def _unlikeness(path: str) -> tuple[float, int, str]:
    return -name_likeness("event_type", path), len(path), path


def _event_type(found: dict[str, Any], types: Sequence[str]) -> str | None:
    texts = (text_of(look_up(found, parse_path(path).parts[-1])) for path in types)
    return next((text for text in texts if text), None)


def _are_visitors(keys: Sequence[bytes | None]) -> bool:
    """Return whether keys come again, as visitors do and message ids never."""
    there = [key for key in keys if key]
    return len(there) >= _MOST_KEYS * len(keys) > 0 and len(set(there)) < _HALF * len(there)


def _mapping(known: _Facts, chosen: Mapping[str, list[str]]) -> FieldMapping:
    words: dict[str, str] = {}
    for path in chosen.get("event_type", ()):
        for value in known[path].values:
            kind = event_type_of(value)
            if kind and kind != value and value.isprintable():
                words[str(value).strip()] = kind
    times = {time_format(known[path]) for path in chosen.get("event_time", ())} - {None}
    paths: dict[str, Paths] = {
        field: found[0] if len(found) == 1 else tuple(found) for field, found in chosen.items() if found != [field]
    }
    return FieldMapping(
        paths=paths,
        values={"event_type": dict(sorted(words.items()))} if words else {},
        time_format=next(iter(times)) if len(times) == 1 and times != {"auto"} else None,
    )


def _misnamed(events: Sequence[Event], chosen: Mapping[str, list[str]]) -> Iterator[str]:
    """Find describing fields that lie under our name, were not chosen, and are something else in most records."""
    for field, read in READERS.items():
        values = [found[field] for _, found in events if found.get(field) not in (None, "")]
        if field in chosen or not values:
            continue
        read_ones = [value for value in values if read(value).repair != "unreadable"]
        known = facts({field: value} for value in read_ones if not isinstance(value, dict | list))
        is_other = field in known and field in {"location", "device", "query"} and not can_be(field, known[field])
        if len(read_ones) < _HALF * len(values) or is_other:
            yield field


def _missing(mapping: FieldMapping, known: _Facts) -> Iterator[str]:
    own = {path for path in known if path in NAMES}
    for field in REQUIRED:
        if field not in mapping.paths and field not in own:
            hint = "" if field != "event_type" else " Where all records are of one kind, constants.event_type says so"
            yield f"no path looks like {field}: which one is it?{hint}"
    if mapping.paths.get("visitor_id") == RECORD_KEY:
        yield "no path looks like visitor_id, so the record's key is taken: does it name the shopper?"
    if "event_time" not in mapping.paths and "event_time" not in own:
        yield 'is the record\'s timestamp the event_time? event_time = "$record.timestamp" takes it'


def _about_values(known: _Facts, chosen: Mapping[str, list[str]], mapping: FieldMapping) -> Iterator[str]:
    for path in chosen.get("event_time", ()):
        if names_no_offset(known[path].values):
            yield f"times at {path} name no offset and are read as {mapping.time_zone}: which time_zone are they of?"
        if (mapping.time_format or "").startswith("%d/%m"):
            yield f"is the first number of the times at {path} the day? It is read as such"
    if len(chosen.get("visitor_id", ())) > 1:
        names = ", else ".join(chosen["visitor_id"])
        yield f"the visitor is {names}: is it right that a shopper who logs in goes on under another id?"
    consents = [path for path in known if not known[path].is_list and name_likeness("consent", path) >= _OTHERS_LEAST]
    for path in consents:
        odd = [value for value in known[path].values if not readable_consent(value)]
        if odd:
            count = sum(known[path].values[value] for value in odd)
            shown = ", ".join(str(value)[:40] for value in odd[:5])
            yield (
                f"consent at {path} is neither yes nor no {count:,} times ({shown}): say in values.consent which it "
                "is; until then such records are refused, for nobody's consent is guessed"
            )
    if consents and "consent" not in chosen and "consent" not in known:
        yield f"is {consents[0]} the shopper's consent? It is not in the mapping, and absent consent counts as given"


def _personal(known: _Facts, chosen: Mapping[str, list[str]]) -> Iterator[str]:
    """Warn of what looks like a field and names a person."""
    for path, found in known.items():
        fields = [field for field in NAMES if name_likeness(field, path) >= _LEAST_SCORE]
        if fields and is_personal(found):
            instead = "another path is taken" if fields[0] in chosen else "nothing is taken"
            what = "an e-mail address, phone, street or name"
            yield f"{path} looks like {fields[0]} but says who somebody is ({what}): {instead}"


def item_lists(known: _Facts, used: set[str]) -> Iterator[tuple[str, int]]:
    """Return each list not used that looks like items: the likeliest path in it, and how many objects have one."""
    likely: dict[tuple[Any, ...], str] = {}
    read = {_lists(path) for path in used}
    for path, found in known.items():
        lists = _lists(path)
        if not found.is_list or lists in read or not can_be("item_id", found) or is_personal(found):
            continue
        likeness = name_likeness("item_id", path)
        if likeness >= _OTHERS_LEAST and (lists not in likely or likeness > name_likeness("item_id", likely[lists])):
            likely[lists] = path
    yield from ((path, len(known[path].objects)) for path in likely.values())


def _lists(path: str) -> tuple[Any, ...]:
    found = lists_of(path)
    return () if found is None else found.lists
