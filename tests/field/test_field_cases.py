"""Shapes that shops really have: every interaction in them is read, and nothing else is a dead letter."""

import gzip
import json
from typing import Any

import pytest

from schemas.click_reader import Clicks, Repair
from schemas.ids import MAX_ID_BYTES
from schemas.mapping import FieldMapping
from schemas.validation import Rejection
from tests.field.field_records import RECORD_TIME_MS, clicks, read, told

TEN_OCLOCK_MS = 1_795_168_800_000
"""2026-11-20 10:00:00 UTC."""
OWN = FieldMapping()


def _view(**changes: Any) -> dict[str, Any]:
    return {"visitor_id": "v1", "event_type": "view", "event_time": TEN_OCLOCK_MS, "item_id": "chair"} | changes


SEGMENT = {"type": "track", "anonymousId": "anon-1", "userId": None, "timestamp": "2026-11-20T10:00:01.000Z"}
SEGMENT_RECORDS = [
    SEGMENT | {"messageId": "m1", "event": "Product Viewed", "properties": {"product_id": "chair", "price": 40}},
    SEGMENT
    | {
        "messageId": "m2",
        "event": "Product List Viewed",
        "properties": {"list_id": "home", "products": [{"product_id": "chair"}, {"product_id": "lamp"}]},
    },
    SEGMENT
    | {
        "messageId": "m3",
        "event": "Order Completed",
        "properties": {
            "order_id": "o1",
            "products": [
                {"product_id": "chair", "price": 40, "quantity": 1},
                {"product_id": "lamp", "price": 9.5, "quantity": 2},
            ],
        },
    },
    {k: v for k, v in SEGMENT.items() if k != "userId"} | {"type": "page", "messageId": "m4", "properties": {}},
]


@pytest.mark.parametrize("preset", ["segment", "rudderstack"])
def test_a1_a_segment_order_is_read_line_by_line(preset: str) -> None:
    """Three views or purchases; the list and the page are ignored."""
    assert told(SEGMENT_RECORDS, preset) == [
        ("view", "chair"),
        ("ignored", "event_type"),
        ("purchase", "chair"),
        ("purchase", "lamp"),
        ("ignored", "event_type"),
    ]
    order = clicks(SEGMENT_RECORDS[2], preset)
    assert [(line.price, line.quantity, line.event_id) for line in order] == [(40, 1, "m3"), (9.5, 2, "m3")]


def _ga4(name: str, at: str, params: list[Any], items: list[Any]) -> dict[str, Any]:
    session = {"key": "ga_session_id", "value": {"string_value": None, "int_value": "77"}}
    return {
        "event_timestamp": at,
        "event_name": name,
        "user_pseudo_id": "11.22",
        "user_id": None,
        "event_params": [session, *params],
        "device": {"category": "mobile"},
        "geo": {"country": "Germany"},
        "items": items,
    }


GA4_CHAIR = {"item_id": "chair", "price": 40.0, "quantity": 1}
GA4_TERM = {"key": "search_term", "value": {"string_value": "oak chair", "int_value": None}}
GA4_RECORDS = [
    _ga4("page_view", "1795168801000000", [], []),
    _ga4("view_search_results", "1795168802000000", [GA4_TERM], []),
    _ga4("view_item", "1795168803000000", [], [GA4_CHAIR]),
    _ga4("purchase", "1795168804000000", [], [GA4_CHAIR, {"item_id": "lamp", "price": 9.5, "quantity": 1}]),
]


def test_a2_a_ga4_export_is_read_with_its_lists_of_names_and_values() -> None:
    """A search, a view, two purchases; session, place and device come with them."""
    assert told(GA4_RECORDS, "ga4") == [
        ("ignored", "event_type"),
        ("search", "oak chair"),
        ("view", "chair"),
        ("purchase", "chair"),
        ("purchase", "lamp"),
    ]
    (viewed,) = clicks(GA4_RECORDS[2], "ga4")
    assert (viewed.session_id, viewed.location, viewed.device) == ("77", "Germany", "mobile")
    assert viewed.event_time_ms == TEN_OCLOCK_MS + 3_000


SHOPIFY_ORDER = {
    "id": 5001,
    "created_at": "2026-11-20T05:00:00-05:00",
    "financial_status": "paid",
    "name": "#1001",
    "customer": {"id": 900719925474099},
    "line_items": [
        {"id": 1, "product_id": 10, "variant_id": 101, "sku": "chair-oak", "price": "40.00", "quantity": 1},
        {"id": 2, "product_id": 11, "variant_id": 111, "sku": "lamp", "price": "9.50", "quantity": 2},
    ],
}


@pytest.mark.parametrize("headers", [[], [("X-Shopify-Topic", b"orders/create")]])
def test_a3_an_order_webhook_is_a_purchase_a_line(headers: list[tuple[str, bytes]]) -> None:
    """Whether the topic's header came with it or not; large numbers keep all their digits."""
    lines = clicks(SHOPIFY_ORDER, "shopify", headers)
    assert [(line.event_type, line.item_id, line.price, line.quantity) for line in lines] == [
        ("purchase", "10", 40, 1),
        ("purchase", "11", 9.5, 2),
    ]
    assert {(line.visitor_id, line.event_time_ms) for line in lines} == {("900719925474099", TEN_OCLOCK_MS)}


CLOUDEVENTS = {"specversion": "1.0", "source": "/shop", "subject": "anon-1", "time": "2026-11-20T10:00:01.000000+00:00"}
CLOUDEVENTS_RECORDS = [
    CLOUDEVENTS
    | {"id": "c1", "type": "shop.example.product.viewed.v1", "data": {"article": {"id": "chair", "price": 40}}},
    CLOUDEVENTS
    | {
        "id": "c2",
        "type": "shop.example.order.placed.v1",
        "data": {
            "order": {
                "lines": [
                    {"article": "chair", "unitPrice": {"amount": 40}},
                    {"article": "lamp", "unitPrice": {"amount": 9.5}},
                ]
            }
        },
    },
]


def test_a5_cloudevents_are_read_in_structured_and_in_binary_mode() -> None:
    """A view and two purchases, either way."""
    expected = [("view", "chair", 40), ("purchase", "chair", 40), ("purchase", "lamp", 9.5)]
    structured = [click for record in CLOUDEVENTS_RECORDS for click in clicks(record, "cloudevents")]
    binary = [
        click
        for record in CLOUDEVENTS_RECORDS
        for click in clicks(
            record["data"],
            "cloudevents",
            [(f"ce_{name}", str(text).encode()) for name, text in record.items() if name != "data"],
        )
    ]
    assert [(click.event_type, click.item_id, click.price) for click in structured] == expected
    assert binary == structured


SP_ACTION = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
SP_PRODUCTS = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1"


def _snowplow(event_id: str, action: str, products: list[Any]) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "domain_userid": "duid-1",
        "derived_tstamp": "2026-11-20T10:00:01.000Z",
        "event_name": "snowplow_ecommerce_action",
        SP_ACTION: {"type": action},
        SP_PRODUCTS: products,
    }


def test_a7_snowplow_actions_are_read_with_the_products_of_their_context() -> None:
    """A view and two purchases; a list that was shown is none."""
    records = [
        _snowplow("s1", "product_view", [{"id": "chair", "price": 40}]),
        _snowplow("s2", "transaction", [{"id": "chair", "price": 40}, {"id": "lamp", "price": 40}]),
        _snowplow("s3", "list_view", [{"id": "chair"}, {"id": "lamp"}]),
    ]
    assert told(records, "snowplow") == [
        ("view", "chair"),
        ("purchase", "chair"),
        ("purchase", "lamp"),
        ("ignored", "event_type"),
    ]


def test_c1_a_login_in_mid_session_stays_one_visitor() -> None:
    """The cookie comes with every event, so it names the visitor; who logs in is nobody else."""
    records = [
        SEGMENT | {"messageId": f"m{number}", "event": event, "userId": user, "properties": {"product_id": item}}
        for number, (event, user, item) in enumerate(
            [
                ("Product Viewed", None, "chair"),
                ("Product Viewed", None, "lamp"),
                ("Product Added", "user-7", "lamp"),
                ("Product Viewed", "user-7", "rug"),
            ]
        )
    ]
    assert {click.visitor_id for record in records for click in clicks(record, "segment")} == {"anon-1"}
    (server_side,) = clicks(records[2] | {"anonymousId": None}, "segment")
    assert server_side.visitor_id == "user-7"


def test_c3_a_topic_of_one_kind_of_event_needs_a_constant_only() -> None:
    """Its records do not say what happened, since all are the same."""
    mapping = FieldMapping(
        paths={"visitor_id": "customer", "event_time": "ordered_at", "item_id": "sku", "quantity": "qty"},
        constants={"event_type": "purchase"},
    )
    record = {"order_item": 1, "customer": "user-7", "ordered_at": "2026-11-20T10:00:01.000Z", "sku": "chair", "qty": 1}
    assert told([record], mapping) == [("purchase", "chair")]


def test_d1_pages_between_are_no_dead_letters() -> None:
    """Two views arrive, and what is no interaction is passed over."""
    types = ["page_view", "view", "scroll", "user_engagement", "view"]
    assert told([_view(event_type=one) for one in types], OWN) == [
        ("ignored", "event_type"),
        ("view", "chair"),
        ("ignored", "event_type"),
        ("ignored", "event_type"),
        ("view", "chair"),
    ]


PLAIN = json.dumps(_view()).encode()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"\x00\x00\x00\x00\x07" + PLAIN, id="E1 Confluent's frame around JSON"),
        pytest.param(b"\x01" + bytes(range(16)) + PLAIN, id="E1 with a GUID"),
        pytest.param(b"[" + PLAIN + b"]", id="E3 list"),
        pytest.param(PLAIN + b"\n" + b"\n", id="E3 a line"),
        pytest.param(gzip.compress(PLAIN), id="E5 gzip"),
        pytest.param(b"\x00\x00\x00\x00\x07" + json.dumps(PLAIN.decode()).encode(), id="E1 and E8"),
        pytest.param(json.dumps(PLAIN.decode()).encode(), id="E8 JSON in a JSON text"),
        pytest.param(json.dumps(json.dumps(PLAIN.decode())).encode(), id="E8 twice"),
        pytest.param(b"\xef\xbb\xbf" + PLAIN, id="E8 byte order mark"),
        pytest.param(gzip.compress(b"\xef\xbb\xbf" + PLAIN), id="E5 and E8"),
    ],
)
def test_e_a_click_is_read_through_its_wrapping(value: bytes) -> None:
    """Nobody has to say how it is wrapped."""
    (found,) = read(value, OWN, key="v1")
    assert isinstance(found, Clicks), found
    assert [(click.visitor_id, click.item_id, click.event_time_ms) for click in found.events] == [
        ("v1", "chair", TEN_OCLOCK_MS)
    ]


def test_e3_an_array_of_events_is_all_of_them() -> None:
    """As a list and as lines."""
    events = [_view(event_id="1"), _view(event_id="2", item_id="lamp")]
    lines = b"\n".join(json.dumps(event).encode() for event in events)
    for value in (events, lines):
        assert told([value], OWN) == [("view", "chair"), ("view", "lamp")]


@pytest.mark.parametrize(
    ("odd", "left", "reason"),
    [
        ({"quantity": 0}, None, "out_of_range"),
        ({"price": ""}, None, None),
        ({"session_id": ""}, None, None),
        ({"query": ["oak", "chair"]}, "oak chair", "joined"),
        ({"price": "12,95"}, 12.95, "reformatted"),
        ({"event_id": ""}, None, None),
        ({"price": "12.95 EUR"}, 12.95, "reformatted"),
        ({"price": None}, None, None),
        ({"quantity": "1.0"}, 1, None),
        ({"quantity": -3}, None, "out_of_range"),
        ({"device": "Mozilla/5.0 " * 60}, ("Mozilla/5.0 " * 60)[:MAX_ID_BYTES], "cut"),
        ({"location": {"lat": 52.1}}, None, "unreadable"),
        ({"consent": 1}, True, None),
        ({"experiment": ""}, None, None),
    ],
)
def test_f1_empty_and_odd_fields_cost_no_click(odd: dict[str, Any], left: Any, reason: str | None) -> None:
    """Every click is answered, and what was repaired or dropped is told."""
    mapping = FieldMapping(time_format="unix_ms", values={"event_type": {"look": "view"}})
    ((field, _),) = odd.items()
    (found,) = read(_view(event_type="look", **odd), mapping, key="v1")
    assert isinstance(found, Clicks), found
    assert getattr(found.events[0], field) == left
    assert found.repairs == (() if reason is None else (Repair(field, reason),))  # type: ignore[arg-type]


def test_f3_codes_for_event_types_go_by_their_text() -> None:
    """A number, its text and the number as a decimal are one code."""
    mapping = FieldMapping(
        paths={"visitor_id": "user_id", "event_type": "behavior", "event_time": "time"},
        values={"event_type": {"1": "view", "2": "favorite", "3": "cart", "4": "purchase"}},
    )
    record = {"user_id": 7, "item_id": 5, "time": "2026-11-20T10:00:01.000Z"}
    found = told([record | {"behavior": code} for code in (1, 2.0, "3", 4, 5)], mapping)
    assert found == [("view", "5"), ("favorite", "5"), ("cart", "5"), ("purchase", "5"), ("ignored", "event_type")]


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-20 10:00:00",
        "2026-11-20T10:00:00",
        1795168800000000000,
        "2026-11-20 10:00:00 UTC",
        "2026-11-20T10:00",
        "2026-11-20T11:00:00+01",
        "2026-11-20T11:00:00+01:00[Europe/Berlin]",
        "20261120T100000Z",
        "Fri, 20 Nov 2026 10:00:00 GMT",
        1795168800,
        1795168800.0,
        "1795168800000",
        1795168800000000,
        "/Date(1795168800000)/",
        {"$date": "2026-11-20T10:00:00Z"},
        {"$date": {"$numberLong": "1795168800000"}},
        {"seconds": 1795168800, "nanos": 0},
        [2026, 11, 20, 10, 0],
    ],
)
def test_g1_times_are_read_as_shops_write_them(time: Any) -> None:
    """All of them are ten o'clock."""
    (click,) = clicks(_view(event_time=time), OWN)
    assert click.event_time_ms == TEN_OCLOCK_MS


def test_g1_a_date_alone_is_midnight_and_a_missing_time_refuses_unless_the_records_counts() -> None:
    """Both by a stated choice; so is the zone of what names no offset."""
    (midnight,) = clicks(_view(event_time="2026-11-20"), OWN)
    assert midnight.event_time_ms == TEN_OCLOCK_MS - 10 * 3_600_000
    (there,) = clicks(_view(event_time="2026-11-20 11:00"), FieldMapping(time_zone="Europe/Amsterdam"))
    assert there.event_time_ms == TEN_OCLOCK_MS
    (found,) = read(_view(event_time=None), OWN)
    assert isinstance(found, Rejection)
    (click,) = clicks(_view(event_time=None), FieldMapping(paths={"event_time": ("event_time", "$record.timestamp")}))
    assert click.event_time_ms == RECORD_TIME_MS


def test_h3_an_address_of_a_page_is_no_location() -> None:
    """Shopify's storefront names the page that is looked at, not where the shopper is."""
    record = {
        "id": "p0",
        "name": "product_viewed",
        "clientId": "cl-0",
        "timestamp": "2026-11-20T10:00:00.000Z",
        "context": {"document": {"location": {"href": "https://shop.example/"}}},
        "data": {"productVariant": {"product": {"id": "0"}, "price": {"amount": 40, "currencyCode": "EUR"}}},
    }
    (click,) = clicks(record, "shopify")
    assert (click.event_type, click.item_id, click.visitor_id) == ("view", "0", "cl-0")
    assert click.location is None
