"""From one record of the catalog topic to what the shop says of an item: described, removed, or not to be understood.

The record's key says which item it is about, since compaction and tombstones go by it: a text, a JSON text, or a JSON
object that holds one value, as change data capture writes it; Confluent's frame around JSON is taken off. A value may
name the item, too, and must then name the same one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from schemas.availability import is_never, moment_ms
from schemas.catalog_mapping import FIELDS, OWN_PLACES, SALE_FIELDS, CatalogMapping
from schemas.errors import without_input
from schemas.field_values import Described, RepairReason, read_id, read_price
from schemas.ids import MAX_ID_BYTES, ItemId, utf8_bytes
from schemas.item_values import READERS, read_available, read_begin, read_end, read_locations
from schemas.mapping_language import is_there, stated, value_map
from schemas.paths import OUTER, RECORD, JsonPath, in_line, json_in, lines_of, look_up, text_of
from schemas.payload import decode_payload, unframed
from schemas.records import MAX_LOCATIONS, CatalogItem, Sale
from schemas.times import EARLIEST_TIME_MS, LATEST_TIME_MS, TimeReader

UnreadableReason = Literal[
    "unreadable_key", "undecodable", "invalid_field", "key_mismatch", "unclear_availability", "internal_error"
]

_direct: Final[Callable[[bytes], CatalogItem]] = msgspec.json.Decoder(CatalogItem).decode
_decode_json: Final = msgspec.json.Decoder().decode

_Roots = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DescribedItem:
    """What the shop says of an item. repairs: of describing fields that could not be taken as they were."""

    item: CatalogItem
    repairs: Mapping[str, RepairReason] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemovedItem:
    """A tombstone."""

    item_id: ItemId


@dataclass(frozen=True, slots=True)
class UnreadableItem:
    """A record of which nobody knows what it says; item_id: the item that it is about, None = nobody knows that either.

    `unreadable_key`: no key, or none that names an item. `undecodable`: no JSON. `invalid_field`: no object, or an id
    that is none. `key_mismatch`: the value names another item. `unclear_availability`: neither yes nor no, or from or
    until no moment, or never. `internal_error`: a bug.
    """

    item_id: ItemId | None
    reason: UnreadableReason
    detail: str


CatalogRecord = DescribedItem | RemovedItem | UnreadableItem


class CatalogReader:
    """Reads the records of the catalog by its mapping.

    decode: from the value's bytes to builtin objects, instead of `decode_payload`; raises ValueError as that does.
    """

    def __init__(self, mapping: CatalogMapping, decode: Callable[[bytes], Any] | None = None) -> None:
        self._direct = _direct if mapping.is_identity and decode is None else None
        self._decode = decode or decode_payload
        self._places = stated(OWN_PLACES, mapping.paths, mapping.constants)
        self._times = TimeReader(mapping.time_format, mapping.time_zone)
        self._values = {name: value_map(values) for name, values in mapping.values.items()}
        self._needs_available = "available" in mapping.paths

    def read(
        self, key: bytes | None, value: bytes | None, record_time_ms: int = 0, headers: Sequence[tuple[str, bytes]] = ()
    ) -> CatalogRecord:
        """Read one record; record_time_ms is its timestamp, Unix milliseconds."""
        if value is not None and (plain := self._plain(value)) is not None and plain.item_id.encode() == key:
            return DescribedItem(plain)
        try:
            key_id = _id_in_key(key)
        except ValueError as error:
            return UnreadableItem(None, "unreadable_key", str(error))
        if value is None:
            return RemovedItem(key_id)
        record = {
            "key": key_id,
            "timestamp": record_time_ms,
            "headers": {name: content.decode(errors="replace") for name, content in headers},
        }
        try:
            return self._read_value(value, key_id, record)
        except Exception as error:  # noqa: BLE001 - a bug, or a foreign decoder's: it closes one item and ends nothing
            return UnreadableItem(key_id, "internal_error", without_input(error))

    def read_line(self, line: bytes) -> DescribedItem | UnreadableItem:
        """Read a line of a file, which has no key: the item is the one that it names."""
        plain = self._plain(line)
        return self._read_value(line, None, {}) if plain is None else DescribedItem(plain)

    def _plain(self, value: bytes) -> CatalogItem | None:
        """Read a value that is an item as we write it; None where it may be one all the same."""
        if self._direct is None:
            return None
        try:
            item = self._direct(value)
        except (ValueError, RecursionError):
            return None
        if not _has_plain_times(item):
            return None
        ids = (item.item_id, *(item.locations or ()), *(() if item.variant_group is None else (item.variant_group,)))
        if item.sale is not None:
            ids += tuple(item.sale.locations or ())
        is_plain = all(utf8_bytes(text) <= MAX_ID_BYTES and is_there(text) for text in ids)
        is_plain = is_plain and all(text is None or is_there(text) for text in (item.title, item.category))
        return item if is_plain else None

    def _read_value(self, value: bytes, key_id: ItemId | None, record: _Roots) -> DescribedItem | UnreadableItem:
        item_id = key_id
        try:
            roots = self._roots(value, record)
            item_id = self._item_id(roots, key_id)
            availability = self._availability(roots)
        except _UnreadableError as error:
            return UnreadableItem(item_id, error.reason, str(error))
        return self._described(item_id, roots, availability)

    def _roots(self, value: bytes, record: _Roots) -> _Roots:
        """Return what paths can begin with."""
        try:
            whole = self._decode(value)
        except (ValueError, RecursionError) as error:
            raise _UnreadableError("undecodable", str(error)) from error
        found = whole[0] if isinstance(whole, list) and len(whole) == 1 else whole
        found = json_in(found) if isinstance(found, str) else found
        if not isinstance(found, dict):
            raise _UnreadableError("invalid_field", "the record is no JSON object of one item")
        return {"": found, OUTER: whole, RECORD: record}

    def _item_id(self, roots: _Roots, key_id: ItemId | None) -> ItemId:
        try:
            named = _id("item_id", self._value("item_id", roots))
        except ValueError as error:
            raise _UnreadableError("invalid_field", str(error)) from error
        if named is not None and key_id not in {None, named}:
            raise _UnreadableError("key_mismatch", f"the key names {key_id!r:.100}, the value {named!r:.100}")
        item_id = named or key_id
        if item_id is None:
            raise _UnreadableError("invalid_field", "item_id is missing")
        if named is None and all(self._value(name, roots) is None for name in FIELDS):
            raise _UnreadableError("invalid_field", "no field of an item is there; catalog.mapping can say where")
        return item_id

    def _availability(self, roots: _Roots) -> dict[str, Any]:
        """Read whether an item can be bought, from when on and until when."""
        found = self._value("available", roots)
        is_stated = found is not None or self._needs_available or "available" in roots[""]
        try:
            is_available = read_available(found) if is_stated else True
            begin_ms = read_begin("available_from", self._value("available_from", roots), self._times)
            end_ms = read_end("available_until", self._value("available_until", roots), self._times)
        except ValueError as error:
            raise _UnreadableError("unclear_availability", str(error)) from error
        if is_never(begin_ms, end_ms):
            raise _UnreadableError(
                "unclear_availability", f"available_until, {end_ms} in Unix ms, is not after available_from, {begin_ms}"
            )
        return {"available": is_available, "available_from": begin_ms, "available_until": end_ms}

    def _sale(self, roots: _Roots) -> tuple[Sale | None, RepairReason | None]:
        """Read an item's sale, and what it took; one of which anything cannot be read is none."""
        found = {name: self._value(name, roots) for name in SALE_FIELDS}
        if all(value is None for value in found.values()):
            own = roots[""].get("sale")  # a flag of the shop's under that name is no sale of ours
            return None, "unreadable" if own and isinstance(own, dict | list) else None
        price = read_price(found["sale_price"])
        if price.value is None:
            return None, price.repair or "unreadable"
        try:
            begin_ms = read_begin("sale_starts_at", found["sale_starts_at"], self._times)
            end_ms = read_end("sale_ends_at", found["sale_ends_at"], self._times)
        except ValueError:
            return None, "unreadable"
        if is_never(begin_ms, end_ms):
            return None, "out_of_range"
        places = Described() if found["sale_locations"] is None else read_locations(found["sale_locations"])
        sale = Sale(price=price.value, starts_at=begin_ms, ends_at=end_ms, locations=places.value)
        return sale, price.repair or places.repair

    def _described(self, item_id: ItemId, roots: _Roots, availability: Mapping[str, Any]) -> DescribedItem:
        fields: dict[str, Any] = {}
        repairs: dict[str, RepairReason] = {}
        for name, read in READERS.items():
            value = self._value(name, roots)
            if value is None:
                continue
            described = read(value)
            fields[name] = described.value
            if described.repair is not None:
                repairs[name] = described.repair
        sale, repair = self._sale(roots)
        if repair is not None:
            repairs["sale"] = repair
        return DescribedItem(CatalogItem(item_id=item_id, sale=sale, **availability, **fields), repairs)

    def _value(self, name: str, roots: _Roots) -> Any:
        """Find a field by its places, under the names that its value map gives; None where nothing is there."""
        place = self._places[name]
        found = next((value for path in place.paths if is_there(value := _value_at(roots, path))), None)
        if found is None:
            return place.constant
        renamed = self._values.get(name)
        if renamed is None:
            return found
        return [_renamed(one, renamed) for one in found] if isinstance(found, list) else _renamed(found, renamed)


class _UnreadableError(Exception):
    """Nobody knows what a record says."""

    def __init__(self, reason: UnreadableReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def _has_plain_times(item: CatalogItem) -> bool:
    """Return whether every moment is one as we write it, and no time is over before it begins."""
    begin, end, sale = item.available_from, item.available_until, item.sale
    if begin is None and end is None and sale is None:
        return True
    times = [(begin, end)] if sale is None else [(begin, end), (sale.starts_at, sale.ends_at)]
    moments = [moment_ms(moment) for time in times for moment in time if moment is not None]
    return all(EARLIEST_TIME_MS <= moment <= LATEST_TIME_MS for moment in moments) and not any(
        is_never(*time) for time in times
    )


def _id_in_key(key: bytes | None) -> ItemId:
    """Find the item in a record's key; raises ValueError where there is none."""
    text = unframed(key or b"").decode()
    if "\0" in text:
        raise ValueError("the record's key is binary data; let the producer send the item_id as text")
    found = _text_in(text) if text[:1] == '"' else json_in(text)
    if isinstance(found, dict) and isinstance(found.get("payload"), dict):  # Kafka Connect's schema beside it
        found = found["payload"]
    if isinstance(found, dict) and len(found) == 1:
        found = next(iter(found.values()))
    item_id = _id("the record's key", found)
    if item_id is None:
        raise ValueError("the record has no key; let the producer send the item_id as the key")
    return item_id


def _text_in(text: str) -> Any:
    try:
        return _decode_json(text)
    except ValueError:
        return text  # begins with a quote, and is no JSON


def _id(name: str, value: Any) -> ItemId | None:
    item_id = None if value is None else read_id(name, value)
    return None if item_id is None else ItemId(item_id)


def _value_at(roots: _Roots, path: JsonPath) -> Any:
    root = roots[path.root]
    if not path.lists:
        return look_up(root, path.parts[-1])
    lines = lines_of(root, path.lists, MAX_LOCATIONS + 1)
    return [value for line in lines if is_there(value := in_line(line, path))] or None


def _renamed(value: Any, rename: Callable[[str], str | None]) -> Any:
    text = text_of(value)
    ours = None if text is None else rename(text.strip())
    return value if ours is None else ours or None
