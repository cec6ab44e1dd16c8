"""JSON on the wire: one encoder, one decoder a record type."""

import msgspec

from schemas.handovers import Control
from schemas.records import (
    DefaultRecommendations,
    IntentSignal,
    RecommendationOutcome,
    RecommendationSet,
    SessionSummary,
    Trending,
    VisitorRecommendations,
)

_encoder = msgspec.json.Encoder()
decode_control = msgspec.json.Decoder(Control).decode
decode_recommendation_set = msgspec.json.Decoder(RecommendationSet).decode
decode_default_recommendations = msgspec.json.Decoder(DefaultRecommendations).decode
decode_intent_signal = msgspec.json.Decoder(IntentSignal).decode
decode_recommendation_outcome = msgspec.json.Decoder(RecommendationOutcome).decode
decode_session_summary = msgspec.json.Decoder(SessionSummary).decode
decode_trending = msgspec.json.Decoder(Trending).decode
decode_visitor_recommendations = msgspec.json.Decoder(VisitorRecommendations).decode


def encode(record: msgspec.Struct) -> bytes:
    """Serialise a wire record as compact UTF-8 JSON."""
    return _encoder.encode(record)
