"""How much a path looks like a field of a click: by its name, and by what its values can be."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from difflib import SequenceMatcher
from functools import partial
from typing import Any, Final

from agents.doctor.json_facts import PathFacts
from schemas.events import MAX_ID_LENGTH, MAX_PRICE, EventType
from schemas.times import TimeFormat

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "visitor_id": (
        "visitorid", "userpseudoid", "anonymousid", "clientid", "shopperid", "visitor", "customerid", "userid",
        "cookieid", "uid", "distinctid", "deviceid", "user", "fullvisitorid",
    ),
    "event_type": ("eventtype", "eventname", "event", "action", "activity", "interaction", "type", "verb", "name"),
    "event_time": (
        "eventtime", "eventtimestamp", "occurredat", "originaltimestamp", "timestamp", "ts", "time", "datetime",
        "createdat", "sentat", "at", "date",
    ),
    "item_id": (
        "itemid", "productid", "sku", "skuid", "articleid", "product", "item", "article", "variantid", "contentid",
        "asin", "ean", "gtin",
    ),
    "session_id": ("sessionid", "gasessionid", "usersession", "session", "visitid", "sid"),
    "event_id": ("eventid", "messageid", "insertid", "eventuuid", "requestid", "uuid", "id"),
    "price": ("price", "unitprice", "itemprice", "amount", "value"),
    "quantity": ("quantity", "qty", "pieces", "units"),
    "query": ("query", "searchterm", "searchquery", "searchtext", "keyword", "keywords", "q"),
    "location": ("location", "store", "storeid", "country", "city", "region", "market"),
    "device": ("device", "devicecategory", "devicetype", "platform"),
    "consent": ("consent", "trackingconsent", "consentgiven", "analyticsconsent"),
}  # fmt: skip
"""Common names by field, the likeliest first, in lower case without separators; the fields in the order of choosing."""

EVENT_WORDS: Final[Mapping[EventType, tuple[str, ...]]] = {
    "session_end": ("sessionend", "sessionended", "endsession", "logout", "sessionclosed"),
    "remove": ("removefromcart", "productremoved", "removecart", "cartremove", "removefrombasket", "remove"),
    "favorite": ("addtowishlist", "productaddedtowishlist", "wishlist", "favorite", "favourite", "like"),
    "purchase": ("purchase", "order", "ordercompleted", "orderplaced", "transaction", "buy", "bought", "sale"),
    "cart": ("addtocart", "productadded", "cartadd", "addtobasket", "basketadd", "cart", "addcart", "basket"),
    "search": ("search", "productssearched", "viewsearchresults", "searched", "query"),
    "view": (
        "view", "productview", "viewitem", "productviewed", "viewproduct", "itemview", "detail", "viewdetail",
        "click", "clicks", "detailview", "productdetail",
    ),
}  # fmt: skip
"""What shops call our event types, in lower case without separators."""

_EPOCH_UNITS: Final[Mapping[TimeFormat, float]] = {"unix_s": 1, "unix_ms": 1e3, "unix_us": 1e6}
_EARLIEST_SECONDS, _LATEST_SECONDS = 788_918_400, 4_102_444_800  # from 1995 to 2100
_MOST: Final = 0.9
_MAX_EVENT_TYPES: Final = 100
_LEAST_ALIKE: Final = 0.8


def squeezed(name: str) -> str:
    """Give a name in lower case without separators: addToCart, add_to_cart and "Add to Cart" are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def name_likeness(field: str, path: str) -> float:
    """Give 0 (no likeness) to 1 (the commonest name): of the path's last part, or of its last two as one word."""
    parts = [squeezed(part) for part in path.split(".")]
    leaf, pair = parts[-1], "".join(parts[-2:])
    names = NAMES[field]
    exact = [1 - 0.3 * names.index(word) / len(names) for word in {leaf, pair} if word in names]
    if exact:
        return max(exact)
    alike = max(SequenceMatcher(None, word, name).ratio() for word in (leaf, pair) for name in names[:4])
    return alike * 0.7 if alike >= _LEAST_ALIKE else 0.0


def can_be(field: str, found: PathFacts) -> bool:
    """Tell whether the values at a path can be the field's."""
    return _SHAPES[field](found)


def time_format(found: PathFacts) -> TimeFormat | None:
    """Name the format in which most values at a path are times of our days; None where they are none."""
    values = list(found.values)
    for unit, per_second in _EPOCH_UNITS.items():
        if _share(values, partial(_is_epoch, per_second=per_second)) >= _MOST:
            return unit
    return "rfc3339" if _share(values, _is_rfc3339) >= _MOST else None


def event_type_of(value: str) -> EventType | None:
    """Give the event type of ours that a shop's word means."""
    word = squeezed(value)
    return next((kind for kind, words in EVENT_WORDS.items() if word in words), None)


def _is_id(found: PathFacts) -> bool:
    is_text = found.share_of(str, int) >= _MOST
    return is_text and all(0 < len(str(value)) <= MAX_ID_LENGTH for value in found.values) and not time_format(found)


def _is_unique_id(found: PathFacts) -> bool:
    return _is_id(found) and found.distinct_share >= 0.97  # a few are resent


def _is_event_type(found: PathFacts) -> bool:
    if found.share_of(str) < _MOST or len(found.values) > _MAX_EVENT_TYPES:
        return False
    return any(event_type_of(value) for value in found.values if isinstance(value, str))


def _is_label(found: PathFacts) -> bool:
    return _is_id(found) and (found.distinct_share < 0.5 or found.present < 10)


def _is_number(found: PathFacts) -> bool:
    return _share(list(found.values), lambda value: 0 <= _float(value) <= MAX_PRICE) >= _MOST


def _is_count(found: PathFacts) -> bool:
    return _is_number(found) and all(_float(value) >= 1 and _float(value).is_integer() for value in found.values)


def _is_text(found: PathFacts) -> bool:
    return found.share_of(str) >= _MOST


def _is_boolean(found: PathFacts) -> bool:
    return all(str(value).lower() in {"true", "false"} for value in found.values)


_SHAPES: Final[Mapping[str, Callable[[PathFacts], bool]]] = {
    "visitor_id": _is_id,
    "event_type": _is_event_type,
    "event_time": lambda found: time_format(found) is not None,
    "item_id": _is_id,
    "session_id": _is_id,
    "event_id": _is_unique_id,
    "price": _is_number,
    "quantity": _is_count,
    "query": _is_text,
    "location": _is_label,
    "device": _is_label,
    "consent": _is_boolean,
}


def _share(values: list[Any], holds: Callable[[Any], bool]) -> float:
    return sum(map(holds, values)) / len(values)


def _float(value: Any) -> float:
    try:
        return float("nan") if isinstance(value, bool) else float(value)
    except (ValueError, OverflowError):
        return float("nan")


def _is_epoch(value: Any, per_second: float) -> bool:
    return _EARLIEST_SECONDS <= _float(value) / per_second <= _LATEST_SECONDS


def _is_rfc3339(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
