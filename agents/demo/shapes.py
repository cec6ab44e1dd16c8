"""Clicks as a vendor writes them: lists of names and values, orders of several lines, pages between.

What a shape has no word for is not written: the end of a session, a resend where events have no id.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

from agents.demo.source import FedEvent
from agents.shop.truth import Truth
from schemas import wire
from schemas.events import ClickEvent, EventType, from_unix_ms
from schemas.ids import VisitorId

Shape = Literal["ga4", "segment", "snowplow"]
SHAPES: Final[tuple[Shape, ...]] = get_args(Shape)

_ORDER_MS: Final = 2_000
"""Purchases of one visitor within this time of the source's clock are one order."""
_EVENTS_A_PAGE: Final = 3
_EVENTS_A_LIST: Final = 7
_LISTED: Final = 4

_Act = tuple[ClickEvent, ...]
_Object = dict[str, Any]
_encode = msgspec.json.Encoder().encode


class FedRecord(NamedTuple):
    """One record to feed; `due_ms` is its time on the source's own clock, Unix milliseconds.

    clicks: what it holds, () = a page or a list, which is not for us. truth: that of the last click.
    """

    key: bytes
    value: bytes
    clicks: _Act
    due_ms: int
    truth: Truth | None


def as_records(events: Iterable[FedEvent], shape: Shape | None = None) -> Iterator[FedRecord]:
    """Write events as a shop does; None = as our own clicks, one a record."""
    if shape is None:
        return (
            FedRecord(event.click.visitor_id.encode(), wire.encode(event.click), (event.click,), *event[1:])
            for event in events
        )
    return _shaped(events, _VENDORS[shape])


@dataclass(frozen=True, slots=True)
class _Vendor:
    """How a vendor writes an act, and what is not for us: a page, a list of items that was shown."""

    names: Mapping[EventType, str]
    has_event_ids: bool
    act: Callable[[str, _Act, str | None], _Object]
    page: Callable[[ClickEvent], _Object]
    shown: Callable[[ClickEvent, list[str]], _Object]


def _shaped(events: Iterable[FedEvent], vendor: _Vendor) -> Iterator[FedRecord]:
    customers: set[VisitorId] = set()
    items: dict[str, None] = {}
    for number, (clicks, due_ms, truth) in enumerate(_acts(events, vendor)):
        click = clicks[0]
        key = click.visitor_id.encode()
        if click.event_type in {"cart", "purchase"}:  # who puts something into the cart has logged in before
            customers.add(click.visitor_id)
        if number % _EVENTS_A_PAGE == 0:
            yield FedRecord(key, _encode(vendor.page(click)), (), due_ms, None)
        if number % _EVENTS_A_LIST == 0:
            yield FedRecord(key, _encode(vendor.shown(click, list(islice(reversed(items), _LISTED)))), (), due_ms, None)
        customer = f"customer-{click.visitor_id}" if click.visitor_id in customers else None
        value = vendor.act(vendor.names[click.event_type], clicks, customer)
        yield FedRecord(key, _encode(value), clicks, due_ms, truth)
        if click.item_id is not None:
            items.pop(click.item_id, None)
            items[click.item_id] = None


def _acts(events: Iterable[FedEvent], vendor: _Vendor) -> Iterator[tuple[_Act, int, Truth | None]]:
    """Make one act of the purchases of an order, and drop what the vendor has no word for."""
    orders: dict[VisitorId, list[FedEvent]] = {}
    due_ms = 0
    for event in events:
        click, due_ms, truth = event
        closed = [who for who, lines in orders.items() if lines[-1].due_ms + _ORDER_MS < due_ms]
        if click.event_type != "purchase" and click.visitor_id in orders:
            closed.append(click.visitor_id)
        for who in dict.fromkeys(closed):
            yield _order(orders.pop(who), due_ms)
        is_resent = truth is not None and truth.is_duplicate
        if click.event_type not in vendor.names or (
            is_resent and (click.event_type == "purchase" or not vendor.has_event_ids)
        ):
            continue
        if click.event_type == "purchase":
            orders.setdefault(click.visitor_id, []).append(event)
        else:
            yield (click,), due_ms, truth
    for lines in orders.values():
        yield _order(lines, due_ms)


def _order(lines: list[FedEvent], due_ms: int) -> tuple[_Act, int, Truth | None]:
    """Let all lines have what an order has once."""
    first = lines[0].click
    act = tuple(
        msgspec.structs.replace(line.click, event_id=first.event_id, event_time=first.event_time) for line in lines
    )
    return act, due_ms, lines[-1].truth


def _iso(click: ClickEvent) -> str:
    return from_unix_ms(click.event_time_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _present(**fields: Any) -> _Object:
    return {name: value for name, value in fields.items() if value is not None}


def _ga4(name: str, act: _Act, customer: str | None) -> _Object:
    click = act[0]
    params = [] if click.query is None else [{"key": "search_term", "value": {"string_value": click.query}}]
    items = [_present(item_id=line.item_id, price=line.price, quantity=line.quantity) for line in act if line.item_id]
    return {
        "event_timestamp": str(click.event_time_ms * 1000),
        "event_name": name,
        "user_pseudo_id": click.visitor_id,
        "user_id": customer,
        "event_params": [{"key": "engagement_time_msec", "value": {"int_value": "1"}}, *params],
        "device": {"category": click.device},
        "geo": {"country": click.location},
        "ecommerce": {"transaction_id": click.event_id if name == "purchase" else "(not set)"},
        "items": items,
    }


def _ga4_page(click: ClickEvent) -> _Object:
    return _ga4("page_view", (msgspec.structs.replace(click, item_id=None, query=None),), None)


def _ga4_list(click: ClickEvent, items: list[str]) -> _Object:
    return _ga4_page(click) | {"event_name": "view_item_list", "items": [{"item_id": item} for item in items]}


def _segment(name: str, act: _Act, customer: str | None) -> _Object:
    click = act[0]
    lines = [_present(product_id=line.item_id, price=line.price, quantity=line.quantity) for line in act]
    about = {"order_id": click.event_id, "products": lines} if click.event_type == "purchase" else lines[0]
    return {
        "type": "track",
        "messageId": click.event_id,
        "anonymousId": click.visitor_id,
        "userId": customer,
        "event": name,
        "timestamp": _iso(click),
        "context": {"device": {"type": click.device}, "location": {"country": click.location}},
        "properties": about | _present(query=click.query),
    }


def _segment_page(click: ClickEvent) -> _Object:
    page = {"type": "page", "messageId": f"page-{click.event_id}", "name": "Home", "properties": {"path": "/"}}
    return page | {"anonymousId": click.visitor_id, "timestamp": _iso(click)}


def _segment_list(click: ClickEvent, items: list[str]) -> _Object:
    products = [{"product_id": item, "position": position} for position, item in enumerate(items, 1)]
    listed = {"type": "track", "event": "Product List Viewed", "properties": {"list_id": "home", "products": products}}
    return _segment_page(click) | {"messageId": f"list-{click.event_id}"} | listed


_SP_EVENT: Final = "unstruct_event_com_snowplowanalytics_snowplow_"
_SP_ACTION: Final = f"{_SP_EVENT}ecommerce_snowplow_ecommerce_action_1"
_SP_PRODUCTS: Final = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1"


def _snowplow(name: str, act: _Act, customer: str | None) -> _Object:
    click = act[0]
    products = [_present(id=line.item_id, price=line.price, quantity=line.quantity) for line in act]
    what = (
        {"event_name": name, f"{_SP_EVENT}site_search_1": {"terms": [click.query]}}
        if click.event_type == "search"
        else {"event_name": "snowplow_ecommerce_action", _SP_ACTION: {"type": name}, _SP_PRODUCTS: products}
    )
    return what | {
        "event_id": click.event_id,
        "domain_userid": click.visitor_id,
        "user_id": customer,
        "derived_tstamp": _iso(click),
        "geo_country": click.location,
        "contexts_nl_basjes_yauaa_context_1": [{"deviceClass": click.device}],
    }


def _snowplow_page(click: ClickEvent) -> _Object:
    page = {"event": "page_view", "event_name": "page_view", "event_id": f"page-{click.event_id}"}
    return page | {"domain_userid": click.visitor_id, "derived_tstamp": _iso(click)}


def _snowplow_list(click: ClickEvent, items: list[str]) -> _Object:
    listed = {"event_name": "snowplow_ecommerce_action", _SP_ACTION: {"type": "list_view"}}
    return _snowplow_page(click) | listed | {_SP_PRODUCTS: [{"id": item} for item in items]}


_VENDORS: Final[Mapping[Shape, _Vendor]] = {
    "ga4": _Vendor(
        names={
            "view": "view_item",
            "cart": "add_to_cart",
            "remove": "remove_from_cart",
            "purchase": "purchase",
            "favorite": "add_to_wishlist",
            "search": "view_search_results",
        },
        has_event_ids=False,
        act=_ga4,
        page=_ga4_page,
        shown=_ga4_list,
    ),
    "segment": _Vendor(
        names={
            "view": "Product Viewed",
            "cart": "Product Added",
            "remove": "Product Removed",
            "purchase": "Order Completed",
            "favorite": "Product Added to Wishlist",
            "search": "Products Searched",
        },
        has_event_ids=True,
        act=_segment,
        page=_segment_page,
        shown=_segment_list,
    ),
    "snowplow": _Vendor(
        names={
            "view": "product_view",
            "cart": "add_to_cart",
            "remove": "remove_from_cart",
            "purchase": "transaction",
            "search": "site_search",
        },
        has_event_ids=True,
        act=_snowplow,
        page=_snowplow_page,
        shown=_snowplow_list,
    ),
}
