"""Web analytics.

Sources: https://support.google.com/analytics/answer/7029846 (export) and
https://developers.google.com/analytics/devguides/collection/protocol/ga4 (collection),
https://docs.snowplow.io/docs/events/ootb-data/ecommerce-events/,
https://experienceleague.adobe.com/en/docs/experience-platform/web-sdk/use-cases/collect-commerce-data,
https://developer.matomo.org/api-reference/reporting-api (`Live.getLastVisitsDetails`)
"""

from typing import Final

from schemas.mapping import IGNORE, FieldMapping, Rule

_NOT_SET: Final = {"(not set)": ""}

GA4: Final = FieldMapping(
    events="events",
    paths={
        "visitor_id": ("user_pseudo_id", "$outer.client_id", "$outer.app_instance_id", "user_id", "$outer.user_id"),
        "event_type": ("event_name", "name"),
        "event_time": ("event_timestamp", "timestamp_micros", "$outer.timestamp_micros", "$record.timestamp"),
        "item_id": ("items[].item_id", "params.items[].item_id"),
        "price": ("items[].price", "params.items[].price"),
        "quantity": ("items[].quantity", "params.items[].quantity"),
        "session_id": (
            "event_params[key=ga_session_id].value.int_value",
            "event_params[key=ga_session_id].value.string_value",
            "params.session_id",
        ),
        "event_id": ("ecommerce.transaction_id", "params.transaction_id"),
        "query": ("event_params[key=search_term].value.string_value", "params.search_term"),
        "location": ("geo.country", "$outer.user_location.country_id"),
        "device": ("device.category", "$outer.device.category"),
        "consent": "privacy_info.analytics_storage",
    },
    values={
        "event_type": {
            "view_item": "view",
            "add_to_cart": "cart",
            "remove_from_cart": "remove",
            "purchase": "purchase",
            "ecommerce_purchase": "purchase",
            "add_to_wishlist": "favorite",
            "view_search_results": "search",
            "search": "search",
        },
        "item_id": _NOT_SET,
        "event_id": _NOT_SET,
        "location": _NOT_SET,
        "consent": {"Unset": ""},
    },
)

_SP: Final = "unstruct_event_com_snowplowanalytics_snowplow_"
_SP_PRODUCTS: Final = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1[]"
_GA_ACTION: Final = "unstruct_event_com_google_analytics_enhanced_ecommerce_action_1"
_GA_PRODUCTS: Final = "contexts_com_google_analytics_enhanced_ecommerce_product_field_object_1[]"

SNOWPLOW: Final = FieldMapping(
    paths={
        "visitor_id": ("domain_userid", "network_userid", "user_id"),
        "event_type": (f"{_SP}ecommerce_snowplow_ecommerce_action_1.type", f"{_GA_ACTION}.action", "event_name"),
        "event_time": ("derived_tstamp", "dvce_created_tstamp", "collector_tstamp"),
        "item_id": (
            f"{_SP_PRODUCTS}.id",
            f"{_GA_PRODUCTS}.id",
            f"{_SP}add_to_cart_1.sku",
            f"{_SP}remove_from_cart_1.sku",
            "ti_sku",
        ),
        "price": (
            f"{_SP_PRODUCTS}.price",
            f"{_GA_PRODUCTS}.price",
            f"{_SP}add_to_cart_1.unitPrice",
            f"{_SP}remove_from_cart_1.unitPrice",
            "ti_price",
        ),
        "quantity": (
            f"{_SP_PRODUCTS}.quantity",
            f"{_GA_PRODUCTS}.quantity",
            f"{_SP}add_to_cart_1.quantity",
            f"{_SP}remove_from_cart_1.quantity",
            "ti_quantity",
        ),
        "event_id": "event_id",
        "session_id": "domain_sessionid",
        "query": f"{_SP}site_search_1.terms",
        "location": "geo_country",
        "device": (
            "contexts_nl_basjes_yauaa_context_1[0].deviceClass",
            "contexts_com_snowplowanalytics_snowplow_ua_parser_context_1[0].deviceFamily",
            "dvce_type",
        ),
    },
    values={
        "event_type": {
            "product_view": "view",
            "detail": "view",
            "add_to_cart": "cart",
            "add": "cart",
            "remove_from_cart": "remove",
            "remove": "remove",
            "transaction": "purchase",
            "transaction_item": "purchase",
            "purchase": "purchase",
            "site_search": "search",
        }
    },
    # A transaction of the older tracker: its items come as records of their own.
    rules=(Rule(when={"event_name": "transaction"}, constants={"event_type": IGNORE}),),
)

_XDM_MEASURES: Final = {
    "purchases": "purchase",
    "productListAdds": "cart",
    "productListRemovals": "remove",
    "saveForLaters": "favorite",
    "productViews": "view",
}

XDM: Final = FieldMapping(
    events="body.xdmEntity",  # of the envelope that streaming ingestion takes; other records are the entity itself
    paths={
        "visitor_id": (
            "identityMap.ECID[0].id",
            "endUserIDs._experience.mcid.id",
            "endUserIDs._experience.aaid.id",
            "identityMap.FPID[0].id",
            "identityMap.AAID[0].id",
        ),
        "event_type": "eventType",
        "event_time": "timestamp",
        "item_id": ("productListItems[].SKU", "productListItems[].product"),
        "quantity": "productListItems[].quantity",
        "event_id": "_id",
        "query": "siteSearch.phrase",
        "location": "placeContext.geo.countryCode",
        "device": "device.type",
    },
    # The type may be that of a page view, or missing, while a measure says what happened.
    rules=(
        *(
            Rule(when={f"commerce.{measure}.value": "1"}, constants={"event_type": event_type})
            for measure, event_type in _XDM_MEASURES.items()
        ),
        *(
            Rule(when={"eventType": f"commerce.{measure}"}, constants={"event_type": event_type})
            for measure, event_type in _XDM_MEASURES.items()
        ),
        Rule(when={"siteSearch.phrase": "*"}, constants={"event_type": "search"}),
    ),
)

MATOMO: Final = FieldMapping(
    events="actionDetails",
    paths={
        "visitor_id": ("$outer.visitorId", "$outer.userId"),
        "event_type": "type",
        "event_time": "timestamp",
        "item_id": "itemDetails[].itemSKU",
        "price": "itemDetails[].price",
        "quantity": "itemDetails[].quantity",
        "session_id": "$outer.idVisit",
        "event_id": "orderId",
        "query": "siteSearchKeyword",
        "location": ("$outer.countryCode", "$outer.country"),
        "device": "$outer.deviceType",
    },
    values={"event_type": {"ecommerceOrder": "purchase", "ecommerceAbandonedCart": "cart", "search": "search"}},
    rules=(
        Rule(
            when={"productViewSku": "*"},
            paths={"item_id": "productViewSku", "price": "productViewPrice"},
            constants={"event_type": "view"},
        ),
    ),
)
