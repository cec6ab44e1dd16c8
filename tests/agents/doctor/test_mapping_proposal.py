import json
import random
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.doctor.mapping_proposal import NOWHERE, Proposal, propose
from agents.settings import load_settings
from schemas.mapping import FieldMapping
from schemas.state import InputPosition
from streams.dead_letters import InputRecord

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
Shop = Callable[[random.Random, int], tuple[str, dict[str, Any]]]
"""Gives a record's key and value."""


def nested(dice: random.Random, number: int) -> tuple[str, dict[str, Any]]:
    """Write as an analytics export does: microseconds as text, parameters in objects, pages among the events."""
    visitor = f"{dice.randrange(50)}.1700000000"
    return visitor, {
        "event_name": dice.choice(["view_item", "view_item", "add_to_cart", "purchase", "page_view"]),
        "event_timestamp": str(int(NOW.timestamp() * 1e6) + number * 1_000_003),
        "user_pseudo_id": visitor,
        "ga_session_id": 1_700_000 + dice.randrange(40),
        "device": {"category": dice.choice(["mobile", "desktop"]), "language": "en"},
        "geo": {"country": dice.choice(["NL", "DE"])},
        "item": {"item_id": f"SKU_{dice.randrange(99)}", "price": dice.choice([9.5, 20, 3.25]), "quantity": 1},
        "items": [{"item_id": "SKU_1", "item_name": "Shoe"}],
    }


def camel(dice: random.Random, number: int) -> tuple[str, dict[str, Any]]:
    """Write camelCase with milliseconds and numeric ids; the key is the user's id."""
    visitor = dice.randrange(60)
    return str(visitor), {
        "userId": visitor,
        "eventType": dice.choice(["PRODUCT_VIEW", "ADD_TO_CART", "REMOVE_FROM_CART", "ORDER"]),
        "timestamp": int(NOW.timestamp() * 1000) + number * 700,
        "productId": dice.randrange(500),
        "sessionId": f"s{dice.randrange(70)}",
        "eventUuid": f"{dice.getrandbits(64):016x}",
        "unitPrice": dice.choice([1.0, 2.5]),
    }


def track(dice: random.Random, number: int) -> tuple[str, dict[str, Any]]:
    """Write track calls as customer data platforms send them; the key is the message's id."""
    message = f"m{dice.getrandbits(64):016x}"
    words = ["Product Viewed", "Product Added", "Order Completed", "Products Searched", "Email Opened"]
    return message, {
        "type": "track",
        "messageId": message,
        "anonymousId": f"a{dice.randrange(40)}",
        "event": dice.choice(words),
        "timestamp": (NOW + timedelta(seconds=number)).isoformat().replace("+00:00", "Z"),
        "properties": {"product_id": f"p{dice.randrange(80)}", "price": 10, "query": "red shoes"},
        "context": {"library": {"name": "web", "version": "4"}},
    }


def all_strings(dice: random.Random, number: int) -> tuple[str, dict[str, Any]]:
    """Write everything as text, in seconds, with a price and a consent."""
    visitor = f"v{dice.randrange(30)}"
    return visitor, {
        "visitor": visitor,
        "action": dice.choice(["detail", "basket", "buy"]),
        "ts": str(int(NOW.timestamp()) + number),
        "sku": f"{dice.randrange(10**6):06d}",
        "qty": str(dice.randrange(1, 4)),
        "price": f"{dice.randrange(1, 90)}.95",
        "tracking_consent": dice.choice(["true", "false"]),
    }


def ours(dice: random.Random, number: int) -> tuple[str, dict[str, Any]]:
    """Write ClickEvents as they are."""
    visitor = f"v{dice.randrange(30)}"
    value = {"visitor_id": visitor, "event_type": "view", "event_time": NOW.isoformat(), "item_id": f"i{number % 7}"}
    return visitor, value | {"event_id": f"e{number}"}


def proposal(shop: Shop, count: int = 300) -> Proposal:
    """Propose a mapping for a shop's records."""
    dice = random.Random(7)
    records = []
    for number in range(count):
        key, value = shop(dice, number)
        position = InputPosition("shop", 0, number)
        records.append(InputRecord(position, key.encode(), json.dumps(value).encode(), int(NOW.timestamp() * 1000)))
    return propose(records)


EXPECTED: dict[Shop, dict[str, str]] = {
    nested: {
        "visitor_id": "user_pseudo_id",
        "event_type": "event_name",
        "event_time": "event_timestamp",
        "item_id": "item.item_id",
        "session_id": "ga_session_id",
        "price": "item.price",
        "quantity": "item.quantity",
        "device": "device.category",
        "location": "geo.country",
    },
    camel: {
        "visitor_id": "userId",
        "event_type": "eventType",
        "event_time": "timestamp",
        "item_id": "productId",
        "session_id": "sessionId",
        "event_id": "eventUuid",
        "price": "unitPrice",
    },
    track: {
        "visitor_id": "anonymousId",
        "event_type": "event",
        "event_time": "timestamp",
        "item_id": "properties.product_id",
        "event_id": "messageId",
        "price": "properties.price",
        "query": "properties.query",
    },
    all_strings: {
        "visitor_id": "visitor",
        "event_type": "action",
        "event_time": "ts",
        "item_id": "sku",
        "quantity": "qty",
        "consent": "tracking_consent",
    },
    ours: {},
}


@pytest.mark.parametrize("shop", EXPECTED)
def test_each_shops_fields_are_found(shop: Shop) -> None:
    """Names, values and the record key lead to the paths that a person would choose."""
    assert proposal(shop).mapping.paths == EXPECTED[shop]


@pytest.mark.parametrize(
    ("shop", "unit", "share"),
    [
        (nested, "unix_us", 0.8),
        (camel, "unix_ms", 1.0),
        (track, "rfc3339", 0.8),
        (all_strings, "unix_s", 1.0),
        (ours, "rfc3339", 1.0),
    ],
)
def test_the_share_that_can_be_read_is_what_the_mapping_is_worth(shop: Shop, unit: str, share: float) -> None:
    """All but the events that are none of ours: a fifth are pages or mails in two of the shops."""
    found = proposal(shop)
    assert found.mapping.time_format == unit
    assert found.readable / found.sampled == pytest.approx(share, abs=0.06)
    assert found.readable + found.reasons.total() == found.sampled


def test_words_of_the_shop_become_ours_and_the_rest_is_asked() -> None:
    """What nobody can guess is a question, with its share of the sample."""
    found = proposal(track)
    assert found.mapping.values == {
        "event_type": {
            "Order Completed": "purchase",
            "Product Added": "cart",
            "Product Viewed": "view",
            "Products Searched": "search",
        }
    }
    assert any('"Email Opened"' in question for question in found.questions)


def test_keys_that_are_no_visitors_are_told() -> None:
    """The track calls are keyed by message: the proposal says that they need another key."""
    found = proposal(track)
    assert (found.keyed, found.readable > 0) == (0, True)
    assert "insession rekey" in found.toml()
    assert proposal(camel).keyed == 300


def test_items_in_a_list_are_asked_about() -> None:
    """A mapping does not reach into lists."""
    assert any('"items.item_id" lies in a list' in question for question in proposal(nested).questions)


@pytest.mark.parametrize("shop", EXPECTED)
def test_the_toml_is_settings_that_load(shop: Shop, tmp_path: Path) -> None:
    """What is printed can be appended to the settings file as it is."""
    found = proposal(shop)
    file = tmp_path / "insession.toml"
    file.write_text(found.toml())
    assert load_settings(file=file, environment={}).clickstream.mapping == found.mapping


def test_a_field_with_our_name_and_another_meaning_is_hidden() -> None:
    """A location that is an object would make every record unreadable."""

    def with_place(dice: random.Random, number: int) -> tuple[str, dict[str, Any]]:
        visitor, value = ours(dice, number)
        return visitor, value | {"location": {"latitude": dice.random(), "longitude": dice.random()}}

    found = proposal(with_place)
    assert found.mapping.paths == {"location": NOWHERE}
    assert found.readable == found.sampled


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b"3", b'{"a": {"b": []}}', b"[" * 100_000])
def test_what_is_no_shop_is_all_questions(value: bytes) -> None:
    """Whatever lies in the topic, the answer is a mapping that loads and the fields that are missing."""
    found = propose([InputRecord(InputPosition("t", 0, 0), None, value, 0)])
    assert found.mapping == FieldMapping()
    assert found.readable == 0
    assert sum("which one is it?" in question for question in found.questions) == 4


def test_hostile_names_cannot_break_the_toml() -> None:
    """Quotes, line ends, escapes and comment signs of a shop stay inside their strings and comments."""
    name = 'event"type\n[kafka]\nbrokers = "evil"\x1b[31m # '
    value = {"visitor_id": "v", "event_type": name, name: "view", "event_time": NOW.isoformat(), "item_id": "i"}
    found = propose([InputRecord(InputPosition("t", 0, 0), b"v", json.dumps(value).encode(), 0)])
    assert set(tomllib.loads(found.toml())) == {"clickstream"}
    assert "\x1b" not in found.toml()
