"""How much a path looks like a field of a click: by its name, and by what its values can be."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any, Final

from agents.doctor.json_facts import PathFacts
from schemas.events import EVENT_TYPES, EventType
from schemas.field_values import READERS, read_consent, read_id
from schemas.paths import JsonPath, Select, parse_path, text_of
from schemas.times import EARLIEST_TIME_MS, TimeFormat, TimeReader

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "visitor_id": (
        "visitorid", "userpseudoid", "anonymousid", "clientid", "shopperid", "visitor", "customerid", "userid",
        "cookieid", "uid", "distinctid", "deviceid", "user", "fullvisitorid", "customer", "memberid", "accountid",
    ),
    "event_type": (
        "eventtype", "eventname", "event", "action", "activity", "interaction", "behavior", "behaviour", "type", "verb",
        "name",
    ),
    "event_time": (
        "eventtime", "eventtimestamp", "occurredat", "originaltimestamp", "timestamp", "ts", "time", "datetime",
        "createdat", "sentat", "at", "date", "derivedtstamp", "tstamp", "collectortstamp",
    ),
    "item_id": (
        "itemid", "productid", "sku", "skuid", "articleid", "product", "item", "article", "variantid", "contentid",
        "asin", "ean", "gtin", "productvariantid", "productsku", "itemsku",
    ),
    "session_id": ("sessionid", "gasessionid", "usersession", "session", "visitid", "sid"),
    "event_id": ("eventid", "messageid", "insertid", "eventuuid", "requestid", "uuid", "id"),
    "price": ("price", "unitprice", "itemprice", "amount", "value"),
    "quantity": ("quantity", "qty", "pieces", "units", "count"),
    "query": ("query", "searchterm", "searchquery", "searchtext", "keyword", "keywords", "q"),
    "location": ("location", "store", "storeid", "country", "city", "region", "market"),
    "device": ("device", "devicecategory", "devicetype", "platform"),
    "consent": (
        "consent", "trackingconsent", "consentgiven", "analyticsconsent", "consentanalytics", "consenttracking",
        "consentpersonalization", "hasconsent", "gdprconsent", "analyticsstorage",
    ),
}  # fmt: skip
"""Common names by field, the likeliest first, in lower case without separators; the fields in the order of choosing."""

EVENT_WORDS: Final[Mapping[EventType, tuple[str, ...]]] = {
    "identify": ("identify", "alias"),
    "session_end": ("sessionend", "sessionended", "endsession", "logout", "sessionclosed"),
    "remove": ("removefromcart", "productremoved", "removecart", "cartremove", "removefrombasket", "remove"),
    "favorite": ("addtowishlist", "productaddedtowishlist", "wishlist", "favorite", "favourite", "like"),
    "purchase": (
        "purchase", "order", "ordercompleted", "orderplaced", "transaction", "buy", "bought", "sale", "purchased",
        "ordercreated", "orderpaid", "ordersubmitted", "checkoutcompleted", "orderconfirmed",
    ),
    "cart": (
        "addtocart", "productadded", "cartadd", "addtobasket", "basketadd", "cart", "addcart", "basket", "addedtocart",
        "productaddedtocart", "itemadded",
    ),
    "search": ("search", "productssearched", "viewsearchresults", "searched", "query"),
    "view": (
        "view", "productview", "viewitem", "productviewed", "viewproduct", "itemview", "detail", "viewdetail",
        "click", "clicks", "detailview", "productdetail", "viewed", "itemviewed", "productdetailview",
        "productpageview",
    ),
}  # fmt: skip
"""What shops call our event types, in lower case without separators."""

_PERSONAL: Final = frozenset({
    "email", "emailaddress", "mail", "useremail", "customeremail", "phone", "phonenumber", "mobilephone", "telephone",
    "tel", "street", "streetaddress", "address", "address1", "address2", "firstname", "lastname", "fullname", "surname",
    "username", "customername", "addressname", "ip", "ipaddress", "birthday", "birthdate", "dateofbirth",
})  # fmt: skip
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.\w+")
_PHONE: Final = re.compile(r"\+\d[\d ()/.-]{6,}|\(?0\d+[ )/-][\d ()/-]{4,}")
_ADDRESS: Final = re.compile(r"(https?:)?/|www\.|[?#]|\S+\.(html?|php|aspx)\b|Mozilla/")
"""How addresses of pages begin, and user agents: neither is a place, a device class or a search text."""
_NO_LABELS: Final = frozenset({
    "href", "url", "uri", "path", "pathname", "host", "hostname", "referrer", "lat", "latitude", "lon", "lng",
    "longitude",
})  # fmt: skip
"""Parts of an address on the web, and of a point on a map."""
_AROUND_EVENTS: Final = frozenset({"", "event", "message", "meta", "metadata", "header", "data", "payload", "envelope"})
_PATTERNS: Final = (
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M", "%Y/%m/%d %H:%M:%S", "%Y%m%d%H%M%S",
)  # fmt: skip
"""Times that `auto` does not read; where days and months cannot be told apart, the day is first."""
_LATEST_MS: Final = 4_102_444_800_000  # 2100
_MOST: Final = 0.9
_A_FEW: Final = 0.05
_HALF: Final = 0.5
_UNIQUE: Final = 0.97  # a few are resent
_MAX_EVENT_TYPES: Final = 100
_LEAST_ALIKE: Final = 0.8


def squeezed(name: str) -> str:
    """Return a name in lower case without separators: addToCart, add_to_cart and "Add to Cart" are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


@lru_cache(50_000)
def name_likeness(field: str, path: str) -> float:
    """Return 0 (no likeness) to 1 (the commonest name): of the path's last part, or of its last two as one word."""
    parts = _names(path)
    leaf, pair = parts[-1], "".join(parts[-2:])
    names = NAMES[field]
    if leaf == "id" and field == "event_id" and "".join(parts[-2:-1]) not in _AROUND_EVENTS:
        leaf = pair  # the id of something else
    exact = [1 - 0.3 * names.index(word) / len(names) for word in {leaf, pair} if word in names]
    if exact:
        return max(exact)
    if any(leaf in others or pair in others for other, others in NAMES.items() if other != field):
        return 0.0  # it has the name of another field
    alike = max(SequenceMatcher(None, word, name).ratio() for word in (leaf, pair) for name in names[:4])
    return alike * 0.7 if alike >= _LEAST_ALIKE else 0.0


def _names(path: str) -> list[str]:
    """Return the names in a path, squeezed; a list's in the singular, of names and values the name."""
    names: list[str] = []
    parts = parse_path(path).parts
    for number, part in enumerate(parts):
        for step in part:
            if isinstance(step, Select):
                return [*names, squeezed(step.value)]
            names += [squeezed(step)] if isinstance(step, str) else []
        if number < len(parts) - 1 and names:
            names[-1] = names[-1].removesuffix("s")
    return names or [""]


def lists_of(path: str) -> JsonPath | None:
    """Return the parsed path where it goes through lists."""
    found = parse_path(path)
    return found if found.lists else None


def is_personal(found: PathFacts) -> bool:
    """Return whether a path names who somebody is: an e-mail address, a phone, a street, a name."""
    names = _names(found.path)
    if not _PERSONAL.isdisjoint({names[-1], "".join(names[-2:])}):
        return True
    return _share(found, lambda value: isinstance(value, str) and bool(_names_somebody(value.strip()))) > _A_FEW


def _names_somebody(text: str) -> re.Match[str] | None:
    return _EMAIL.fullmatch(text) or _PHONE.fullmatch(text)


def can_be(field: str, found: PathFacts) -> bool:
    """Return whether the values at a path can be the field's."""
    return _SHAPES[field](found)


def time_format(found: PathFacts) -> TimeFormat | None:
    """Return the format in which most values at a path are times of our days; None where they are none."""
    for name in ("auto", *_PATTERNS):
        reader = TimeReader(name)
        if _share(found, lambda value, reader=reader: _is_time(value, reader)) >= _MOST:  # type: ignore[misc]
            return name
    return None


def names_no_offset(values: Iterable[Any]) -> bool:
    """Return whether some of the times are local ones."""
    return any(isinstance(value, str) and _is_local(value) for value in values)


def event_type_of(value: Any) -> EventType | None:
    """Return the event type of ours that a shop's word means."""
    if not isinstance(value, str):
        return None
    spelled = {squeezed(value), *_qualified(value)}
    return next((kind for kind, words in EVENT_WORDS.items() if not spelled.isdisjoint(words)), None)


def _qualified(value: str) -> Iterator[str]:
    """Return the last two and three parts of a name like `com.example.product.viewed.v1`, its version left out."""
    parts = [squeezed(part) for part in re.split(r"[.:/]", value)]
    parts = parts[:-1] if re.fullmatch(r"v?\d+", parts[-1]) else parts
    if len(parts) > 2:
        yield from ("".join(parts[-2:]), "".join(parts[-3:]))


def is_known_type(value: Any) -> bool:
    """Return whether a shop's word is an event type of ours, or means one."""
    return value in EVENT_TYPES or event_type_of(value) is not None


def readable_consent(value: Any) -> bool:
    """Return whether a value is a yes or a no."""
    try:
        return read_consent(value) is not None
    except ValueError:
        return False


def _is_id(found: PathFacts) -> bool:
    return _share(found, _is_id_value) >= _MOST


def _is_id_value(value: Any) -> bool:
    try:
        return bool(read_id("id", value)) and not (isinstance(value, str) and _ADDRESS.match(value))
    except ValueError:
        return False


def _is_unique_id(found: PathFacts) -> bool:
    return _is_id(found) and found.distinct_share >= _UNIQUE


def _is_event_type(found: PathFacts) -> bool:
    return len(found.values) <= _MAX_EVENT_TYPES and any(map(is_known_type, found.values))


def _is_label(found: PathFacts) -> bool:
    if _names(found.path)[-1] in _NO_LABELS or (found.distinct_share >= _HALF and found.present >= 10):
        return False
    return _is_id(found) and _share(found, _is_address) <= _A_FEW


def _is_described(field: str) -> Callable[[PathFacts], bool]:
    return lambda found: _share(found, lambda value: READERS[field](value).value is not None) >= _MOST


def _is_text(found: PathFacts) -> bool:
    return found.share_of(str) >= _MOST and _share(found, _is_address) <= _A_FEW


def _is_consent(found: PathFacts) -> bool:
    return _share(found, readable_consent) > _A_FEW  # odd ones are asked about: nobody's no may get lost


_SHAPES: Final[Mapping[str, Callable[[PathFacts], bool]]] = {
    "visitor_id": _is_id,
    "event_type": _is_event_type,
    "event_time": lambda found: time_format(found) is not None,
    "item_id": _is_id,
    "session_id": _is_id,
    "event_id": _is_unique_id,
    "price": _is_described("price"),
    "quantity": _is_described("quantity"),
    "query": _is_text,
    "location": _is_label,
    "device": _is_label,
    "consent": _is_consent,
}


def _share(found: PathFacts, holds: Callable[[Any], bool]) -> float:
    """Return the share of the counted values for which something holds."""
    return sum(count for value, count in found.values.items() if holds(value)) / found.values.total()


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and _ADDRESS.match(value.strip()) is not None


def _is_time(value: Any, reader: TimeReader) -> bool:
    try:
        return EARLIEST_TIME_MS <= reader.ms(value) <= _LATEST_MS
    except ValueError:
        return False


def _is_local(text: str) -> bool:
    try:
        return text_of(text) is not None and datetime.fromisoformat(text.strip()).tzinfo is None
    except ValueError:
        return any(_is_time(text, TimeReader(pattern)) for pattern in _PATTERNS)
