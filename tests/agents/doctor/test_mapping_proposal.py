import json
import random
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.doctor.mapping_guess import NOWHERE, guess
from agents.doctor.mapping_proposal import Proposal, propose
from agents.settings import load_settings
from schemas.mapping import FIELDS, FieldMapping
from schemas.state import InputPosition
from streams.records import InputRecord

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


def record(key: str | None, value: Any, number: int = 0) -> InputRecord:
    """Make a record of a shop's topic; bytes stay as they are."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    key_bytes = None if key is None else key.encode()
    return InputRecord(InputPosition("shop", 0, number), key_bytes, content, int(NOW.timestamp() * 1000))


def records_of(shop: Shop, count: int = 300) -> list[InputRecord]:
    """Let a shop write."""
    dice = random.Random(7)
    return [record(*shop(dice, number), number) for number in range(count)]


def proposal(shop: Shop, count: int = 300) -> Proposal:
    """Propose a mapping for a shop's records."""
    return propose(records_of(shop, count))


def paths_of(values: list[dict[str, Any]], keys: list[str] | None = None) -> dict[str, Any]:
    """Guess where the fields of these events are."""
    names = keys or [""] * len(values)
    return guess([(record(key, value), value) for key, value in zip(names, values, strict=True)]).mapping.paths


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
    found = guess([(one, json.loads(one.value or b"")) for one in records_of(shop)])
    assert found.mapping.paths == EXPECTED[shop]
    assert found.mapping.time_format is None


@pytest.mark.parametrize(
    ("shop", "share"), [(nested, 0.8), (camel, 1.0), (track, 0.8), (all_strings, 1.0), (ours, 1.0)]
)
def test_the_share_that_can_be_read_is_what_the_mapping_is_worth(shop: Shop, share: float) -> None:
    """All but the events that are none of ours, which are ignored: a fifth are pages or mails in two of the shops."""
    trial = proposal(shop).trial
    assert trial.readable / trial.records == pytest.approx(share, abs=0.06)
    assert (trial.readable + trial.ignored, trial.rejected.total()) == (trial.records, 0)
    assert trial.interactions.total() == trial.readable


def test_words_of_the_shop_become_ours_and_the_rest_is_asked() -> None:
    """What nobody can guess is a question, with its share of the sample."""
    events = [(one, json.loads(one.value or b"")) for one in records_of(track)]
    assert guess(events).mapping.values == {
        "event_type": {
            "Order Completed": "purchase",
            "Product Added": "cart",
            "Product Viewed": "view",
            "Products Searched": "search",
        }
    }
    assert any('"Email Opened"' in question for question in proposal(track).questions)


def test_keys_that_are_no_visitors_are_told() -> None:
    """The track calls are keyed by message: the proposal says that they need another key."""
    found = proposal(track)
    assert (found.trial.keyed, found.trial.readable > 0) == (0, True)
    assert "insession rekey" in found.toml()
    assert proposal(camel).trial.keyed == 300


def test_each_list_that_holds_likely_items_and_is_not_read_is_asked_about() -> None:
    """Here the event names an item beside the list; which of them it is about, nobody can guess."""

    def with_lists(dice: random.Random, number: int) -> tuple[str, dict[str, Any]]:
        visitor, value = camel(dice, number)
        lines = [{"productId": 7, "colour": "red"}]
        return visitor, value | {"recommended": lines, "basket": {"lines": lines}}

    asked = "\n".join(proposal(with_lists).questions)
    assert 'item_id = "recommended[].productId"' in asked
    assert 'item_id = "basket.lines[].productId"' in asked


@pytest.mark.parametrize("shop", EXPECTED)
def test_the_toml_is_settings_that_load(shop: Shop, tmp_path: Path) -> None:
    """What is printed can be appended to the settings file as it is."""
    found = proposal(shop)
    file = tmp_path / "insession.toml"
    file.write_text(found.toml())
    assert load_settings(file=file, environment={}).clickstream.mapping == found.mapping


def test_a_field_with_our_name_and_another_meaning_is_hidden() -> None:
    """A location that is an object would be left out of every record, and counted each time."""

    def with_place(dice: random.Random, number: int) -> tuple[str, dict[str, Any]]:
        visitor, value = ours(dice, number)
        return visitor, value | {"location": {"latitude": dice.random(), "longitude": dice.random()}}

    found = proposal(with_place)
    assert found.mapping.paths == {"location": NOWHERE}
    assert (found.trial.readable, found.trial.repairs) == (300, {})


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b"3", b'{"a": {"b": []}}', b"[" * 100_000])
def test_what_is_no_shop_is_all_questions(value: bytes) -> None:
    """Whatever lies in the topic, the answer is a mapping that loads and the fields that are missing."""
    found = propose([InputRecord(InputPosition("t", 0, 0), None, value, 0)])
    assert found.mapping == FieldMapping()
    assert found.trial.readable == 0
    assert sum("which one is it?" in question for question in found.questions) == 4


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["view", "v\x7fiew"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*FIELDS, "id", "items", "key", "value"]) | st.text(max_size=9), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@given(values=st.lists(JSON, max_size=5), key=st.none() | st.text(max_size=5))
@settings(max_examples=100)
def test_whatever_a_topic_holds_the_proposal_is_a_mapping_that_loads(values: list[Any], key: str | None) -> None:
    """And every record of the sample is readable, ignored or refused."""
    found = propose([record(key, json.dumps(value).encode(errors="replace")) for value in values])
    section = tomllib.loads(found.toml())["clickstream"]["mapping"]
    assert msgspec.convert(section, FieldMapping) == found.mapping
    trial = found.trial
    assert trial.readable + trial.ignored + trial.rejected.total() == trial.records == len(values)


def test_hostile_names_cannot_break_the_toml() -> None:
    """Quotes, line ends, escapes and comment signs of a shop stay inside their strings and comments."""
    name = 'event"type\n[kafka]\nbrokers = "evil"\x1b[31m # '
    value = {"visitor_id": "v", "event_type": name, name: "view", "event_time": NOW.isoformat(), "item_id": "i"}
    found = propose([InputRecord(InputPosition("t", 0, 0), b"v", json.dumps(value).encode(), 0)])
    assert set(tomllib.loads(found.toml())) == {"clickstream"}
    assert "\x1b" not in found.toml()


def test_lines_of_an_order_are_items_with_their_own_price_and_quantity() -> None:
    """Views name their item, orders a list of them: both places are taken, each with the price beside it."""
    view = {"uid": "v", "event": "view", "ts": 1_700_000_000, "product": {"id": "chair", "price": 40}}
    lines = [{"sku": "lamp", "unitPrice": "9,50", "qty": 2}, {"sku": "rug", "unitPrice": 7, "qty": 1}]
    order = {"uid": "v", "event": "Order Placed", "ts": 1_700_000_001, "order": {"total": 26, "lines": lines}}
    found = propose([record("v", view), record("v", order)])
    assert found.trial.interactions == {"view": 1, "purchase": 2}
    assert (found.trial.filled["price"], found.trial.filled["quantity"]) == (3, 2)


def test_what_is_there_goes_before_what_has_a_nicer_name() -> None:
    """A path in every record is taken, and one in a tenth of them only where the other is missing."""
    values = [{"event": "view", "ts": 1_700_000_000, "sku": "s", "client_ref": f"c{n % 9}"} for n in range(50)]
    often = [value | {"uid": f"u{number % 9}"} for number, value in enumerate(values)]
    some = [value | ({"visitor_id": "v"} if number % 10 == 0 else {}) for number, value in enumerate(often)]
    assert paths_of(some)["visitor_id"] == "uid"


def test_paths_add_up_until_every_record_is_reached() -> None:
    """Two shapes in one topic name the visitor by two fields."""
    one = {"event": "view", "ts": 1_700_000_000, "sku": "s", "customerId": "c"}
    other = {"event": "view", "ts": 1_700_000_000, "sku": "s", "cookieId": "k"}
    assert set(paths_of([one, other] * 10)["visitor_id"]) == {"customerId", "cookieId"}


def test_of_customer_and_cookie_the_record_key_says_which_goes_first() -> None:
    """Without a key that tells, the one that every record has stays, so that a login does not split a session."""
    before = {"event": "view", "ts": 1_700_000_000, "sku": "s", "anonymousId": "a", "userId": None}
    after = before | {"userId": "u"}
    assert paths_of([before, after] * 10)["visitor_id"] == "anonymousId"
    assert paths_of([before, after] * 10, ["a", "u"] * 10)["visitor_id"] == ("userId", "anonymousId")


def test_a_key_that_comes_again_is_the_visitor_where_no_path_is() -> None:
    """It is asked, all the same."""
    values = [record(f"v{number % 3}", {"event": "view", "ts": 1_700_000_000, "sku": "s"}) for number in range(30)]
    found = propose(values)
    assert found.mapping.paths["visitor_id"] == "$record.key"
    assert (found.trial.readable, found.trial.keyed) == (30, 30)
    assert any("does it name the shopper?" in question for question in found.questions)


@pytest.mark.parametrize("values", [["true", "maybe"], [True, "?"], ["granted", "C0001,C0002"]])
def test_consent_stays_mapped_whatever_odd_values_it_has(values: list[Any]) -> None:
    """Few or many: they are asked about, and their records are not promised."""
    plain = {"uid": "v", "event": "view", "ts": 1_700_000_000, "sku": "s"}
    found = propose([record("v", plain | {"trackingConsent": value}) for value in values * 10])
    assert found.mapping.paths["consent"] == "trackingConsent"
    assert found.trial.readable == 10
    assert any(values[1] in question and "consent" in question for question in found.questions)


def test_one_no_among_many_records_is_consent() -> None:
    """A field in few records is luck elsewhere; here it is a shopper's word."""
    plain = {"uid": "v", "event": "view", "ts": 1_700_000_000, "sku": "s"}
    assert paths_of([plain] * 500 + [plain | {"analyticsConsent": False}])["consent"] == "analyticsConsent"


@pytest.mark.parametrize("value", ["ada@example.org", "+31 20 123 45 67"])
def test_what_says_who_somebody_is_becomes_no_field(value: str) -> None:
    """Whatever its name: the next path is taken, and a warning tells."""
    plain = {"event": "view", "ts": 1_700_000_000, "sku": "s", "clientId": "c", "customer": {"email": "a@b.example"}}
    found = propose([record("c", plain | {"visitorId": value})] * 3)
    assert found.mapping.paths["visitor_id"] == "clientId"
    assert any("visitorId looks like visitor_id but says who somebody is" in one for one in found.warnings)
    assert value not in found.toml()


@pytest.mark.parametrize("place", ["https://shop.example/a", "/sale?page=2", "www.shop.example"])
def test_an_address_is_no_location(place: str) -> None:
    """Of the web, it says where the page is; a field of that name is hidden."""
    plain = {"visitor_id": "v", "event_type": "view", "event_time": 1_700_000_000_000, "item_id": "i"}
    assert paths_of([plain | {"location": place}] * 20) == {"location": NOWHERE}


def test_a_point_on_a_map_is_no_location() -> None:
    """It says where somebody stands, and hardly two shoppers share it."""
    plain = {"visitor_id": "v", "event_type": "view", "event_time": 1_700_000_000_000, "item_id": "i"}
    assert paths_of([plain | {"location": {"lat": 52.1, "lon": 4.9}}] * 20) == {"location": NOWHERE}


def test_a_few_odd_values_hide_no_field() -> None:
    """What cannot be read there is repaired or left out by the record, and counted."""
    plain = {"visitor_id": "v", "event_type": "view", "event_time": 1_700_000_000_000, "item_id": "i"}
    values = [{"price": 4}] * 6 + [{"price": {}}, {"price": "ask"}, {"price": -1}]
    found = propose([record("v", plain | value) for value in values])
    assert found.mapping == FieldMapping()
    assert (found.trial.readable, found.trial.repairs) == (9, {"price": 3})
    assert "# repaired or left out: price 3" in found.toml()


def test_times_without_an_offset_are_asked_about() -> None:
    """They are read as UTC until the settings name a zone; patterns that no one format covers are named."""
    plain = {"visitor_id": "v", "event_type": "view", "item_id": "i"}
    local = propose([record("v", plain | {"event_time": "2026-01-05 11:00:00"})])
    german = propose([record("v", plain | {"event_time": "05.01.2026 11:00"})])
    assert (local.mapping.time_format, german.mapping.time_format) == (None, "%d.%m.%Y %H:%M")
    for found in (local, german):
        assert found.trial.readable == 1
        assert any("which time_zone" in question for question in found.questions)


def test_names_with_dots_and_lists_of_names_and_values_are_reached() -> None:
    """They are spelled as the mapping reads them."""
    value = {
        "user.id": "v", "event": "view", "ts": 1_700_000_000, "sku": "s",
        "params": [{"key": "other", "value": 3}, {"key": "session_id", "value": {"int_value": 77}}],
    }  # fmt: skip
    found = propose([record("v", value)])
    assert found.mapping.paths["visitor_id"] == '"user.id"'
    assert found.mapping.paths["session_id"] == "params[key=session_id].value.int_value"
    assert (found.trial.readable, found.trial.filled["session_id"]) == (1, 1)


def test_several_events_in_a_record_are_counted_apart() -> None:
    """A list of events of two visitors is two records behind rekey, and one of the sample."""
    one = {"uid": "v", "event": "view", "ts": 1_700_000_000, "sku": "s"}
    found = propose([record("batch-1", [one, one | {"uid": "w"}, one | {"event": "scroll"}])])
    assert (found.trial.records, found.trial.readable, found.trial.keyed) == (1, 1, 0)
    assert found.trial.interactions == {"view": 2}
    assert found.seen.framing == "json list"


def test_one_visitor_for_a_large_share_is_told() -> None:
    """A shopper does not make half of a clickstream, and `null` is nobody."""
    plain = {"event_type": "view", "event_time": 1_700_000_000_000, "item_id": "i"}
    names = ["crawler"] * 20 + ["null"] + [f"v{number}" for number in range(19)]
    found = propose([record(name, plain | {"visitor_id": name}) for name in names])
    assert [name for name in ("crawler", "null", "v1") if any(repr(name) in one for one in found.warnings)] == [
        "crawler",
        "null",
    ]
