"""The public shape of each vendor's records, and what is made of them by the name of the format alone."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.click_reader import Clicks
from schemas.mapping import FieldMapping, Format, Rule
from schemas.presets import PRESETS
from schemas.validation import Ignored, Rejection
from tests.field.field_records import clicks, read, told

TIME = "2026-11-20T10:00:00Z"
TIME_MS = 1_795_168_800_000
Lines = list[dict[str, Any]]
Headers = list[tuple[str, bytes]]


def _segment(event: str, lines: Lines, **more: Any) -> dict[str, Any]:
    products = [{"product_id": line["item"], "price": line["price"], "quantity": line["quantity"]} for line in lines]
    return {
        "type": "track",
        "anonymousId": "v1",
        "event": event,
        "timestamp": TIME,
        "messageId": "m1",
        "properties": {"order_id": "o1", "products": products},
    } | more


def _posthog(event: str, lines: Lines) -> dict[str, Any]:
    return {
        "uuid": "m1",
        "distinct_id": "v1",
        "event": event,
        "timestamp": TIME,
        "properties": {"$session_id": "s1", "$device_type": "Mobile", **_segment(event, lines)["properties"]},
    }


def _amplitude(event: str, lines: Lines) -> dict[str, Any]:
    return {
        "insert_id": "m1",
        "device_id": "v1",
        "user_id": "customer",
        "event_type": event,
        "event_time": "2026-11-20 10:00:00.000000",
        "session_id": -1,
        "event_properties": _segment(event, lines)["properties"],
    }


def _mixpanel(event: str, lines: Lines) -> dict[str, Any]:
    named = {"distinct_id": "customer", "$device_id": "v1", "time": 1795168800, "$insert_id": "m1"}
    return {"event": event, "properties": named | _segment(event, lines)["properties"]}


def _ga4(event: str, lines: Lines) -> dict[str, Any]:
    return {
        "event_timestamp": str(TIME_MS * 1000),
        "event_name": event,
        "user_pseudo_id": "v1",
        "event_params": [{"key": "ga_session_id", "value": {"int_value": "77"}}],
        "privacy_info": {"analytics_storage": "Yes"},
        "items": [{"item_id": one["item"], "price": one["price"], "quantity": one["quantity"]} for one in lines],
    }


def _snowplow(event: str, lines: Lines) -> dict[str, Any]:
    return {
        "event_id": "m1",
        "event_name": "snowplow_ecommerce_action",
        "domain_userid": "v1",
        "derived_tstamp": "2026-11-20 10:00:00.000",
        "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1": {"type": event},
        "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1": [
            {"id": line["item"], "price": line["price"], "quantity": line["quantity"]} for line in lines
        ],
    }


def _xdm(event: str, lines: Lines) -> dict[str, Any]:
    return {
        "_id": "m1",
        "eventType": event,
        "timestamp": TIME,
        "identityMap": {"ECID": [{"id": "v1", "primary": True}]},
        "productListItems": [
            {"SKU": line["item"], "quantity": line["quantity"], "priceTotal": line["price"] * line["quantity"]}
            for line in lines
        ],
    }


def _matomo(event: str, lines: Lines) -> dict[str, Any]:
    details = [{"itemSKU": one["item"], "price": one["price"], "quantity": one["quantity"]} for one in lines]
    page = {"type": "action", "timestamp": TIME_MS // 1000, "url": "https://shop.example/"}
    act = {"type": event, "timestamp": TIME_MS // 1000, "orderId": "m1", "itemDetails": details}
    return {"idVisit": 9, "visitorId": "v1", "deviceType": "Smartphone", "actionDetails": [page, act]}


def _shopify_pixel(event: str, lines: Lines) -> dict[str, Any]:
    bought = [
        {
            "quantity": line["quantity"],
            "variant": {"id": "9", "price": {"amount": line["price"]}, "product": {"id": line["item"]}},
        }
        for line in lines
    ]
    return {
        "id": "m1",
        "name": event,
        "clientId": "v1",
        "timestamp": TIME,
        "data": {"checkout": {"token": "t", "lineItems": bought}},
    }


def _woocommerce(event: str, lines: Lines) -> dict[str, Any]:
    return {
        "id": 77,
        "status": event,
        "customer_id": "v1",
        "order_key": "wc_order_1",
        "date_created": "2026-11-20T11:00:00",
        "date_created_gmt": "2026-11-20T10:00:00",
        "line_items": [
            {"id": 1, "product_id": line["item"], "price": line["price"], "quantity": line["quantity"]}
            for line in lines
        ],
    }


def _commercetools(event: str, lines: Lines) -> dict[str, Any]:
    return {
        "notificationType": "Message",
        "id": "m1",
        "type": event,
        "createdAt": TIME,
        "order": {
            "anonymousId": "v1",
            "lineItems": [
                {
                    "productId": line["item"],
                    "quantity": line["quantity"],
                    "price": {"value": {"centAmount": round(line["price"] * 100), "fractionDigits": 2}},
                }
                for line in lines
            ],
        },
    }


def _cloudevents(event: str, lines: Lines) -> dict[str, Any]:
    items = [{"sku": line["item"], "price": line["price"], "quantity": line["quantity"]} for line in lines]
    return {
        "specversion": "1.0",
        "id": "m1",
        "type": event,
        "source": "/",
        "time": TIME,
        "subject": "v1",
        "data": {"items": items},
    }


ORDERS: dict[str, tuple[Format, str, Callable[[str, Lines], dict[str, Any]]]] = {
    "segment": ("segment", "Order Completed", _segment),
    "rudderstack": ("rudderstack", "Order Completed", _segment),
    "posthog": ("posthog", "Order Completed", _posthog),
    "amplitude": ("amplitude", "Order Completed", _amplitude),
    "mixpanel": ("mixpanel", "Order Completed", _mixpanel),
    "ga4": ("ga4", "purchase", _ga4),
    "snowplow": ("snowplow", "transaction", _snowplow),
    "xdm": ("xdm", "commerce.purchases", _xdm),
    "matomo": ("matomo", "ecommerceOrder", _matomo),
    "shopify pixel": ("shopify", "checkout_completed", _shopify_pixel),
    "woocommerce": ("woocommerce", "processing", _woocommerce),
    "commercetools": ("commercetools", "OrderCreated", _commercetools),
    "cloudevents": ("cloudevents", "shop.order.placed.v1", _cloudevents),
}
"""By vendor: the format, what an order is called, and how one is written."""

_LINE = st.fixed_dictionaries(
    {
        "item": st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12),
        "price": st.integers(0, 100_000).map(lambda cents: cents / 100),
        "quantity": st.integers(1, 99),
    }
)


@pytest.mark.parametrize("vendor", ORDERS)
@given(lines=st.lists(_LINE, min_size=1, max_size=12))
def test_every_line_of_any_order_arrives(vendor: str, lines: Lines) -> None:
    """In its order, with its own pieces and price, for the one visitor, at the order's time."""
    preset, name, written = ORDERS[vendor]
    found = clicks(written(name, lines), preset)
    assert [(click.item_id, click.quantity) for click in found] == [(one["item"], one["quantity"]) for one in lines]
    assert {(click.event_type, click.visitor_id, click.event_time_ms) for click in found} == {
        ("purchase", "v1", TIME_MS)
    }
    if vendor != "xdm":  # it names the price of the whole line only
        assert [click.price for click in found] == [one["price"] for one in lines]


@pytest.mark.parametrize("vendor", ORDERS)
@given(name=st.text(max_size=30))
def test_what_a_vendor_calls_otherwise_is_never_a_dead_letter(vendor: str, name: str) -> None:
    """Whatever else is in the topic is ignored, or read where it has one of the names."""
    preset, _, written = ORDERS[vendor]
    (found,) = read(written(name or "x", [{"item": "a", "price": 1.0, "quantity": 1}]), preset, key="v1")
    assert isinstance(found, Clicks | Ignored) or not name.strip(), found


@pytest.mark.parametrize("preset", PRESETS)
def test_a_tombstone_is_ignored_by_every_format(preset: Format) -> None:
    """It deletes a key of a compacted topic and is nothing that a shopper did."""
    assert [one.reason for one in read(None, preset) if isinstance(one, Ignored)] == ["tombstone"]


ONE = [{"item": "a", "price": 2.5, "quantity": 3}]


@pytest.mark.parametrize(
    ("preset", "written", "names"),
    [
        (
            "segment",
            _segment,
            {
                "Product Viewed": "view",
                "Product Added": "cart",
                "Product Removed": "remove",
                "Product Added to Wishlist": "favorite",
                "Wishlist Product Added to Cart": "cart",
                "Viewed Product": "view",
                "Completed Order": "purchase",
                "order_completed": "purchase",
                "product_added_to_wishlist": "favorite",
                "Product Clicked": None,
                "Product List Viewed": None,
                "Cart Viewed": None,
                "Checkout Started": None,
                "Order Refunded": None,
                "Product Removed from Wishlist": None,
            },
        ),
        (
            "ga4",
            _ga4,
            {
                "view_item": "view",
                "add_to_cart": "cart",
                "remove_from_cart": "remove",
                "add_to_wishlist": "favorite",
                "purchase": "purchase",
                "view_item_list": None,
                "select_item": None,
                "view_cart": None,
                "begin_checkout": None,
                "refund": None,
                "session_start": None,
            },
        ),
        (
            "snowplow",
            _snowplow,
            {
                "product_view": "view",
                "add_to_cart": "cart",
                "remove_from_cart": "remove",
                "transaction": "purchase",
                "list_view": None,
                "list_click": None,
                "checkout_step": None,
                "refund": None,
                "promo_view": None,
            },
        ),
        (
            "xdm",
            _xdm,
            {
                "commerce.productViews": "view",
                "commerce.productListAdds": "cart",
                "commerce.productListRemovals": "remove",
                "commerce.saveForLaters": "favorite",
                "commerce.productListViews": None,
                "commerce.checkouts": None,
                "web.webpagedetails.pageViews": None,
            },
        ),
        (
            "matomo",
            _matomo,
            {"ecommerceOrder": "purchase", "ecommerceAbandonedCart": "cart", "goal": None, "download": None},
        ),
        (
            "shopify",
            _shopify_pixel,
            {"checkout_completed": "purchase", "checkout_started": None, "payment_info_submitted": None},
        ),
        ("woocommerce", _woocommerce, {"completed": "purchase", "cancelled": None, "refunded": None}),
        ("commercetools", _commercetools, {"OrderCreated": "purchase", "OrderStateChanged": None}),
        (
            "cloudevents",
            _cloudevents,
            {
                "com.example.shop.cart.item.added.v1": "cart",
                "shop.product.viewed": "view",
                "Shop.Events.ProductViewed": "view",
                "OrderPlaced": "purchase",
                "shop.wishlist.item.removed": None,
                "shop.product.list.viewed": None,
                "shop.cart.viewed": None,
                "user.logged-in": None,
            },
        ),
    ],
)
def test_a_vendors_names_become_interactions(
    preset: Format, written: Callable[[str, Lines], Any], names: dict[str, str | None]
) -> None:
    """None = not for us: shown lists, carts that are looked at, checkouts, refunds."""
    found = {name: next((click.event_type for click in clicks(written(name, ONE), preset)), None) for name in names}
    assert found == names


SP = "unstruct_event_com_snowplowanalytics_snowplow_"
SHOPIFY = {"id": "p1", "clientId": "v1", "timestamp": TIME}
XDM = {"_id": "m1", "timestamp": TIME, "identityMap": {"ECID": [{"id": "v1"}]}}


@pytest.mark.parametrize(
    ("preset", "record", "expected"),
    [
        (
            "segment",
            _segment("Products Searched", []) | {"properties": {"query": "oak chair"}},
            [("search", "oak chair")],
        ),
        (
            "segment",
            {"batch": [_segment("Product Viewed", ONE), {"type": "page", "anonymousId": "v1"}], "sentAt": TIME},
            [("view", "a")],
        ),
        ("segment", _segment("Product Viewed", []) | {"properties": {"sku": "a", "price": 4}}, [("view", "a")]),
        ("segment", {"type": "identify", "userId": "u", "anonymousId": "v1"}, [("ignored", "event_type")]),
        ("ga4", _ga4("view_item", [{"item": "(not set)", "price": 1, "quantity": 1}, *ONE]), [("view", "a")]),
        (
            "ga4",
            {
                "client_id": "v1",
                "timestamp_micros": TIME_MS * 1000,
                "events": [
                    {"name": "page_view", "params": {"session_id": "77"}},
                    {"name": "search", "params": {"session_id": "77", "search_term": "oak"}},
                    {"name": "add_to_cart", "params": {"items": [{"item_id": "a"}, {"item_id": "b"}]}},
                ],
            },
            [("search", "oak"), ("cart", "a"), ("cart", "b")],
        ),
        (
            "snowplow",
            _snowplow("", []) | {"event_name": "site_search", f"{SP}site_search_1": {"terms": ["oak", "chair"]}},
            [("search", "oak chair")],
        ),
        (
            "snowplow",
            {
                "domain_userid": "v1",
                "derived_tstamp": TIME,
                "event_name": "add_to_cart",
                f"{SP}add_to_cart_1": {"sku": "a"},
            },
            [("cart", "a")],
        ),
        (
            "snowplow",
            {"domain_userid": "v1", "derived_tstamp": TIME, "event_name": "transaction", "tr_orderid": "o"},
            [("ignored", "event_type")],
        ),
        (
            "snowplow",
            {"domain_userid": "v1", "derived_tstamp": TIME, "event_name": "transaction_item", "ti_sku": "a"},
            [("purchase", "a")],
        ),
        (
            "snowplow",
            {
                "domain_userid": "v1",
                "derived_tstamp": TIME,
                "event_name": "action",
                "unstruct_event_com_google_analytics_enhanced_ecommerce_action_1": {"action": "detail"},
                "contexts_com_google_analytics_enhanced_ecommerce_product_field_object_1": [{"id": "a"}],
            },
            [("view", "a")],
        ),
        (
            "xdm",
            XDM
            | {
                "eventType": "web.webpagedetails.pageViews",
                "commerce": {"productViews": {"value": 1}},
                "productListItems": [{"SKU": "a"}],
            },
            [("view", "a")],
        ),
        (
            "xdm",
            {
                "header": {"schemaRef": {}},
                "body": {
                    "xdmMeta": {},
                    "xdmEntity": XDM | {"eventType": "commerce.productListAdds", "productListItems": [{"SKU": "a"}]},
                },
            },
            [("cart", "a")],
        ),
        (
            "shopify",
            {
                "source": "aws.partner/shopify.com/1/shop",
                "detail": {
                    "metadata": {"X-Shopify-Topic": "orders/create"},
                    "payload": {"id": 1, "created_at": TIME, "customer": {"id": 7}, "line_items": [{"product_id": 5}]},
                },
            },
            [("purchase", "5")],
        ),
        ("xdm", XDM | {"siteSearch": {"phrase": "oak"}}, [("search", "oak")]),
        ("xdm", XDM | {"eventType": "web.webinteraction.linkClicks"}, [("ignored", "event_type")]),
        (
            "matomo",
            [
                {
                    "visitorId": "v1",
                    "idVisit": 1,
                    "actionDetails": [
                        {
                            "type": "action",
                            "timestamp": TIME_MS // 1000,
                            "productViewSku": "a",
                            "productViewPrice": "4",
                        },
                        {"type": "search", "timestamp": TIME_MS // 1000, "siteSearchKeyword": "oak"},
                    ],
                },
                {"visitorId": "v1", "idVisit": 2, "actionDetails": [{"type": "action", "timestamp": 1}]},
            ],
            [("view", "a"), ("search", "oak")],
        ),
        (
            "shopify",
            SHOPIFY
            | {
                "name": "product_added_to_cart",
                "data": {"cartLine": {"quantity": 2, "merchandise": {"id": "9", "product": {"id": "a"}}}},
            },
            [("cart", "a")],
        ),
        (
            "shopify",
            SHOPIFY | {"name": "search_submitted", "data": {"searchResult": {"query": "oak", "productVariants": []}}},
            [("search", "oak")],
        ),
        ("shopify", SHOPIFY | {"name": "page_viewed", "data": {}}, [("ignored", "event_type")]),
        (
            "woocommerce",
            _woocommerce("processing", ONE) | {"customer_id": 0},
            [("purchase", "a")],
        ),
    ],
)
def test_other_shapes_of_a_vendor_are_read(preset: Format, record: Any, expected: list[tuple[str, str]]) -> None:
    """Searches, batches, older events, single products beside lists."""
    assert told([record], preset) == expected


def test_webhooks_of_another_topic_are_ignored() -> None:
    """The header goes before what the body looks like: an order that changes is not bought again."""
    order = {"id": 1, "financial_status": "paid", "created_at": TIME, "customer": {"id": "v1"}, "line_items": []}
    for topic in (b"orders/updated", b"carts/update", b"refunds/create"):
        assert told([order], "shopify", [("X-Shopify-Topic", topic)]) == [("ignored", "event_type")]
    changed = _woocommerce("processing", ONE)
    assert told([changed], "woocommerce", [("X-WC-Webhook-Topic", b"order.updated")]) == [("ignored", "event_type")]


def test_guests_of_a_shop_system_are_not_one_visitor() -> None:
    """WooCommerce calls all of them 0, Shopify none; their order's own key stands for them."""
    guests = [
        clicks(_woocommerce("processing", ONE) | {"customer_id": 0, "order_key": key}, "woocommerce") for key in "ab"
    ]
    assert [found[0].visitor_id for found in guests] == ["a", "b"]
    order = {
        "token": "t1",
        "financial_status": "paid",
        "created_at": TIME,
        "customer": None,
        "line_items": [{"product_id": 1}],
    }
    assert clicks(order, "shopify")[0].visitor_id == "t1"


ROW = {"visitor_id": "v1", "event_type": "view", "item_id": "a", "created_at": "2026-11-20T10:00:00Z", "id": 5}


@pytest.mark.parametrize("envelope", [lambda payload: payload, lambda payload: {"schema": {}, "payload": payload}])
def test_new_rows_of_a_table_are_clicks_and_changed_ones_are_not(envelope: Callable[[Any], Any]) -> None:
    """Created and read by a snapshot; with the schema beside them or without."""
    rows = [
        envelope({"op": op, "before": None, "after": ROW if op != "d" else None, "ts_ms": TIME_MS + 5})
        for op in "crudt"
    ]
    assert told([*rows, None], "debezium") == [
        ("view", "a"),
        ("view", "a"),
        ("ignored", "event_type"),
        ("ignored", "event_type"),
        ("ignored", "event_type"),
        ("ignored", "tombstone"),
    ]
    assert clicks(rows[0], "debezium")[0].event_time_ms == TIME_MS


def test_flattened_rows_are_read_and_deleted_ones_are_not() -> None:
    """As `ExtractNewRecordState` writes them."""
    rows = [ROW | {"__op": "c"}, ROW | {"__op": "u"}, ROW | {"__deleted": "true"}, ROW | {"__deleted": "false"}]
    assert [what for what, _ in told(rows, "debezium")] == ["view", "ignored", "ignored", "view"]


def test_a_table_of_order_lines_is_purchases() -> None:
    """What a shop states goes before the preset, and what the preset ignores stays ignored."""
    mapping = FieldMapping(
        format="debezium",
        paths={"visitor_id": "after.buyer", "item_id": "after.article"},
        constants={"event_type": "purchase"},
    )
    rows = [{"op": op, "after": {"buyer": 7, "article": 5, "created_at": TIME_MS}} for op in "cu"]
    assert told(rows, mapping) == [("purchase", "5"), ("ignored", "event_type")]


def test_a_shops_own_rule_goes_before_the_formats() -> None:
    """So an order counts when it is paid, though that is a change of its row."""
    paid = Rule(when={"op": "u", "after.state": "paid"}, constants={"event_type": "purchase"})
    mapping = FieldMapping(format="debezium", rules=(paid,))
    row = {"customer_id": "v1", "product_id": "a", "created_at": TIME_MS, "event_type": "ignore"}
    rows = [{"op": "u", "after": row | {"state": state}} for state in ("open", "paid")]
    assert told(rows, mapping) == [("ignored", "event_type"), ("purchase", "a")]


def test_denied_storage_is_no_consent() -> None:
    """GA4 says Yes, No or Unset; nobody's No is dropped."""
    told_by = {
        answer: _ga4("view_item", ONE) | {"privacy_info": {"analytics_storage": answer}}
        for answer in ("Yes", "No", "Unset")
    }
    assert {answer: clicks(record, "ga4")[0].consent for answer, record in told_by.items()} == {
        "Yes": True,
        "No": False,
        "Unset": None,
    }


def test_own_event_names_are_added_to_a_vendors() -> None:
    """Also by pattern; the vendor's stay."""
    mapping = FieldMapping(format="segment", values={"event_type": {"Bundle *": "view", "Product Added": "ignore"}})
    records = [_segment(name, ONE) for name in ("Bundle Viewed", "Product Added", "Order Completed")]
    assert told(records, mapping) == [("view", "a"), ("ignored", "event_type"), ("purchase", "a")]


def test_names_with_dots_lists_in_lists_and_several_lists_are_reached() -> None:
    """The shapes that no vendor has, and shops do."""
    mapping = FieldMapping(
        paths={
            "visitor_id": '"user.id"',
            "event_type": 'meta."event.type"',
            "event_time": "meta['at [utc]']",
            "item_id": ("baskets[].parcels[].sku", 'gifts[]."gift.sku"', "sku"),
            "location": "baskets[].shop",
            "session_id": "traits[key=session].values[0]",
        },
        values={"event_type": {"bought": "purchase"}},
    )
    record = {
        "user.id": "v1",
        "meta": {"event.type": "bought", "at [utc]": TIME},
        "traits": [{"key": "lang", "values": ["nl"]}, {"key": "session", "values": ["s1"]}],
    }
    baskets = [{"shop": "Delft", "parcels": [{"sku": "a"}, {"sku": "b"}]}, {"shop": "Gouda", "parcels": [{"sku": "c"}]}]
    assert [(one.item_id, one.location, one.session_id) for one in clicks(record | {"baskets": baskets}, mapping)] == [
        ("a", "Delft", "s1"),
        ("b", "Delft", "s1"),
        ("c", "Gouda", "s1"),
    ]
    assert told([record | {"baskets": [], "gifts": [{"gift.sku": "g"}]}, record | {"sku": "single"}], mapping) == [
        ("purchase", "g"),
        ("purchase", "single"),
    ]


@pytest.mark.parametrize("word", ["view", "purchase", "search", "session_end", "reject", "ignore"])
def test_our_own_words_mean_nothing_in_a_vendors_topic(word: str) -> None:
    """A custom event that happens to be called like ours is none of the listed ones, and no dead letter."""
    for preset, record in (
        ("segment", _segment(word, [])),
        ("xdm", _xdm(word, [])),
        ("shopify", _shopify_pixel(word, [])),
    ):
        assert [what for what, _ in told([record], preset)] == ["ignored"]


def test_a_shown_list_that_should_be_an_order_is_refused_with_its_reason() -> None:
    """An interaction without any item is a fault of the shop's, not something to be silent about."""
    (found,) = read(_segment("Order Completed", []), "segment")
    assert isinstance(found, Rejection)
    assert found.reason == "missing_item"
