"""Customer data platforms and product analytics.

Of a cookie and a customer the one that a session keeps goes first: a login in its middle must not make two of it.

Sources: https://segment.com/docs/connections/spec/common/,
https://www.rudderstack.com/docs/event-spec/standard-events/common-fields/,
https://posthog.com/docs/data/events, https://amplitude.com/docs/apis/analytics/export,
https://developer.mixpanel.com/reference/raw-event-export
"""

from typing import Final

from schemas.mapping import FieldMapping
from schemas.mapping_language import Paths
from schemas.vendors import ecommerce_spec

_TRACKED: Final[dict[str, Paths]] = {
    "visitor_id": ("anonymousId", "userId"),
    "event_type": ("event", "type"),
    "event_time": ("timestamp", "originalTimestamp", "sentAt", "receivedAt"),
    "event_id": "messageId",
    "location": "context.location.country",
    "device": ("context.device.type", "context.userAgentData.mobile"),
}
_IS_MOBILE: Final = {"true": "mobile", "false": "desktop"}

SEGMENT: Final = FieldMapping(
    events="batch",
    paths=ecommerce_spec.in_properties("properties") | _TRACKED,
    values={"event_type": ecommerce_spec.EVENT_TYPES, "device": _IS_MOBILE},
)

RUDDERSTACK: Final = FieldMapping(
    events="batch",
    paths=ecommerce_spec.in_properties("properties") | _TRACKED | {"session_id": "context.sessionId"},
    values={"event_type": ecommerce_spec.EVENT_TYPES, "device": _IS_MOBILE},
)

POSTHOG: Final = FieldMapping(
    events="batch",
    paths=ecommerce_spec.in_properties("properties")
    | {
        "visitor_id": ("properties.$device_id", "distinct_id", "properties.distinct_id"),
        "event_type": "event",
        "event_time": ("timestamp", "sent_at"),
        "event_id": ("uuid", "properties.$insert_id"),
        "session_id": "properties.$session_id",
        "location": "properties.$geoip_country_code",
        "device": "properties.$device_type",
    },
    values={"event_type": ecommerce_spec.EVENT_TYPES},
)

AMPLITUDE: Final = FieldMapping(
    events="events",
    paths=ecommerce_spec.in_properties("event_properties")
    | {
        "visitor_id": ("device_id", "user_id"),
        "event_type": "event_type",
        "event_time": ("event_time", "time", "client_event_time"),
        "event_id": ("$insert_id", "insert_id", "uuid"),
        "session_id": "session_id",
        "location": "country",
        "device": ("device_type", "device_family"),
    },
    values={
        "event_type": ecommerce_spec.EVENT_TYPES,
        "session_id": {"-1": ""},  # outside of any session
    },
)

MIXPANEL: Final = FieldMapping(
    paths=ecommerce_spec.in_properties("properties")
    | {
        "visitor_id": ("properties.$device_id", "properties.distinct_id"),
        "event_type": "event",
        "event_time": "properties.time",
        "event_id": "properties.$insert_id",
        "location": ("properties.mp_country_code", "properties.$country_code"),
        "device": "properties.$device",
    },
    values={"event_type": ecommerce_spec.EVENT_TYPES},
)
