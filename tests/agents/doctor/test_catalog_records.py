import json
from typing import Any

import pytest

from agents.doctor.catalog_records import CHECK, catalog_findings
from agents.doctor.findings import Finding, Level
from schemas.catalog_mapping import OURS, CatalogMapping
from schemas.catalog_reader import CatalogReader
from schemas.state import InputPosition
from streams.records import InputRecord


def record(key: str, value: Any) -> InputRecord:
    """Make a record of the catalog."""
    return InputRecord(InputPosition("catalog", 0, 0), key.encode(), value and json.dumps(value).encode(), 0)


def examined(*records: InputRecord, mapping: CatalogMapping = OURS) -> list[Finding]:
    """Return the findings."""
    return list(catalog_findings(records, CatalogReader(mapping)))


def test_a_readable_catalog_is_well() -> None:
    """Tombstones are, too; what was repaired is told beside it."""
    found = examined(record("a", {"item_id": "a", "price": "1,50"}), record("b", None))
    assert [(one.check, one.level) for one in found] == [(CHECK, Level.OK)] * 2
    assert "price reformatted 1" in found[1].message


def test_of_each_item_the_last_record_counts() -> None:
    """An update that could not be read was mended; one that cannot is told with its reason and the words found."""
    good, bad = {"item_id": "a"}, {"item_id": "a", "available": "perhaps"}
    assert examined(record("a", bad), record("a", good))[0].level is Level.OK
    found = examined(record("a", good), record("a", bad), record("b", {"item_id": "b"}))[0]
    assert found.level is Level.WARNING
    assert "1 of 2 items" in found.message
    assert "unclear_availability 1 (available is 'perhaps'" in found.message


@pytest.mark.parametrize("value", [{"sku": "a", "stock": 3}, {"item_id": "b"}])
def test_a_catalog_of_which_most_cannot_be_read_is_an_error(value: dict[str, Any]) -> None:
    """The remedy is a mapping."""
    found = examined(record("a", value))[0]
    assert (found.level, "--catalog" in found.remedy) == (Level.ERROR, True)


def test_a_catalog_in_which_everything_is_sold_out_is_told() -> None:
    """Mostly it is the mapping that takes another field for the stock."""
    found = examined(record("a", {"item_id": "a", "available": 0}))
    assert [one.level for one in found] == [Level.OK, Level.WARNING]


def test_an_empty_catalog_is_not_checked() -> None:
    """A shop need not have one; it is told what it then does without."""
    (found,) = examined()
    assert (found.level, "invented" in found.message) == (Level.UNCHECKED, True)
