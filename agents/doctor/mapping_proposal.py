"""A field mapping for a shop's own JSON, guessed from a sample: a start for a person, with the questions left open."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import structs

from agents.doctor.field_likeness import NAMES, can_be, event_type_of, name_likeness, time_format
from agents.doctor.json_facts import PathFacts, facts
from schemas.click_reader import ClickReader
from schemas.events import EVENT_TYPES
from schemas.mapping import FieldMapping
from schemas.validation import Rejection, RejectReason
from streams.dead_letters import InputRecord

REQUIRED: Final = ("visitor_id", "event_type", "event_time")
NOWHERE: Final = "-"
"""A path at which nothing is: it hides a field of the shop's that has our name and another meaning."""
_LEAST_SCORE: Final = 0.55
_KEY_BONUS: Final = 1.0
_MOST_KEYS: Final = 0.95
_UNIQUE: Final = 0.97
_MAX_QUESTIONS: Final = 40
_decoder = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mapping and what it is worth.

    readable: records of the sample that then parse. keyed: those of them whose key is the visitor_id, too.
    reasons: of the others. questions: for the person who takes it over.
    """

    mapping: FieldMapping
    sampled: int
    readable: int
    keyed: int
    reasons: Counter[RejectReason]
    questions: Sequence[str]

    def toml(self) -> str:
        """Spell the settings section, with shares and questions as comments."""
        return "\n".join([*self._comments(), *_toml(self.mapping), ""])

    def _comments(self) -> Iterator[str]:
        yield f"# {self.readable:,} of {self.sampled:,} sampled records can be read with it ({_share(self)})"
        if self.keyed < self.readable:
            yield f"# only {self.keyed:,} of those are keyed by visitor_id: `insession rekey` keys them anew"
        for reason, count in self.reasons.most_common():
            yield f"# not readable: {count:,} {reason}"
        for question in self.questions:
            yield f"# ? {question}"


def propose(records: Sequence[InputRecord]) -> Proposal:
    """Guess the mapping of a sample."""
    objects = [(record, found) for record in records if (found := _decoded(record)) is not None]
    known = facts(found for _, found in objects)
    reachable = {path: found for path, found in known.items() if not found.is_list}
    chosen = _chosen(reachable, _paths_of_keys(objects, reachable))
    mapping = _mapping(reachable, chosen)
    questions = list(_questions(records, known, chosen))[:_MAX_QUESTIONS]
    hidden = dict.fromkeys(sorted(_misleading(objects, mapping)), NOWHERE)
    questions += [f"the shop's {field} is something else than ours and is left out" for field in hidden]
    mapping = structs.replace(mapping, paths=mapping.paths | hidden)
    return _weighed(records, mapping, questions)


def _decoded(record: InputRecord) -> dict[str, Any] | None:
    try:
        return _decoder.decode(record.value or b"")
    except (ValueError, RecursionError):
        return None


def _paths_of_keys(objects: Sequence[tuple[InputRecord, dict[str, Any]]], known: Mapping[str, PathFacts]) -> set[str]:
    """Find the paths whose value is the record's key; a key that is another in every record is a message's."""
    equal = Counter[str]()
    for record, found in objects:
        key = (record.key or b"").decode(errors="replace")
        if key:
            equal.update(path for path in known if str(_look_up(found, path)) == key)
    least = _MOST_KEYS * len(objects)
    return {path for path, count in equal.items() if count >= least and known[path].distinct_share < _UNIQUE}


def _chosen(known: Mapping[str, PathFacts], key_paths: set[str]) -> dict[str, str]:
    """Give each field the path that looks most like it, no path to two fields."""
    chosen: dict[str, str] = {}
    for field in NAMES:
        scores = {
            path: name_likeness(field, path) + (_KEY_BONUS if field == "visitor_id" and path in key_paths else 0)
            for path, found in known.items()
            if path not in chosen.values() and can_be(field, found)
        }
        best = max(scores, key=lambda path: (scores[path], known[path].present, -len(path)), default=None)
        if best is not None and scores[best] >= _LEAST_SCORE:
            chosen[field] = best
    return chosen


def _mapping(known: Mapping[str, PathFacts], chosen: Mapping[str, str]) -> FieldMapping:
    values: dict[str, dict[str, str]] = {}
    if "event_type" in chosen:
        shop_words = [value for value in known[chosen["event_type"]].values if isinstance(value, str)]
        words = {word: kind for word in shop_words if (kind := event_type_of(word)) and kind != word}
        values = {"event_type": dict(sorted(words.items()))} if words else {}
    unit = time_format(known[chosen["event_time"]]) if "event_time" in chosen else None
    paths = {field: path for field, path in chosen.items() if path != field}
    return FieldMapping(paths={**paths}, values=values, time_format=unit or "rfc3339")


def _misleading(objects: Sequence[tuple[InputRecord, dict[str, Any]]], mapping: FieldMapping) -> set[str]:
    """Find optional fields whose value at their path keeps records from being read that would do without them."""
    misleading: set[str] = set()
    for record, found in objects[:200]:
        fields = [field for field in _OPTIONAL if _look_up(found, str(mapping.paths.get(field, field))) is not None]
        if not fields or not isinstance(_parse(record, mapping), Rejection):
            continue
        for field in fields:
            without = structs.replace(mapping, paths=mapping.paths | {field: NOWHERE})
            if not isinstance(_parse(record, without), Rejection):
                misleading.add(field)
    return misleading


def _weighed(records: Sequence[InputRecord], mapping: FieldMapping, questions: Sequence[str]) -> Proposal:
    reasons = Counter[RejectReason]()
    readable = keyed = 0
    reader = ClickReader(mapping)
    for record in records:
        event = reader.read(record.key, record.value, record.time_ms, record.headers)
        if not isinstance(event, Rejection):
            keyed += 1
        elif event.reason != "key_mismatch":
            reasons[event.reason] += 1
            continue
        readable += 1
    return Proposal(mapping, len(records), readable, keyed, reasons, questions)


def _parse(record: InputRecord, mapping: FieldMapping) -> object:
    """Parse a record whatever its key is: None where only the key is wrong."""
    event = ClickReader(mapping).read(record.key, record.value, record.time_ms, record.headers)
    return None if isinstance(event, Rejection) and event.reason == "key_mismatch" else event


def _questions(
    records: Sequence[InputRecord], known: Mapping[str, PathFacts], chosen: Mapping[str, str]
) -> Iterator[str]:
    for field in (*REQUIRED, "item_id"):
        if field not in chosen:
            yield f"no path looks like {field}: which one is it?"
    if "event_id" not in chosen:
        yield "no path looks like event_id: without it a resent event counts twice"
    if "event_type" in chosen:
        found = known[chosen["event_type"]]
        for value, count in found.values.most_common():
            if isinstance(value, str) and value not in EVENT_TYPES and event_type_of(value) is None:
                share = count / len(records)
                yield f"event type {_quoted(value)} ({share:.0%}): what is it here? As it is, it is dead-lettered"
    for path, found in known.items():
        if found.is_list and any(name_likeness(field, path) == 1 for field in ("item_id", "event_id")):
            yield f"{_quoted(path)} lies in a list, which a mapping does not reach: send one event an item"


def _toml(mapping: FieldMapping) -> Iterator[str]:
    yield "[clickstream.mapping]"
    yield f"time_format = {_quoted(mapping.time_format or 'auto')}"
    if mapping.paths:
        yield "\n[clickstream.mapping.paths]"
        yield from (f"{field} = {_quoted(str(path))}" for field, path in mapping.paths.items())
    for field, renamed in mapping.values.items():
        yield f"\n[clickstream.mapping.values.{field}]"
        yield from (f"{_quoted(theirs)} = {_quoted(ours)}" for theirs, ours in renamed.items())


def _quoted(text: str) -> str:
    """Spell a TOML basic string, on one line and without characters that a terminal obeys."""
    plain = "".join(one if one.isprintable() else " " for one in text)
    return json.dumps(plain, ensure_ascii=False)


def _share(proposal: Proposal) -> str:
    return f"{proposal.readable / max(1, proposal.sampled):.1%}"


def _look_up(found: Any, path: str) -> Any:
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


_OPTIONAL: Final = (
    "session_id",
    "event_id",
    "price",
    "quantity",
    "query",
    "location",
    "device",
    "consent",
    "experiment",
)
