from datetime import UTC, datetime

import jsonschema
import msgspec
import pytest

from schemas import wire
from schemas.events import ClickEvent, Erase, Tick
from schemas.handovers import Adoption, Handover
from schemas.ids import EventId, ItemId, ModelVersion, RuleId, SessionId, VisitorId
from schemas.json_schema import RECORDS, SCHEMA_DIRECTORY, generate
from schemas.records import (
    CatalogItem,
    DefaultRecommendations,
    IntentSignal,
    RecommendationOutcome,
    RecommendationSet,
    RecommendedItem,
    SessionEvent,
    SessionSummary,
)
from schemas.rules import MerchantRule
from schemas.state import InputPosition, OpenSession

NOW = datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)
EXAMPLES = {
    "catalog-item": CatalogItem(item_id=ItemId("i1"), title="Oak table", price=10.5, locations=["Oslo"]),
    "click-event": ClickEvent(visitor_id=VisitorId("v"), event_type="view", event_time=NOW, item_id=ItemId("i1")),
    "control": Tick(next_offset=3, stream_time_ms=5),
    "default-recommendations": DefaultRecommendations(
        items=[RecommendedItem(ItemId("i2"), 1.0)], source="popular", updated_at=NOW
    ),
    "intent-signal": IntentSignal(
        id="c-0-1",
        visitor_id=VisitorId("v"),
        session_id=SessionId("s"),
        event_id=EventId("e"),
        event_time=NOW,
        prefix_length=1,
        purchase_status="calibrated",
        purchase_probability=0.25,
        purchase_source="model",
        leave_probability=0.5,
        cart_abandonment_probability=0.75,
        pattern="browsing",
    ),
    "merchant-rule": MerchantRule(
        rule_id=RuleId("r"), action="pin", items=(ItemId("i1"),), position=2, where=("nl/nh",), starts_at=NOW
    ),
    "recommendation-outcome": RecommendationOutcome(
        id="c-0-2",
        recommendation_id="c-0-1",
        visitor_id=VisitorId("v"),
        session_id=SessionId("s"),
        event_id=EventId("e"),
        event_time=NOW,
        action="click",
        item_id=ItemId("i2"),
        position=1,
        tier="model",
        model_version=ModelVersion(3),
        delay_ms=900,
    ),
    "recommendation-set": RecommendationSet(
        id="c-0-1",
        status="answered",
        visitor_id=VisitorId("v"),
        event_id=EventId("e"),
        event_time=NOW,
        items=[RecommendedItem(ItemId("i2"), 0.5)],
        tier="model",
        model_version=ModelVersion(3),
    ),
    "session-summary": SessionSummary(
        id="c-0-1-k",
        visitor_key="k",
        session_id=SessionId("s"),
        end_reason="inactivity",
        started_at=NOW,
        ended_at=NOW,
        event_count=1,
        events=[SessionEvent("view", 5, ItemId("i1"))],
    ),
}


@pytest.mark.parametrize("name", RECORDS)
def test_published_schema_equals_the_structs(name: str) -> None:
    """The committed JSON Schema is what the structs generate; `make schemas` writes it."""
    assert (SCHEMA_DIRECTORY / f"{name}.json").read_bytes() == generate(name)


def test_no_schema_is_published_without_a_struct() -> None:
    """Every committed schema file belongs to a record type."""
    assert {path.stem for path in SCHEMA_DIRECTORY.glob("*.json")} == set(RECORDS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_encoded_records_satisfy_their_schema(name: str) -> None:
    """What is written to the wire is valid under the published schema."""
    validator = jsonschema.Draft202012Validator(msgspec.json.decode(generate(name)))
    validator.validate(msgspec.json.decode(wire.encode(EXAMPLES[name])))


def test_schema_refuses_an_unknown_event_type() -> None:
    """A consumer that validates against the schema refuses what the worker would dead-letter."""
    validator = jsonschema.Draft202012Validator(msgspec.json.decode(generate("click-event")))
    assert not validator.is_valid({"visitor_id": "v", "event_type": "teleport", "event_time": 1})


def test_control_records_round_trip_by_their_kind() -> None:
    """They share a topic and are told apart by `kind`; an erasure as it is documented reaches every id."""
    source = InputPosition("clickstream", 0, 7)
    session = OpenSession(SessionId("s"), None, 1, 2, 1, (SessionEvent("view", 2, ItemId("i")),), (2**64 - 1,))
    for record in (
        Tick(next_offset=3, stream_time_ms=5),
        Erase(visitor_id=VisitorId("v")),
        Erase(visitor_id=VisitorId("v"), reach="self", request_id="r"),
        Handover(visitor_id=VisitorId("a"), to=VisitorId("v"), partition=1, until_ms=5),
        Adoption(visitor_id=VisitorId("v"), predecessor=VisitorId("a"), source=source, sessions=(session,)),
    ):
        assert wire.decode_control(wire.encode(record)) == record
    assert wire.decode_control(b'{"kind": "erase", "visitor_id": "v"}') == Erase(visitor_id=VisitorId("v"), reach="all")
