"""Shop systems: webhooks, messages and the events of their storefronts.

Sources: https://shopify.dev/docs/api/webhooks and https://shopify.dev/docs/api/web-pixels-api/standard-events,
https://woocommerce.github.io/woocommerce-rest-api-docs/#webhooks,
https://docs.commercetools.com/api/projects/messages
"""

from typing import Final

from schemas.mapping import FieldMapping, Rule

SHOPIFY: Final = FieldMapping(
    events="detail.payload",  # of a webhook that came by EventBridge
    paths={
        "visitor_id": ("clientId", "customer.id", "token"),
        # An order has a `name`, too ("#1001"), so it is looked at last.
        "event_type": (
            "$outer.detail.metadata.X-Shopify-Topic",
            "$record.headers.X-Shopify-Topic",
            "$record.headers.x-shopify-topic",
            "financial_status",
            "name",
        ),
        "event_time": ("timestamp", "created_at", "processed_at"),
        "item_id": (
            "data.productVariant.product.id",
            "data.cartLine.merchandise.product.id",
            "data.checkout.lineItems[].variant.product.id",
            "line_items[].product_id",
        ),
        "price": (
            "data.productVariant.price.amount",
            "data.cartLine.merchandise.price.amount",
            "data.checkout.lineItems[].variant.price.amount",
            "line_items[].price",
        ),
        "quantity": ("data.cartLine.quantity", "data.checkout.lineItems[].quantity", "line_items[].quantity"),
        "event_id": "id",
        "query": "data.searchResult.query",
        "location": ("data.checkout.localization.country.isoCode", "shipping_address.country_code"),
    },
    values={
        "event_type": {
            "product_viewed": "view",
            "product_added_to_cart": "cart",
            "product_removed_from_cart": "remove",
            "checkout_completed": "purchase",
            "search_submitted": "search",
            "orders/create": "purchase",
            "paid": "purchase",
            "pending": "purchase",
            "authorized": "purchase",
            "partially_paid": "purchase",
        }
    },
)

WOOCOMMERCE: Final = FieldMapping(
    paths={
        "visitor_id": "customer_id",
        "event_type": ("$record.headers.X-WC-Webhook-Topic", "$record.headers.x-wc-webhook-topic", "status"),
        "event_time": "date_created_gmt",
        "item_id": "line_items[].product_id",
        "price": "line_items[].price",
        "quantity": "line_items[].quantity",
        "event_id": "id",
        "location": "billing.country",
    },
    values={
        "event_type": {
            "order.created": "purchase",
            "pending": "purchase",
            "processing": "purchase",
            "on-hold": "purchase",
            "completed": "purchase",
        }
    },
    rules=(Rule(when={"customer_id": "0"}, paths={"visitor_id": "order_key"}),),  # guests all have the number 0
)

COMMERCETOOLS: Final = FieldMapping(
    paths={
        "visitor_id": ("order.anonymousId", "order.customerId"),
        "event_type": "type",
        "event_time": ("order.createdAt", "createdAt"),
        "item_id": "order.lineItems[].productId",
        "price": "order.lineItems[].price.value",
        "quantity": "order.lineItems[].quantity",
        "event_id": "id",
        "location": ("order.country", "order.shippingAddress.country"),
    },
    values={"event_type": {"OrderCreated": "purchase", "OrderImported": "purchase"}},
)
