import json
from time import process_time
from typing import Any

import pytest

from schemas.click_reader import ClickReader, Clicks
from schemas.field_values import read_price, read_quantity
from schemas.mapping import FieldMapping


@pytest.mark.parametrize(
    "odd",
    [
        10**400,
        -(10**400),
        {"amount": 10**400},
        {"centAmount": 10**400},
        {"centAmount": 1, "fractionDigits": "x"},
        {"centAmount": 1, "fractionDigits": None},
        {"centAmount": 1, "fractionDigits": [1]},
        {"centAmount": 1, "fractionDigits": float("inf")},
    ],
)
def test_a_number_that_no_float_can_hold_costs_the_field_and_not_the_click(odd: Any) -> None:
    """An integer of any length, and money of any make, is an odd value of its field."""
    value = {"event_type": "view", "visitor_id": "v1", "item_id": "i1", "event_time": "2026-11-20T10:00:00Z"}
    for field, read in (("price", read_price), ("quantity", read_quantity)):
        clicks = ClickReader(FieldMapping()).read(b"v1", json.dumps({**value, field: odd}).encode(), 1_795_168_800_000)
        assert isinstance(clicks, Clicks)
        assert read(odd).value is None


def test_money_keeps_its_fraction_digits() -> None:
    """Minor units are read by the digits that stand beside them, two where none do."""
    assert read_price({"centAmount": 1250}).value == 12.5
    assert read_price({"centAmount": 1250, "fractionDigits": 3}).value == 1.25


@pytest.mark.parametrize("price", [0, 3, "4", {"amount": 5}])
def test_a_price_is_a_float_however_it_is_written(price: Any) -> None:
    """What a session holds of it has the same bytes before and after it was stored."""
    assert isinstance(read_price(price).value, float)


def test_a_long_text_is_no_price_and_takes_no_time() -> None:
    """A producer that sends a text of digits does not hold up the others."""
    began = process_time()
    assert read_price("1" * 60_000 + ",2").repair == "unreadable"
    assert process_time() - began < 1


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("12,95", 12.95),
        ("EUR 1.299,00", 1299.0),
        ("$1,299.50", 1299.5),
        ("CHF 1'299.00", 1299.0),
        ("1 299,00 kr", 1299.0),
        ("Rs. 1,00,000", 100_000.0),
        ("12.95 \u20ac", 12.95),
        ("1,299", 1299.0),
        ("1.299", 1.299),
        ("1/2", None),
        ("0x10", None),
        ("3 for 2", None),
        ("1,2,3", None),
        ("(5.00)", None),
        ("12%", None),
        ("9-12", None),
        ("from 12 to 15", None),
        ("on request", None),
    ],
)
def test_a_price_in_a_text_is_one_number_with_a_currency(text: str, price: float | None) -> None:
    """Signs of thousands and of decimals as they are written in the world; what is no price is not guessed at."""
    assert read_price(text).value == price
