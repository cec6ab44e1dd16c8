from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from schemas.ids import EventId, ItemId, ModelVersion, SessionId, VisitorId
from schemas.payload import decode_payload
from schemas.records import (
    CountedView,
    DefaultRecommendations,
    IntentSignal,
    RecommendationOutcome,
    RecommendationSet,
    RecommendedItem,
    SessionEvent,
    SessionSummary,
    Trending,
    TrendingItem,
)
from streams.cluster.topics import TopicSettings
from streams.encodings.decoder import RegistryDecoder
from streams.encodings.outputs import AvroOutputs
from streams.encodings.registry import SchemaRegistry

NOW = datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)
NOW_MS = 1_767_323_045_006
WHOSE: dict[str, Any] = {
    "visitor_id": VisitorId("v"),
    "session_id": SessionId("s"),
    "event_id": EventId("e"),
    "event_time": NOW,
}
RECORDS: dict[str, msgspec.Struct] = {
    "shop-default-recommendations-value": DefaultRecommendations(
        items=[RecommendedItem(ItemId("i2"), 1.0)], source="popular", updated_at=NOW
    ),
    "shop-intent-signals-value": IntentSignal(
        id="c-0-1", prefix_length=1, purchase_status="unavailable", pattern="browsing", **WHOSE
    ),
    "shop-recommendation-outcomes-value": RecommendationOutcome(
        id="c-0-2", recommendation_id="c-0-1", action="click", item_id=ItemId("i2"), tier="knn", delay_ms=9, **WHOSE
    ),
    "shop-recommendations-value": RecommendationSet(
        id="c-0-1",
        status="answered",
        items=[RecommendedItem(ItemId("i2"), 0.5)],
        tier="model",
        model_version=ModelVersion(3),
        counts=[CountedView(ItemId("i1"), 5), CountedView(ItemId("i2"), 6, "nl")],
        **WHOSE,
    ),
    "shop-session-ends-value": SessionSummary(
        id="c-0-1-k",
        visitor_key="k",
        session_id=SessionId("s"),
        end_reason="inactivity",
        started_at=NOW,
        ended_at=NOW,
        event_count=1,
        events=[SessionEvent("view", 5, ItemId("i1"))],
    ),
    "shop-trending-value": Trending(
        items=[TrendingItem(ItemId("i1"), 0.5, 2.5, 7, 0.125, (1.5, 6.0))],
        rising_share=0.125,
        support_short=1.5,
        support_long=7.25,
        half_life_short_seconds=600,
        half_life_long_seconds=16_200,
        half_life_seconds=5_400,
        strength=300.0,
        event_time=NOW,
        updated_at=NOW,
        positions={"c-0": 1},
        half_lives_seconds=(600, 1_800),
        views=(1.5, 7.25),
    ),
}
RECORDS["shop-shadow-recommendations-value"] = RECORDS["shop-recommendations-value"]


def test_a_subject_a_topic_is_registered(client: Any, registry_of: Callable[..., SchemaRegistry]) -> None:
    """Named as Confluent's TopicNameStrategy does, with the deployment's prefix."""
    AvroOutputs(registry_of(), TopicSettings(prefix="shop-")).register()
    assert sorted(client.get_subjects()) == sorted(RECORDS)


@pytest.mark.parametrize("subject", RECORDS)
def test_a_record_in_avro_says_what_it_says_in_json(registry_of: Callable[..., SchemaRegistry], subject: str) -> None:
    """Moments apart, which are milliseconds, a consumer finds the same fields and values."""
    outputs = AvroOutputs(registry_of(), TopicSettings(prefix="shop-"))
    outputs.register()
    decoded = RegistryDecoder(registry_of(), decode_payload).decode(outputs.encode(RECORDS[subject]))
    assert isinstance(decoded, dict)
    assert decoded.pop("@type") == f"insession.{type(RECORDS[subject]).__name__}"
    assert decoded == _plain(RECORDS[subject])


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return NOW_MS if value == NOW else value
