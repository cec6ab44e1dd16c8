"""What a field of a shop's item can be, as `field_values` says it for a click's; the reasons of repairs are the same.

Only its id, its availability and the moments of that can refuse an item: what cannot be read there raises ValueError.

| field | read besides what the schema names |
|---|---|
| `available` | pieces (0 and less: sold out), yes, no, words of schema.org's ItemAvailability; a list by its best |
| `title`, `category` | a number; an object's name, or its first language; lists, joined by blanks, or by ` > ` |
| `price` | as on a click |
| `locations` | one text or number; names in objects. What cannot be read is no place, so the item is not sold there |
| `variant_group` | a number; the hash of what is too long |
| `available_from`, `available_until` | as the time of a click; what is no moment refuses the item |
| `sale` | its price as a price, its moments as those; what cannot be read, or ends before it begins, is no sale |
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.field_values import Described, read_label, read_own_id, read_price, read_text
from schemas.paths import text_of
from schemas.records import MAX_CATEGORY_LENGTH, MAX_LOCATIONS, MAX_TITLE_LENGTH
from schemas.times import EARLIEST_TIME_MS, LATEST_TIME_MS, TimeReader

_NAMES: Final = ("name", "title", "label", "value", "id")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}([-_][A-Za-z]{2,4})?")
_SCHEMA_ORG: Final = re.compile(r"(https?://(www\.)?schema\.org/|schema:)", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
_FOR_SALE: Final = frozenset(
    {"true", "t", "yes", "y", "on", "available", "instock", "lowstock", "limitedavailability", "onlineonly"}
    | {"preorder", "presale", "backorder", "madetoorder"}
)
"""In lower case without signs. What can be ordered ahead is for sale; `InStoreOnly` is neither."""
_NOT_FOR_SALE: Final = frozenset(
    {"false", "f", "no", "n", "off", "unavailable", "notavailable", "outofstock", "notinstock", "nostock", "soldout"}
    | {"discontinued", "reserved"}
)


def read_available(value: Any) -> bool:
    """Read whether an item can be bought, None = nothing was there; raises ValueError where that is not clear."""
    if value is None:
        raise ValueError("available is empty or not there; catalog.mapping.constants.available can say what that means")
    if not isinstance(value, list):
        return _is_for_sale(value)
    if not value:
        raise ValueError("available is an empty list")
    return any([_is_for_sale(one) for one in value])  # noqa: C419 - each of them must be readable


def read_begin(name: str, value: Any, times: TimeReader) -> int | None:
    """Read from when on something is so, Unix milliseconds, None = always; raises ValueError where that is no moment.

    What is from before there were shops is always.
    """
    begin_ms = None if value is None else times.ms(value, name)
    if begin_ms is not None and begin_ms > LATEST_TIME_MS:
        raise ValueError(f"{name} {value!r:.100} is beyond the year 9999")
    return None if begin_ms is None or begin_ms < EARLIEST_TIME_MS else begin_ms


def read_end(name: str, value: Any, times: TimeReader) -> int | None:
    """Read until when something is so, Unix milliseconds, None = no end; raises ValueError where that is no moment.

    A shop that writes 0 may mean either, so what is from before there were shops is no moment.
    """
    end_ms = None if value is None else times.ms(value, name)
    if end_ms is not None and not EARLIEST_TIME_MS <= end_ms <= LATEST_TIME_MS:
        raise ValueError(f"{name} {value!r:.100} is not between the years 1995 and 9999")
    return end_ms


def read_title(value: Any) -> Described:
    """Read a title."""
    return _read_name(value, MAX_TITLE_LENGTH, " ")


def read_category(value: Any) -> Described:
    """Read a category; a list is the way to it, the widest first."""
    return _read_name(value, MAX_CATEGORY_LENGTH, " > ")


def read_locations(value: Any) -> Described:
    """Read where an item is sold."""
    listed = value if isinstance(value, list) else [value]
    names = [_name_in(one) for one in listed]
    labels = [label for name in names if name is not None and (label := read_label(name).value)]
    if None in names:
        return Described(labels[:MAX_LOCATIONS], "unreadable")
    if len(labels) > MAX_LOCATIONS:
        return Described(labels[:MAX_LOCATIONS], "cut")
    return Described(labels, None if listed is value else "reformatted")


READERS: Final[Mapping[str, Callable[[Any], Described]]] = {
    "title": read_title,
    "category": read_category,
    "price": read_price,
    "locations": read_locations,
    "variant_group": read_own_id,
}
"""The describing fields of an item."""


def _is_for_sale(value: Any) -> bool:
    text = (text_of(value) or "").strip()
    if isinstance(value, float) and not math.isfinite(value):
        text = ""
    if _NUMBER.fullmatch(text):
        return float(text) > 0
    word = re.sub(r"[\W_]", "", _SCHEMA_ORG.sub("", text, count=1).lower())
    if word in _FOR_SALE or word in _NOT_FOR_SALE:
        return word in _FOR_SALE
    found = repr(text[:100]) if text else f"a {type(value).__name__}"
    raise ValueError(
        f"available is {found}, which is neither yes nor no; catalog.mapping.values.available can say which"
    )


def _read_name(value: Any, at_most: int, between: str) -> Described:
    if not isinstance(value, list | dict):
        return read_text(value, at_most)
    listed = value if isinstance(value, list) else [value]
    names = [name for one in listed if (name := _name_in(one))]
    if not names:
        return Described(repair="unreadable" if listed else None)
    whole = read_text(between.join(names), at_most)
    return Described(whole.value, whole.repair or ("joined" if len(names) > 1 else "reformatted"))


def _name_in(value: Any) -> str | None:
    """Find the name in a text, a number, or an object that has one; None where there is none."""
    if isinstance(value, dict):
        named = next((value[name] for name in _NAMES if name in value), None)
        if named is None and value and all(_LANGUAGE.fullmatch(str(name)) for name in value):
            named = next(iter(value.values()))
        value = named
    return None if isinstance(value, bool) else text_of(value)
