from typing import Any

import pytest

from schemas.availability import end_ms, is_available, sale_at
from schemas.events import from_unix_ms
from schemas.ids import ItemId
from schemas.places import LocationSettings
from schemas.records import CatalogItem, Sale

NOW_MS = 1_700_000_000_000
PLACES = LocationSettings()


def item(**fields: Any) -> CatalogItem:
    """Describe an item."""
    return CatalogItem(item_id=ItemId("tv"), **fields)


@pytest.mark.parametrize("in_text", [False, True])
@pytest.mark.parametrize(
    ("begin", "end", "is_open"),
    [
        (None, None, True),
        (0, None, True),
        (1, None, False),
        (None, 1, True),
        (None, 0, False),
        (-1, 1, True),
    ],
)
def test_a_time_is_from_its_beginning_up_to_its_end(
    begin: int | None, end: int | None, *, is_open: bool, in_text: bool
) -> None:
    """To the millisecond, in either spelling; what is open on a side has no bound there."""

    def moment(offset_ms: int | None) -> Any:
        at_ms = None if offset_ms is None else NOW_MS + offset_ms
        return from_unix_ms(at_ms) if in_text and at_ms is not None else at_ms

    described = item(available_from=moment(begin), available_until=moment(end))
    assert is_available(described, None, NOW_MS, PLACES) is is_open
    sale = Sale(price=1.0, starts_at=moment(begin), ends_at=moment(end))
    assert (sale_at(item(sale=sale), None, NOW_MS, PLACES) is not None) is is_open


def test_a_sale_hides_no_item() -> None:
    """Neither before it nor after it, nor where it is not: it is a price."""
    sale = Sale(price=1.0, starts_at=NOW_MS, ends_at=NOW_MS + 5, locations=["be"])
    described = item(sale=sale, available_until=NOW_MS + 99)
    assert all(is_available(described, "nl", NOW_MS + at_ms, PLACES) for at_ms in (-1, 0, 4, 5, 6))


def test_a_sale_is_where_it_is() -> None:
    """And in what lies there; who is nobody knows where may be there."""
    described = item(sale=Sale(price=1.0, locations=["nl"]))
    found = [sale_at(described, place, NOW_MS, PLACES) for place in ("nl", "nl/nh", "be", None)]
    assert [sale is not None for sale in found] == [True, True, False, True]


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({}, None),
        ({"available_until": NOW_MS + 9}, 9),
        ({"available_until": NOW_MS + 9, "sale": Sale(price=1.0, ends_at=NOW_MS + 5)}, 5),
        ({"available_until": NOW_MS + 3, "sale": Sale(price=1.0, ends_at=NOW_MS + 5)}, 3),
        ({"sale": Sale(price=1.0)}, None),
        ({"sale": Sale(price=1.0, starts_at=NOW_MS + 1, ends_at=NOW_MS + 5)}, None),
        ({"sale": Sale(price=1.0, ends_at=NOW_MS)}, None),
        ({"sale": Sale(price=1.0, ends_at=NOW_MS + 5, locations=["be"])}, None),
    ],
)
def test_what_ends_first_ends_a_list(fields: dict[str, Any], end: int | None) -> None:
    """The item, or the sale that it is in where the list is shown."""
    assert end_ms(item(**fields), "nl", NOW_MS, PLACES) == (None if end is None else NOW_MS + end)
