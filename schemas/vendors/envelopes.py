"""Envelopes around a shop's own content: the usual names in it are tried, and settings say the shop's own.

Sources: https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/kafka-protocol-binding.md,
https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events,
https://debezium.io/documentation/reference/stable/transformations/event-flattening.html
"""

from typing import Final

from schemas.events import EVENT_TYPES
from schemas.mapping import IGNORE, FieldMapping, Rule
from schemas.mapping_language import Paths

_LISTS: Final = ("items", "lines", "products", "order.items", "order.lines")


def _content(inside: str) -> dict[str, Paths]:
    """Return where a click's own content usually is; inside: what leads to it, with the dot, or nothing."""
    lists = [f"{inside}{name}[]" for name in _LISTS]
    alone = [f"{inside}{name}" for name in ("", "product.", "article.")]
    return {
        "item_id": (
            *(f"{inside}{name}" for name in ("item_id", "itemId", "product_id", "productId", "sku")),
            *(f"{one}id" for one in alone[1:]),
            *(f"{one}.{name}" for one in lists for name in ("item_id", "product_id", "productId", "sku", "article")),
        ),
        "price": (
            *(f"{one}.{name}" for one in lists for name in ("price", "unit_price", "unitPrice")),
            *(f"{one}price" for one in alone),
        ),
        "quantity": (*(f"{one}.{name}" for one in lists for name in ("quantity", "qty")), f"{inside}quantity"),
        "session_id": (f"{inside}session_id", f"{inside}sessionId"),
        "query": (f"{inside}query", f"{inside}search_term", f"{inside}searchTerm"),
        "location": (f"{inside}location", f"{inside}country"),
        "device": f"{inside}device",
        "consent": f"{inside}consent",
    }


def _visitor(inside: str) -> tuple[str, ...]:
    names = ("visitor_id", "visitorId", "anonymous_id", "anonymousId", "customer_id", "customerId", "user_id", "userId")
    return tuple(f"{inside}{name}" for name in names)


_USUAL_TYPES: Final = {
    "*product*list*": IGNORE,
    "*cart*viewed*": IGNORE,
    "*product*view*": "view",
    "*item*view*": "view",
    "*wishlist*removed*": IGNORE,
    "*removed*wishlist*": IGNORE,
    "*added*wishlist*": "favorite",
    "*wishlist*added*": "favorite",
    "*cart*added*": "cart",
    "*added*cart*": "cart",
    "*cart*removed*": "remove",
    "*removed*cart*": "remove",
    "*order*placed*": "purchase",
    "*order*completed*": "purchase",
    "*order*created*": "purchase",
    "*search*performed*": "search",
    "*search*submitted*": "search",
}
"""What the types of a shop's events usually have in them, in small letters or as `ProductViewed`."""

CLOUDEVENTS: Final = FieldMapping(
    paths=_content("data.")
    | {
        "visitor_id": (*_visitor("data."), "subject"),
        "event_type": "type",
        "event_time": ("time", "$record.timestamp"),
        "event_id": "id",
    },
    values={"event_type": {spelled: ours for name, ours in _USUAL_TYPES.items() for spelled in (name, name.title())}},
    rules=(  # binary mode: the attributes are headers, and the value is the content
        Rule(
            when={"$record.headers.ce_type": "*"},
            paths=_content("")
            | {
                "visitor_id": (*_visitor(""), "$record.headers.ce_subject"),
                "event_type": "$record.headers.ce_type",
                "event_time": ("$record.headers.ce_time", "$record.timestamp"),
                "event_id": "$record.headers.ce_id",
            },
        ),
    ),
)

_ROW: Final = ("after.", "")
"""A row as Debezium writes it, and flattened by `ExtractNewRecordState`."""


def _in_rows(field: str) -> tuple[str, ...]:
    found = [_content(row)[field] for row in _ROW]
    return tuple(path for paths in found for path in ((paths,) if isinstance(paths, str) else paths))


DEBEZIUM: Final = FieldMapping(
    events="payload",
    paths={
        "visitor_id": tuple(path for row in _ROW for path in _visitor(row)),
        "event_type": tuple(f"{row}{name}" for row in _ROW for name in ("event_type", "event_name", "type")),
        "event_time": (
            *(f"{row}{name}" for row in _ROW for name in ("event_time", "occurred_at", "created_at", "timestamp")),
            "source.ts_ms",
            "__source_ts_ms",
            "ts_ms",
        ),
        "item_id": tuple(f"{row}{name}" for row in _ROW for name in ("item_id", "product_id", "sku")),
        "price": tuple(f"{row}{name}" for row in _ROW for name in ("price", "unit_price")),
        "quantity": tuple(f"{row}{name}" for row in _ROW for name in ("quantity", "qty")),
        "event_id": tuple(f"{row}{name}" for row in _ROW for name in ("event_id", "id")),
        **{name: _in_rows(name) for name in ("session_id", "query", "location", "device", "consent")},
    },
    values={"event_type": {event_type: event_type for event_type in EVENT_TYPES}},
    rules=(  # rows that change or go, and what is no row: only a new one is something that happened
        Rule(when={"__deleted": "true"}, constants={"event_type": IGNORE}),
        *(
            Rule(when={path: value}, constants={"event_type": IGNORE})
            for path in ("op", "__op")
            for value in ("u", "d", "t", "m")
        ),
    ),
)
