"""A mapping for a shop's own records of its items, guessed from a sample, with the questions left open."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from agents.configuration.values import toml_text
from agents.doctor.field_likeness import squeezed
from schemas.catalog_mapping import FIELDS, OURS, CatalogMapping
from schemas.catalog_reader import CatalogReader, DescribedItem, RemovedItem, UnreadableItem, UnreadableReason
from schemas.field_values import DROPPED
from schemas.item_values import READERS, read_available, read_end
from schemas.mapping_language import Paths
from schemas.paths import text_of
from schemas.payload import decode_payload
from schemas.times import TimeReader
from streams.records import InputRecord

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "item_id": ("itemid", "productid", "sku", "skuid", "articleid", "id", "variantid", "gtin", "ean", "asin"),
    "available": (
        "available", "availability", "isavailable", "instock", "stock", "stockstatus", "quantity", "stockquantity",
        "inventoryquantity", "quantityavailable", "availablequantity", "inventory", "stocklevel", "qty", "pieces",
        "status",
    ),
    "title": ("title", "name", "productname", "itemname", "producttitle", "displayname", "label"),
    "category": (
        "category", "categorypath", "categoryname", "producttype", "googleproductcategory", "categories",
        "breadcrumb", "breadcrumbs", "department", "type",
    ),
    "price": ("price", "saleprice", "currentprice", "unitprice", "grossprice", "amount", "listprice", "msrp"),
    "locations": ("locations", "location", "stores", "storeids", "markets", "countries", "regions", "cities", "city"),
    "variant_group": (
        "variantgroup", "itemgroupid", "groupid", "parentid", "parentsku", "productgroup", "masterid", "modelid",
        "styleid",
    ),
    "available_from": ("availablefrom", "availabilitystarts", "availabilitydate", "onlinefrom"),
    "available_until": ("availableuntil", "availableto", "availabilityends", "expirationdate", "onlineto"),
    "sale_price": ("saleprice", "specialprice", "promotionalprice"),
    "sale_starts_at": ("salestartsat", "salestart", "dateonsalefromgmt", "dateonsalefrom", "specialfromdate"),
    "sale_ends_at": ("saleendsat", "saleend", "dateonsaletogmt", "dateonsaleto", "specialtodate"),
    "sale_locations": ("salelocations",),
}  # fmt: skip
"""Common names by field, the likeliest first, in lower case without separators; the fields in the order of choosing."""

_MOMENTS: Final = frozenset({"available_from", "available_until", "sale_starts_at", "sale_ends_at"})
_MOST: Final = 0.9
_MAX_PATHS: Final = 500
_MAX_DEPTH: Final = 6
_MAX_QUESTIONS: Final = 20
_BARE_NAME: Final = re.compile(r"[\w-]+( [\w-]+)*")

_Values = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class CatalogProposal:
    """A mapping and what it is worth.

    sampled: records but tombstones. readable: those that can then be read; available: items of these that are for sale.
    reasons: of the others. questions: for the person who takes it over.
    """

    mapping: CatalogMapping
    sampled: int
    readable: int
    available: int
    reasons: Counter[UnreadableReason] = field(default_factory=Counter)
    questions: Sequence[str] = ()

    def toml(self) -> str:
        """Spell the settings section, with shares and questions as comments."""
        return "\n".join([*self._comments(), *_toml(self.mapping), ""])

    def _comments(self) -> Iterator[str]:
        share = self.readable / max(1, self.sampled)
        yield f"# {self.readable:,} of {self.sampled:,} sampled records can be read with it ({share:.1%})"
        yield f"# {self.available:,} of those say that the item is available"
        for reason, count in self.reasons.most_common():
            yield f"# not readable, so not recommended: {count:,} {reason}"
        for question in self.questions:
            yield f"# ? {_printable(question)}"


def propose_catalog(records: Sequence[InputRecord]) -> CatalogProposal:
    """Guess the mapping of a sample."""
    objects = [(record, found) for record in records if (found := _decoded(record)) is not None]
    values = _values([found for _, found in objects])
    chosen = _chosen(values, _equal_to_key(objects))
    paths: dict[str, Paths] = {name: path for name, path in chosen.items() if path != name}
    mapping = CatalogMapping(paths=paths)
    questions = tuple(islice(_questions(values, chosen, len(objects)), _MAX_QUESTIONS))
    return _weighed(records, mapping, questions)


def _decoded(record: InputRecord) -> dict[str, Any] | None:
    try:
        found = decode_payload(record.value or b"")
    except (ValueError, RecursionError):
        return None
    found = found[0] if isinstance(found, list) and len(found) == 1 else found
    return found if isinstance(found, dict) else None


def _values(objects: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return what lies at each path, nulls and empty texts left out; what a path with `[]` finds is one list."""
    values: dict[str, list[Any]] = {}
    for one in objects:
        for path, value in _walk(one, "", 0):
            if path in values or len(values) < _MAX_PATHS:
                values.setdefault(path, []).append(value)
    return values


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if path and value not in (None, "", [], {}):
        yield path, value
    if depth == _MAX_DEPTH:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            if name and name.isprintable():
                step = name if _BARE_NAME.fullmatch(name) else json.dumps(name, ensure_ascii=False)
                yield from _walk(inner, f"{path}.{step}" if path else step, depth + 1)
    elif isinstance(value, list) and "[]" not in path:
        inside: dict[str, list[Any]] = {}
        for one in value:
            for inner_path, inner in _walk(one, f"{path}[]", depth + 1) if isinstance(one, dict) else ():
                if text_of(inner) is not None:
                    inside.setdefault(inner_path, []).append(inner)
        yield from inside.items()


def _equal_to_key(objects: Sequence[tuple[InputRecord, dict[str, Any]]]) -> set[str]:
    """Find the paths that hold the item of the record's key."""
    equal = Counter[str]()
    for record, found in objects:
        key = CatalogReader(OURS).read(record.key, None)
        if isinstance(key, RemovedItem):
            equal.update(path for path, value in _walk(found, "", 0) if text_of(value) == key.item_id)
    return {path for path, count in equal.items() if count >= _MOST * len(objects)}


def _chosen(values: _Values, key_paths: set[str]) -> dict[str, str]:
    """Return each field the path that looks most like it, no path to two fields; the item is what the key names."""
    chosen: dict[str, str] = {}
    for name in FIELDS:
        scores = {
            path: _likeness(name, path)
            for path, found in values.items()
            if path not in chosen.values() and (path in key_paths if name == "item_id" else _can_be(name, found))
        }
        best = max(scores, key=lambda path: (scores[path], len(values[path]), -len(path)), default=None)
        if best is not None and (scores[best] or name == "item_id"):
            chosen[name] = best
    return chosen


def _likeness(name: str, path: str) -> float:
    """Return 0 (no likeness) to 1 (the commonest name): of the path's last part, or of its last two as one word."""
    parts = [squeezed(part) for part in path.split(".")]
    names = NAMES[name]
    return max((1 - names.index(word) / 100 for word in {parts[-1], "".join(parts[-2:])} if word in names), default=0)


def _can_be(name: str, found: Sequence[Any]) -> bool:
    """Return whether most values can be read as the field; words that are neither yes nor no are asked about."""
    if name == "available":
        return any(_is_clear(value) for value in found) or _likeness_of_words(found)
    return sum(_is_readable(name, value) for value in found) >= _MOST * len(found)


def _is_readable(name: str, value: Any) -> bool:
    if name in _MOMENTS:
        try:
            return read_end(name, value, TimeReader()) is not None
        except ValueError:
            return False
    read = READERS[name.removeprefix("sale_")]
    return read(value).repair not in DROPPED


def _likeness_of_words(found: Sequence[Any]) -> bool:
    words = {text_of(value) for value in found}
    return None not in words and len(words) <= _MAX_QUESTIONS


def _is_clear(value: Any) -> bool:
    try:
        read_available(value)
    except ValueError:
        return False
    return True


def _questions(values: _Values, chosen: Mapping[str, str], total: int) -> Iterator[str]:
    if not total:
        return
    if "item_id" not in chosen:
        yield "no path holds what the record's key names: does each record have its item's id as the key?"
    if "available" not in chosen:
        yield "no path looks like available: as it is, every item counts as available"
        return
    path, found = chosen["available"], values[chosen["available"]]
    if len(found) < total and path != "available":
        yield (
            f"{path} is not there in {1 - len(found) / total:.0%} of the records: these items are not recommended, "
            "unless catalog.mapping.constants.available says otherwise"
        )
    unclear = Counter(text_of(value) or type(value).__name__ for value in found if not _is_clear(value))
    for word, count in unclear.most_common():
        spelled = json.dumps(word, ensure_ascii=False)
        yield f"{path} {spelled} ({count / total:.0%}): true or false? As it is, unreadable"


def _weighed(records: Sequence[InputRecord], mapping: CatalogMapping, questions: Sequence[str]) -> CatalogProposal:
    reader = CatalogReader(mapping)
    read = [reader.read(one.key, one.value, one.time_ms, one.headers) for one in records if one.value is not None]
    described = [one.item for one in read if isinstance(one, DescribedItem)]
    reasons = Counter(one.reason for one in read if isinstance(one, UnreadableItem))
    available = sum(item.available for item in described)
    return CatalogProposal(mapping, len(read), len(described), available, reasons, questions)


def _toml(mapping: CatalogMapping) -> Iterator[str]:
    if not mapping.paths:
        yield "# the records are read as they are: nothing to set"
        return
    yield "[catalog.mapping.paths]"
    yield from (f"{name} = {toml_text(path)}" for name, path in mapping.paths.items())


def _printable(text: str) -> str:
    """Return text on one line, without characters that a terminal obeys."""
    return "".join(one if one.isprintable() else " " for one in text)
