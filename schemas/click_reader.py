"""From one record of a shop's topic to the clicks in it: a page that is none, one click, an order's lines, a batch.

A record is an event, or a list of events. An event is one click, or one for each line of the list that its `item_id`
goes through (`items[].item_id`). All clicks of a record are of one visitor, who is its key.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import msgspec
from msgspec import Struct

from schemas.events import EVENT_TYPES, ITEM_EVENT_TYPES, ClickEvent, EventType
from schemas.field_values import READERS, RepairReason, read_consent, read_id
from schemas.ids import MAX_ID_BYTES, ItemId, VisitorId, utf8_bytes
from schemas.mapping import FIELDS, IGNORE, REJECT, FieldMapping
from schemas.mapping_language import Place, Places, is_there, own_names, stated, value_map
from schemas.paths import OUTER, RECORD, JsonPath, Line, in_line, json_in, lines_of, look_up, parse_path, text_of
from schemas.payload import MAX_VALUE_BYTES, decode_payload
from schemas.presets import complete
from schemas.times import RecordTime, TimeReader
from schemas.validation import Ignored, Rejection, problem

MAX_CLICKS: Final = 1_000
"""Of one record; further ones are left out and counted."""
REKEYED_HEADER: Final = "__insession.rekeyed"
"""On a record that `insession rekey` copied: what it holds of other visitors has a copy of its own."""

_OF_THE_LINE: Final = frozenset({"price", "quantity"})
"""Read of a line only, where there are lines: beside the list stands what the whole order costs."""

_direct: Final[Callable[[bytes], ClickEvent]] = msgspec.json.Decoder(ClickEvent).decode

Headers = Sequence[tuple[str, bytes]]
RepairedField = str


@dataclass(frozen=True, slots=True)
class Repair:
    """Something that could not be taken as it was; the field `click` stands for a whole one that was left out."""

    field: RepairedField
    reason: RepairReason | Literal["no_item", "rejected", "too_many"]


class Clicks(Struct, frozen=True, gc=False):
    """What one record holds for its visitor, at least one click, in the record's order.

    The lines of one order follow each other and share event_id, event_type and event_time.
    """

    events: tuple[ClickEvent, ...]
    repairs: tuple[Repair, ...] = ()


@dataclass(frozen=True, slots=True)
class _Rule:
    when: tuple[tuple[JsonPath, str], ...]
    places: Places


@dataclass(frozen=True, slots=True)
class _Event:
    """One event of a record, and what its paths can begin with."""

    roots: Mapping[str, Any]

    def look_up(self, path: JsonPath) -> Any:
        return look_up(self.roots[path.root], path.parts[-1])

    def lines(self, path: JsonPath) -> list[Line]:
        return lines_of(self.roots[path.root], path.lists, MAX_CLICKS + 1)


class ClickReader:
    """Reads the records of one topic by its mapping.

    decode: from the value's bytes to builtin objects, instead of `decode_payload`; raises ValueError as that does.
    """

    def __init__(self, mapping: FieldMapping, decode: Callable[[bytes], Any] | None = None) -> None:
        self._direct = _direct if mapping.is_identity and decode is None else None
        whole = complete(mapping)
        self._decode = decode or decode_payload
        self._times = TimeReader(whole.time_format or "auto", whole.time_zone)
        self._events = None if whole.events is None else parse_path(whole.events)
        is_own = whole.format == "insession"
        self._values = {
            name: value_map(values, own=EVENT_TYPES if name == "event_type" and is_own else frozenset())
            for name, values in (whole.values | {"event_type": _event_types(whole, is_own=is_own)}).items()
        }
        self._places = stated(own_names(FIELDS if is_own else ()), whole.paths, whole.constants)
        self._rules = tuple(
            _Rule(
                tuple((parse_path(path), text) for path, text in rule.when.items()),
                self._places | stated({}, rule.paths, rule.constants),
            )
            for rule in whole.rules
        )
        tables = (self._places, *(rule.places for rule in self._rules))
        places = [path for table in tables for place in table.values() for path in place.paths]
        conditions = [path for rule in self._rules for path, _ in rule.when]
        self._reads_record = any(path.root == RECORD for path in (*places, *conditions))

    def read(
        self, key: bytes | None, value: bytes | None, record_time_ms: int, headers: Headers = ()
    ) -> Clicks | Ignored | Rejection:
        """Read one record; record_time_ms is its timestamp, Unix milliseconds."""
        if self._direct is not None and value is not None and len(value) <= MAX_VALUE_BYTES:
            try:
                click = self._direct(value)
            except (ValueError, RecursionError):
                pass  # no click as we write it; it may be one all the same
            else:
                has_blank = "" in {click.location, click.device, click.query, click.experiment}
                if not has_blank and not _is_odd(click) and problem(click, key, record_time_ms) is None:
                    return Clicks((click,))
        events = self._split(key, value, record_time_ms, headers)
        if not isinstance(events, list):
            return events
        found = _Contents(key, record_time_ms, is_rekeyed=any(name == REKEYED_HEADER for name, _ in headers))
        for event in events:
            found.add(self._clicks(event, found.repairs))
        return found.whole()

    def visitor_ids(
        self, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> tuple[VisitorId, ...] | Ignored | Rejection:
        """Return the visitors of a record, each once; whether the rest of it is good is not asked."""
        events = self._split(key, value, 0, headers)
        if not isinstance(events, list):
            return events
        found = dict[VisitorId, None]()
        others: list[Ignored | Rejection] = []
        for event in events:
            try:
                found[self._visitor(event, self._places_of(event))] = None
            except _NoClickError as error:
                ignored = self._is_ignored(event)
                others.append(error.why if ignored is None else ignored)
        return tuple(found) or next((one for one in others if isinstance(one, Rejection)), others[0])

    def _split(
        self, key: bytes | None, value: bytes | None, record_time_ms: int, headers: Headers
    ) -> list[_Event] | Ignored | Rejection:
        """Return the events of a record, at least one."""
        if value is None:
            return Ignored("tombstone", "the record has no value")
        if len(value) > MAX_VALUE_BYTES:
            return Rejection("too_large", f"the value has {len(value)} bytes, at most {MAX_VALUE_BYTES} are read")
        try:
            whole = self._decode(value)
        except (ValueError, RecursionError) as error:
            return Rejection("undecodable", str(error))
        objects = [(one, around) for around in self._around(whole) for one in self._listed(around)]
        if not objects:
            return Ignored("empty", "the record is a list without events")
        record = _record(key, record_time_ms, headers) if self._reads_record else None
        return [_Event({"": one, OUTER: around, RECORD: record}) for one, around in objects]

    def _around(self, whole: Any) -> list[Any]:
        """Return the objects in which `events` is looked up: each one of a list, unless the path begins there."""
        first = self._events.parts[0][:1] if self._events is not None else ()
        return whole if isinstance(whole, list) and whole and any(isinstance(step, str) for step in first) else [whole]

    def _listed(self, whole: Any) -> list[Any]:
        path, inside = self._events, None
        if path is not None and path.lists:
            inside = [in_line(line, path) for line in lines_of(whole, path.lists, MAX_CLICKS + 1)] or None
        elif path is not None:
            inside = look_up(whole, path.parts[-1])
        objects = whole if inside is None else inside
        listed = objects if isinstance(objects, list) else [objects]
        return [json_in(one) if isinstance(one, str) else one for one in listed]

    def _places_of(self, event: _Event) -> Places:
        for rule in self._rules:
            if all(_holds(event, path, text) for path, text in rule.when):
                return rule.places
        return self._places

    def _clicks(self, event: _Event, repairs: list[Repair]) -> Iterator[ClickEvent | Ignored | Rejection]:
        """Return the clicks of one event, and why a line is none; raises _NoClickError if the whole event is none."""
        if not isinstance(event.roots[""], dict):
            raise _NoClickError(Rejection("invalid_field", "the record is no JSON object"))
        places = self._places_of(event)
        try:
            event_type = self._event_type(event, places)
        except _NoClickError as error:
            withdrawal = self._withdrawal(event, places) if isinstance(error.why, Ignored) else None
            if withdrawal is None:
                raise
            yield withdrawal
            return
        visitor_id = self._visitor(event, places)
        lines = _lines(event, places.get("item_id", Place())) if event_type in ITEM_EVENT_TYPES else []
        fields = {
            "event_type": event_type,
            "visitor_id": visitor_id,
            "event_time": self._time(event, places),
            "consent": _refusing(read_consent, self._value("consent", event, places)),
        }
        if not lines:
            yield self._click(fields, tuple(READERS), event, places, None, repairs)
            return
        of_lines = [name for name in READERS if name in _OF_THE_LINE or places.get(name, Place()).is_in_lines]
        shared = [name for name in READERS if name not in of_lines]
        self._describe(fields, shared, event, places, lines[0], repairs)
        for line in lines:
            try:
                yield self._click(fields, of_lines, event, places, line, repairs)
            except _NoClickError as error:
                yield error.why

    def _click(
        self,
        fields: Mapping[str, Any],
        names: Sequence[str],
        event: _Event,
        places: Places,
        line: Line | None,
        repairs: list[Repair],
    ) -> ClickEvent:
        own = dict(fields)
        item = _refusing(lambda value: read_id("item_id", value), self._value("item_id", event, places, line))
        own["item_id"] = None if item is None else ItemId(item)
        self._describe(own, names, event, places, line, repairs)
        return ClickEvent(**own)

    def _describe(
        self,
        fields: dict[str, Any],
        names: Sequence[str],
        event: _Event,
        places: Places,
        line: Line | None,
        repairs: list[Repair],
    ) -> None:
        for name in names:
            value = self._value(name, event, places, line)
            if value is None:
                continue
            described = READERS[name](value)
            fields[name] = described.value
            if described.repair is not None:
                repairs.append(Repair(name, described.repair))

    def _event_type(self, event: _Event, places: Places) -> EventType:
        found = self._value("event_type", event, places)
        text = text_of(found)
        text = None if text is None else text.strip()
        if text is None:
            what = "missing" if found is None else f"no text but a {type(found).__name__}"
            raise _NoClickError(Rejection("invalid_field", f"event_type is {what}"))
        if text == REJECT:
            raise _NoClickError(Rejection("invalid_field", "event_type is one that the mapping rejects"))
        if text not in EVENT_TYPES:
            raise _NoClickError(Ignored("event_type", f"event_type {text[:100]!r} is no interaction"))
        return cast("EventType", text)

    def _withdrawal(self, event: _Event, places: Places) -> ClickEvent | None:
        """Return what even an event that is no interaction can say: that consent is withdrawn."""
        try:
            if _refusing(read_consent, self._value("consent", event, places)) is not False:
                return None
            visitor_id, time_ms = self._visitor(event, places), self._time(event, places)
        except _NoClickError:
            return None
        return ClickEvent(visitor_id=visitor_id, event_type="identify", event_time=time_ms, consent=False)

    def _is_ignored(self, event: _Event) -> Ignored | None:
        try:
            self._event_type(event, self._places_of(event))
        except _NoClickError as error:
            return error.why if isinstance(error.why, Ignored) else None
        return None

    def _visitor(self, event: _Event, places: Places) -> VisitorId:
        visitor_id = _refusing(lambda value: read_id("visitor_id", value), self._value("visitor_id", event, places))
        if visitor_id is None:
            raise _NoClickError(Rejection("invalid_field", "visitor_id is missing"))
        return VisitorId(visitor_id)

    def _time(self, event: _Event, places: Places) -> int:
        found = self._value("event_time", event, places)
        if found is None:
            raise _NoClickError(Rejection("invalid_field", "event_time is missing"))
        time_ms: int = _refusing(self._times.ms, found)
        return time_ms

    def _value(self, name: str, event: _Event, places: Places, line: Line | None = None) -> Any:
        """Find a field by its places, under the name that its value map gives it; None where nothing is there."""
        place = places.get(name)
        if place is None:
            return None
        found = _value_at(name, place, event, line)
        renamed = self._values.get(name)
        if renamed is None or found is place.constant or (text := text_of(found)) is None:
            return found
        ours = renamed(text.strip())
        return found if ours is None else ours or None


class _NoClickError(Exception):
    """There is no click for us in an event."""

    def __init__(self, why: Ignored | Rejection) -> None:
        super().__init__(why.detail)
        self.why = why


class _Contents:
    """What has been found in the events of a record so far."""

    def __init__(self, key: bytes | None, record_time_ms: int, *, is_rekeyed: bool) -> None:
        self._key, self._record_time_ms, self._is_rekeyed = key, record_time_ms, is_rekeyed
        self._clicks: list[ClickEvent] = []
        self._others: list[Ignored | Rejection] = []
        self._foreign: Rejection | None = None
        self.repairs: list[Repair] = []

    def add(self, clicks: Iterator[ClickEvent | Ignored | Rejection]) -> None:
        """Take an event's clicks in."""
        try:
            for click in clicks:
                self._take(click)
        except _NoClickError as error:
            self._others.append(error.why)

    def whole(self) -> Clicks | Ignored | Rejection:
        """Return what the record comes to."""
        if self._foreign is not None and not (self._is_rekeyed and self._clicks):
            return self._foreign
        rejected = [one for one in self._others if isinstance(one, Rejection)]
        if not self._clicks:
            return rejected[0] if rejected else self._others[0]
        repairs = self.repairs
        repairs += [Repair("click", "no_item" if one.reason == "missing_item" else "rejected") for one in rejected]
        if len(self._clicks) > MAX_CLICKS:
            repairs.append(Repair("click", "too_many"))
        return Clicks(tuple(self._clicks[:MAX_CLICKS]), tuple(repairs))

    def _take(self, click: ClickEvent | Ignored | Rejection) -> None:
        if not isinstance(click, ClickEvent):
            self._others.append(click)
            return
        wrong = problem(click, self._key, self._record_time_ms)
        if wrong is None:
            self._clicks.append(click)
        elif wrong.reason == "key_mismatch":
            self._foreign = wrong
        else:
            self._others.append(wrong)


def _is_odd(click: ClickEvent) -> bool:
    """Return whether a text is within the bound in characters and above it in bytes, or an id has a NUL."""
    ids = (click.visitor_id, click.item_id or "", click.anonymous_id or "")
    more = (click.event_id, click.session_id, click.location, click.device, click.experiment)
    texts = [*ids, *(text for text in more if text is not None)]
    if (together := "".join(texts)).isascii() and "\0" not in together:  # nearly always
        return False
    return any("\0" in text for text in ids) or any(
        not text.isascii() and utf8_bytes(text) > MAX_ID_BYTES for text in texts
    )


def _value_at(name: str, place: Place, event: _Event, line: Line | None) -> Any:
    for path in place.paths:
        if path.lists:
            value = None if line is None else in_line(line, path)
        elif line is not None and name in _OF_THE_LINE:
            value = None
        else:
            value = event.look_up(path)
        if is_there(value):
            return value
    if line is not None and name in _OF_THE_LINE and not place.is_in_lines:
        return look_up(line.objects[-1], (name,))
    return place.constant


def _record(key: bytes | None, time_ms: int, headers: Headers) -> dict[str, Any]:
    """Return what `$record` leads into."""
    return {
        "key": (key or b"").decode(errors="replace"),
        "timestamp": RecordTime(time_ms),
        "headers": {name: content.decode(errors="replace") for name, content in headers},
    }


def _lines(event: _Event, place: Place) -> list[Line]:
    """Return the lines of the first list of which at least one holds an item; [] where the item is in no list."""
    for path in place.paths:
        if not path.lists:
            if is_there(event.look_up(path)):
                return []
            continue
        lines = event.lines(path)
        if any(_value_at("item_id", place, event, line) is not None for line in lines):
            return lines
    return []


def _holds(event: _Event, path: JsonPath, text: str) -> bool:
    found = text_of(event.look_up(path))
    return found is not None and text in {"*", found}


def _refusing(read: Callable[[Any], Any], value: Any) -> Any:
    """Read a field that a click cannot do without."""
    try:
        return None if value is None else read(value)
    except UnicodeEncodeError as error:
        raise _NoClickError(Rejection("undecodable", "an id holds half a surrogate pair")) from error
    except ValueError as error:
        raise _NoClickError(Rejection("invalid_field", str(error))) from error


def _event_types(whole: FieldMapping, *, is_own: bool) -> dict[str, str]:
    """Add to the stated names that our words mean nothing where a vendor writes them, and `reject` nowhere."""
    foreign = {REJECT} if is_own else {REJECT, *EVENT_TYPES}
    return dict.fromkeys(foreign, IGNORE) | whole.values.get("event_type", {})
