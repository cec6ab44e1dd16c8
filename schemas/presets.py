"""Field mappings by the name of who writes the records; docs/mapping.md says what is read of each, and what is not."""

from collections.abc import Mapping
from typing import Final

from msgspec import structs

from schemas.mapping import IGNORE, FieldMapping, Format, Rule
from schemas.vendors.analytics import GA4, MATOMO, SNOWPLOW, XDM
from schemas.vendors.customer_data import AMPLITUDE, MIXPANEL, POSTHOG, RUDDERSTACK, SEGMENT
from schemas.vendors.envelopes import CLOUDEVENTS, DEBEZIUM
from schemas.vendors.shops import COMMERCETOOLS, SHOPIFY, WOOCOMMERCE

PRESETS: Final[Mapping[Format, FieldMapping]] = {
    "insession": FieldMapping(),
    "segment": SEGMENT,
    "rudderstack": RUDDERSTACK,
    "posthog": POSTHOG,
    "amplitude": AMPLITUDE,
    "mixpanel": MIXPANEL,
    "ga4": GA4,
    "snowplow": SNOWPLOW,
    "xdm": XDM,
    "matomo": MATOMO,
    "shopify": SHOPIFY,
    "woocommerce": WOOCOMMERCE,
    "commercetools": COMMERCETOOLS,
    "cloudevents": CLOUDEVENTS,
    "debezium": DEBEZIUM,
}


def complete(mapping: FieldMapping) -> FieldMapping:
    """Put what a mapping states over its format's preset."""
    preset = PRESETS[mapping.format]
    return structs.replace(
        mapping,
        events=mapping.events or preset.events,
        paths=preset.paths | mapping.paths,
        constants=preset.constants | mapping.constants,
        values={
            name: {**mapping.values.get(name, {}), **_unless(mapping.values.get(name, {}), preset.values.get(name, {}))}
            for name in preset.values.keys() | mapping.values.keys()
        },
        time_format=mapping.time_format or preset.time_format,
        rules=mapping.rules + tuple(_unstated(rule, mapping) for rule in preset.rules),
    )


def _unless(stated: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Leave out of a preset's values what is stated: its patterns come after the stated ones, too."""
    return {theirs: ours for theirs, ours in values.items() if theirs not in stated}


def _unstated(rule: Rule, mapping: FieldMapping) -> Rule:
    """Leave out of a preset's rule the fields that are stated; what it ignores stays ignored."""
    stated = mapping.paths.keys() | mapping.constants.keys()
    return structs.replace(
        rule,
        paths={name: paths for name, paths in rule.paths.items() if name not in stated},
        constants={name: value for name, value in rule.constants.items() if name not in stated or value == IGNORE},
    )
