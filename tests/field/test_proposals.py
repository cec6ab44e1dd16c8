"""Records in the shapes that shops have, sampled: what the doctor proposes for them, and what then arrives."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from agents.doctor.mapping_proposal import Proposal, propose
from schemas.mapping import FieldMapping
from schemas.state import InputPosition
from streams.records import InputRecord

TIME_MS = 1_795_168_900_000
"""2026-11-20 10:01:40 UTC, after all events."""


def proposed(*records: tuple[str | None, Mapping[str, Any]]) -> Proposal:
    """Propose a mapping for keys and values."""
    return propose(
        [
            InputRecord(InputPosition("shop", 0, number), None if key is None else key.encode(), _json(value), TIME_MS)
            for number, (key, value) in enumerate(records)
        ]
    )


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode()


def counts(found: Proposal) -> tuple[int, int, int]:
    """Return how many records are readable, ignored and refused."""
    return found.trial.readable, found.trial.ignored, found.trial.rejected.total()


def tracked(number: int, event: str | None, user: str | None = None, **properties: Any) -> dict[str, Any]:
    """Write a call as customer data platforms do."""
    call = {
        "type": "track" if event else "page", "messageId": f"m{number}", "anonymousId": "anon-1", "userId": user,
        "timestamp": f"2026-11-20T10:00:0{number}.000Z", "properties": properties,
    }  # fmt: skip
    return call | ({"event": event} if event else {})


ORDER_CALLS = (
    ("m1", tracked(1, "Product Viewed", product_id="chair", price=40)),
    ("m2", tracked(2, "Product List Viewed", products=[{"product_id": "chair"}, {"product_id": "lamp"}])),
    (
        "m3",
        tracked(
            3,
            "Order Completed",
            products=[
                {"product_id": "chair", "price": 40, "quantity": 1},
                {"product_id": "lamp", "price": 9.5, "quantity": 2},
            ],
        ),
    ),
    ("m4", tracked(4, None, path="/")),
)


def test_an_order_of_two_lines_is_two_purchases() -> None:
    """Of calls that are keyed by message: a view, an order, and a list and a page that are not for us."""
    found = proposed(*ORDER_CALLS)
    assert counts(found) == (2, 2, 0)
    assert found.trial.interactions == {"view": 1, "purchase": 2}
    assert (found.trial.keyed, "insession rekey" in found.toml()) == (0, True)
    assert any('"Product List Viewed"' in question for question in found.questions)


def exported(number: int, name: str, *items: Mapping[str, Any], **params: str) -> tuple[str, dict[str, Any]]:
    """Write a row as an analytics export has it: names and values in lists, times as text."""
    values = [{"key": "ga_session_id", "value": {"string_value": None, "int_value": "77"}}]
    values += [{"key": key, "value": {"string_value": text, "int_value": None}} for key, text in params.items()]
    return "11.22", {
        "event_timestamp": f"179516880{number}000000", "event_name": name, "user_pseudo_id": "11.22", "user_id": None,
        "event_params": values, "device": {"category": "mobile"}, "geo": {"country": "Germany"}, "items": list(items),
    }  # fmt: skip


CHAIR = {"item_id": "chair", "price": 40.0, "quantity": 1}
LAMP = {"item_id": "lamp", "price": 9.5, "quantity": 1}
EXPORT_ROWS = (
    exported(1, "page_view"),
    exported(2, "view_search_results", search_term="oak chair"),
    exported(3, "view_item", CHAIR),
    exported(4, "purchase", CHAIR, LAMP),
)


def test_items_and_search_terms_of_an_export_are_reached() -> None:
    """Through lists of items, and lists of names and values."""
    found = proposed(*EXPORT_ROWS)
    assert counts(found) == (3, 1, 0)
    assert found.trial.interactions == {"search": 1, "view": 1, "purchase": 2}
    assert (found.trial.filled["query"], found.trial.filled["session_id"], found.trial.keyed) == (1, 4, 3)


@pytest.mark.parametrize(("name", "records"), [("segment", ORDER_CALLS), ("ga4", EXPORT_ROWS)])
def test_a_vendors_records_are_recognised(name: str, records: tuple[tuple[str, dict[str, Any]], ...]) -> None:
    """Its format also knows what the sample does not show."""
    assert proposed(*records).mapping.format == name


def test_a_login_in_mid_session_loses_no_click() -> None:
    """Cookie and customer are both named; which of them goes first is the keys' word, or the format's."""
    found = proposed(
        ("anon-1", tracked(1, "Product Viewed", product_id="chair")),
        ("anon-1", tracked(2, "Product Viewed", product_id="lamp")),
        ("user-7", tracked(3, "Product Added", "user-7", product_id="lamp")),
        ("user-7", tracked(4, "Product Viewed", "user-7", product_id="rug")),
    )
    assert counts(found) == (4, 0, 0)
    assert found.trial.interactions == {"view": 3, "cart": 1}


def test_codes_of_event_types_are_asked_about_and_promise_nothing() -> None:
    """What 1 to 4 mean, only the shop knows; with it, every one arrives."""
    times = [f"2026-11-20T10:00:0{number}.000Z" for number in range(1, 5)]
    records = [("7", {"user_id": 7, "item_id": 5, "behavior": n, "time": time}) for n, time in enumerate(times, 1)]
    found = proposed(*records)
    assert found.mapping.paths == {"visitor_id": "user_id", "event_type": "behavior", "event_time": "time"}
    assert counts(found) == (0, 4, 0)
    assert [f'event type "{n}"' in question for n, question in enumerate(found.questions, 1)] == [True] * 4


def test_an_order_without_an_item_in_reach_is_read_by_its_lines_or_not_promised() -> None:
    """The key is the order's: what is promised is what arrives behind rekey."""
    orders = [
        {
            "id": f"n{number}", "type": "OrderCreated", "createdAt": f"2026-11-20T10:00:{number:02}.000Z",
            "order": {"type": "Order", "anonymousId": f"anon-{number % 3}"},
        }
        for number in range(12)
    ]  # fmt: skip
    lines = [{"productId": "chair", "quantity": 1}]
    found = proposed(
        *((f"o{n}", order | {"order": order["order"] | {"lineItems": lines}}) for n, order in enumerate(orders))
    )  # type: ignore[operator]
    assert (counts(found), found.trial.keyed) == ((12, 0, 0), 0)
    assert found.trial.interactions == {"purchase": 12}
    without = proposed(*((f"o{number}", order) for number, order in enumerate(orders)))
    assert counts(without) == (0, 0, 12)
    assert any("no item is found" in question for question in without.questions)


def test_the_address_of_a_page_is_no_location() -> None:
    """It lies under `location.href`."""
    found = proposed(
        *(
            (
                f"cl-{number % 5}",
                {
                    "id": f"p{number}", "name": "product_viewed", "clientId": f"cl-{number % 5}",
                    "timestamp": f"2026-11-20T10:00:{number:02}.000Z",
                    "context": {"document": {"location": {"href": "https://shop.example/"}}},
                    "data": {"productVariant": {"product": {"id": str(number % 7)}}},
                },
            )
            for number in range(24)
        )
    )  # fmt: skip
    assert counts(found) == (24, 0, 0)
    assert found.trial.filled["location"] == 0


def plain(number: int, visitor: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    """Write a view as ours."""
    event = {"event_type": "view", "event_time": 1_795_168_800_000 + number, "item_id": "chair"}
    return visitor, {"visitor_id": visitor, **event, "event_id": f"e{number}", **fields}


def test_a_visitor_undefined_is_warned_of() -> None:
    """A third of the records is of nobody."""
    found = proposed(*(plain(number, f"v{number}" if number % 3 else "undefined") for number in range(24)))
    assert counts(found) == (24, 0, 0)
    assert [one for one in found.warnings if "8 of 24" in one and "'undefined'" in one] == list(found.warnings)


@pytest.mark.parametrize(("odd", "readable"), [("granted", 24), ("sometimes", 23)])
def test_one_odd_consent_leaves_consent_where_it_is(odd: str, readable: int) -> None:
    """A word for yes is read; another one refuses its record, and is asked about."""
    found = proposed(*(plain(n, f"v{n % 6}", consent=odd if n == 11 else n % 4 > 0) for n in range(24)))
    assert found.mapping == FieldMapping()
    assert counts(found) == (readable, 0, 24 - readable)
    assert any(odd in question for question in found.questions) is (odd == "sometimes")
