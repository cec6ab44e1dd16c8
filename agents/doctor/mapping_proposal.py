"""A field mapping for a shop's own records, proposed from a sample: what it is worth, and the questions left open."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from msgspec import structs

from agents.configuration.values import toml_text
from agents.doctor.json_facts import facts
from agents.doctor.mapping_guess import REQUIRED, Event, Guess, guess, item_lists
from agents.doctor.mapping_trial import Decode, Trial, reader_of, tried, visitor_warnings
from agents.doctor.seen import Seen, seen_in
from schemas.mapping import FieldMapping, Format
from schemas.mapping_language import Paths
from schemas.paths import json_in, look_up, parse_path, text_of
from schemas.payload import decode_payload
from schemas.presets import PRESETS, complete
from schemas.validation import Ignored
from streams.records import InputRecord

_MAX_QUESTIONS: Final = 40
_MAX_WARNINGS: Final = 20
_ELECTORS: Final = 300
"""Records by which the format is chosen."""
_ABOUT_AS_GOOD: Final = 0.95
"""A format that reads this much of what the guess reads goes before it: it also knows what the sample does not show."""
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mapping and what it is worth.

    trial: what becomes of the sample with it, keyed as `insession rekey` keys. is_keyed: keys are known; not of a file.
    questions: for the person who takes it over. seen: what most values are in bytes.
    """

    mapping: FieldMapping
    trial: Trial
    questions: tuple[str, ...]
    warnings: tuple[str, ...]
    seen: Seen
    is_keyed: bool

    def toml(self) -> str:
        """Spell the settings section, with counts, warnings and questions as comments."""
        comments = ("# " + _printable(line) for line in self._comments())
        return "\n".join([*comments, *_toml(self.mapping), ""])

    def _comments(self) -> Iterator[str]:
        trial = self.trial
        share = trial.readable / max(1, trial.records)
        yield f"{trial.readable:,} of {trial.records:,} sampled records can be read with it ({share:.1%}), {self.seen}"
        if trial.interactions:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in trial.interactions.most_common())
            yield f"they hold {trial.interactions.total():,} interactions: {kinds}"
        if trial.ignored:
            yield f"ignored, for they are no interactions: {trial.ignored:,}"
        if self.is_keyed and trial.keyed < trial.readable:
            yield f"only {trial.keyed:,} of those that can be read are keyed by visitor_id: `insession rekey` keys anew"
        for reason, count in trial.rejected.most_common():
            yield f"not readable: {count:,} {reason}"
        if trial.repairs:
            fields = ", ".join(f"{field} {count:,}" for field, count in trial.repairs.most_common())
            yield f"repaired or left out: {fields}"
        yield from (f"! {warning}" for warning in self.warnings)
        yield from (f"? {question}" for question in self.questions)


def propose(records: Sequence[InputRecord], decode: Decode = decode_payload) -> Proposal:
    """Guess the mapping of a sample; decode: from a value's bytes to builtin objects, raises ValueError."""
    events = [event for record in records for event in _events(record, decode)]
    guessed = guess(events)
    mapping = _elected(records, guessed.mapping, decode)
    trial = tried(records, mapping, decode)
    kinds = seen_in(records)
    seen = kinds.most_common(1)[0][0] if kinds else Seen()
    questions = (
        *(_asked_of_a_guess(guessed, mapping, trial)),
        *_about_items(events, mapping, trial),
        *_unknown_types(records, mapping, decode),
    )
    warnings = (
        *visitor_warnings(trial.visitors),
        *guessed.warnings,
        *_unread(seen, trial),
        *(f"{count:,} of the values looked at are {kind}" for kind, count in kinds.most_common()[1:]),
    )
    return Proposal(
        mapping,
        trial,
        questions[:_MAX_QUESTIONS],
        warnings[:_MAX_WARNINGS],
        seen,
        any(record.key is not None for record in records),
    )


def _events(record: InputRecord, decode: Decode) -> Iterator[Event]:
    try:
        found = decode(record.value or b"")
    except (ValueError, RecursionError):
        return
    for one in found if isinstance(found, list) else [found]:
        event = json_in(one) if isinstance(one, str) else one
        if isinstance(event, dict):
            yield record, event


def _elected(records: Sequence[InputRecord], guessed: FieldMapping, decode: Decode) -> FieldMapping:
    """Choose between the guess and the formats by what arrives, and add to a format what the guess reads better."""
    electors = records[:: max(1, len(records) // _ELECTORS)]
    own = tried(electors, guessed, decode)
    if own.readable and guessed.paths.keys().isdisjoint(REQUIRED):
        return guessed  # these are our own names
    trials = {name: tried(electors, FieldMapping(format=name), decode) for name in PRESETS if name != "insession"}
    if not trials:
        return guessed
    best = max(trials, key=lambda name: _worth(trials[name]))
    if not trials[best].readable or any(
        mine < _ABOUT_AS_GOOD * theirs for mine, theirs in zip(_worth(trials[best]), _worth(own), strict=True)
    ):
        return guessed
    return _completed(best, trials[best], guessed, own, lambda mapping: tried(electors, mapping, decode))


def _worth(trial: Trial) -> tuple[int, int]:
    return trial.readable, trial.interactions.total()


def _completed(
    name: Format, trial: Trial, guessed: FieldMapping, own: Trial, try_it: Callable[[FieldMapping], Trial]
) -> FieldMapping:
    """Take over from the guess what makes more of the records arrive, or arrive with more of their fields."""
    mapping, preset = FieldMapping(format=name), complete(FieldMapping(format=name))
    words = {
        theirs: ours
        for theirs, ours in guessed.values.get("event_type", {}).items()
        if not _is_stated(preset.values.get("event_type", {}), theirs)
    }
    additions: list[tuple[dict[str, str], dict[str, Paths]]] = [(words, {})] if words else []
    for field, paths in guessed.paths.items():
        if own.filled[field] > trial.filled[field] or (field == "consent" and field not in preset.paths):
            additions.append(({}, {field: _joined(paths, preset.paths.get(field, ()))}))
    for kinds, paths_of in additions:
        values = mapping.values | ({"event_type": kinds} if kinds else {})
        wider = structs.replace(mapping, paths=mapping.paths | paths_of, values=values)
        found = try_it(wider)
        if "consent" in paths_of or (*_worth(found), found.filled.total()) > (*_worth(trial), trial.filled.total()):
            mapping, trial = wider, found
    return mapping


def _joined(first: Paths, then: Paths) -> Paths:
    both = (*_listed(first), *_listed(then))
    return tuple(dict.fromkeys(both)) if len(set(both)) > 1 else both[0]


def _listed(paths: Paths) -> tuple[str, ...]:
    return (paths,) if isinstance(paths, str) else paths


def _asked_of_a_guess(guessed: Guess, mapping: FieldMapping, trial: Trial) -> Iterator[str]:
    """Ask what the guess leaves open; of a format only what is about values."""
    if mapping is guessed.mapping:
        yield from guessed.questions
        if trial.readable and not trial.filled["event_id"]:
            yield "no path looks like event_id: without it a resent event counts twice"
    else:
        yield from (question for question in guessed.questions if "consent" in question or "offset" in question)


def _about_items(events: Sequence[Event], mapping: FieldMapping, trial: Trial) -> Iterator[str]:
    """Report that no item is found, and ask about every list that may hold some and is not read."""
    whole, known = complete(mapping), facts(found for _, found in events)
    own = {"item_id"} & known.keys() if mapping.format == "insession" else set()
    stated = (whole.paths, *(rule.paths for rule in whole.rules))
    used = own | {path for paths in stated for path in _listed(paths.get("item_id", ()))}
    lists = list(item_lists(known, used))
    if not used:
        named = ", ".join(path for path, _ in lists)
        yield f"no item is found: no path looks like item_id: which one is it?{named and f' Maybe {named}'}"
    elif trial.readable and not trial.filled["item_id"]:
        yield f"no record that can be read has an item at {', '.join(sorted(used))}: where are they?"
    for path, count in lists:
        yield (
            f"{path} looks like items, in {count / max(1, len(events)):.0%} of the events, and is not read: are they "
            f"what the event is about? item_id = {_quoted(path)} reads one interaction a line"
        )


def _unread(seen: Seen, trial: Trial) -> Iterator[str]:
    if seen.encoding not in {"json", None} and not trial.readable:
        yield f"the values are {seen}: no field can be proposed until they can be decoded"


def _unknown_types(records: Sequence[InputRecord], mapping: FieldMapping, decode: Decode) -> Iterator[str]:
    """Ask about each event type that is ignored and that nobody stated."""
    whole, reader = complete(mapping), reader_of(mapping, decode)
    own = ("event_type",) if mapping.format == "insession" else ()
    paths = [parse_path(path) for path in _listed(whole.paths.get("event_type", own))]
    steps = [path.parts[-1] for path in paths if not path.lists and not path.root]
    found = Counter[str]()
    for record in records:
        outcome = reader.read(record.key, record.value, record.time_ms, record.headers)
        if isinstance(outcome, Ignored) and outcome.reason == "event_type":
            for _, event in _events(record, decode):
                texts = (text_of(look_up(event, one)) for one in steps)
                found.update(list(islice((text for text in texts if text), 1)))
    for text, count in found.most_common():
        if not _is_stated(whole.values.get("event_type", {}), text):
            share = f"{count / len(records):.0%} of the records"
            yield f"event type {_quoted(text)} ({share}): what is it here? As it stands, it is ignored"


def _is_stated(values: Mapping[str, str], text: str) -> bool:
    return any(re.fullmatch(".*".join(map(re.escape, theirs.split("*"))), text, re.DOTALL) for theirs in values)


def _toml(mapping: FieldMapping) -> Iterator[str]:
    yield "[clickstream.mapping]"
    yield f"format = {toml_text(mapping.format)}"
    if mapping.time_format is not None:
        yield f"time_format = {toml_text(mapping.time_format)}"
    if mapping.paths:
        yield "\n[clickstream.mapping.paths]"
        yield from (f"{field} = {_toml_paths(paths)}" for field, paths in mapping.paths.items())
    for field, renamed in mapping.values.items():
        yield f"\n[clickstream.mapping.values.{field}]"
        yield from (f"{_toml_key(theirs)} = {toml_text(ours)}" for theirs, ours in renamed.items())


def _toml_paths(paths: Paths) -> str:
    return toml_text(paths if isinstance(paths, str) else list(paths))


def _toml_key(text: str) -> str:
    return text if _BARE_KEY.fullmatch(text) else toml_text(text)


def _quoted(text: str) -> str:
    return json.dumps(_printable(text), ensure_ascii=False)


def _printable(text: str) -> str:
    """Keep it on one line and without characters that a terminal obeys."""
    return "".join(one if one.isprintable() else " " for one in text)
