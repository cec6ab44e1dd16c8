import json
from collections.abc import Callable, Sequence

import pytest
from msgspec.structs import replace

from agents.doctor.findings import Finding, Level
from agents.doctor.records import CHECKS, record_clock_finding, record_findings
from schemas.click_reader import ClickReader
from schemas.mapping import FieldMapping
from schemas.state import InputPosition
from streams.cluster.partitioner import crc32_partition, murmur2_partition
from streams.records import InputRecord, Undecodable

PARTITIONS = 8
NOW_MS = 1_700_000_000_000


def record(
    visitor: str, *, key: bytes | None = None, value: bytes | None = None, by: Callable[[bytes, int], int] | None = None
) -> InputRecord:
    """Make a view of `visitor`, on the partition that `by` gives."""
    given = visitor.encode() if key is None else key
    event = {"visitor_id": visitor, "event_type": "view", "event_time": NOW_MS, "item_id": "i"}
    partition = (by or murmur2_partition)(given, PARTITIONS)
    content = json.dumps(event).encode() if value is None else value
    return InputRecord(InputPosition("clickstream", partition, 0), given, content, NOW_MS)


def examined(records: Sequence[InputRecord]) -> dict[str, Finding]:
    """Return the findings by their check."""
    return {one.check: one for one in record_findings(records, PARTITIONS, ClickReader(FieldMapping()))}


def test_good_records_are_all_well() -> None:
    """Keys, partitions and values as the worker expects them."""
    found = examined([record(f"v{number}") for number in range(50)])
    assert set(found) == set(CHECKS)
    assert {one.level for one in found.values()} == {Level.OK}


def test_crc32_is_told_by_name() -> None:
    """A producer with librdkafka's default partitioner is recognised, and the share that is wrong is told."""
    records = [record(f"v{number}", by=crc32_partition) for number in range(200)]
    found = examined(records)["partitioner"]
    misplaced = sum(one.position.partition != murmur2_partition(one.key or b"", PARTITIONS) for one in records)
    assert found.level is Level.ERROR
    assert found.message.startswith(f"{misplaced} of 200 records ({misplaced / 200:.0%})")
    assert "murmur2_random" in found.remedy


def test_what_the_client_cannot_decode_is_told() -> None:
    """A record may be good but for a header's name: the worker dead-letters it all the same."""
    odd = replace(record("v"), undecodable=Undecodable("an odd name"))
    found = examined([record("v"), odd])["records"]
    assert "undecodable 1 (an odd name)" in found.message


def test_another_partitioner_is_told_as_such() -> None:
    """What is neither murmur2 nor CRC32 is a partitioner of somebody's own, or added partitions."""
    found = examined([record(f"v{number}", by=lambda _, __: 3) for number in range(50)])["partitioner"]
    assert found.level is Level.ERROR
    assert "partitions were added later" in found.remedy


def test_records_without_a_key_cannot_work() -> None:
    """Null keys spread a visitor over all partitions."""
    found = examined([record("v", key=b"")])
    assert (found["partitioner"].level, found["partitioner"].message) == (Level.ERROR, "no record has a key")
    assert found["record keys"].level is Level.ERROR


def test_a_key_that_is_not_the_visitor_is_an_error() -> None:
    """The share of such records is told, and what to do."""
    found = examined([record("v1"), record("v2"), record("v3"), record("v4", key=b"session-9")])["record keys"]
    assert found.level is Level.ERROR
    assert "1 of 4 records (25%)" in found.message
    assert "insession rekey" in found.remedy


@pytest.mark.parametrize(("bad", "level"), [(1, Level.WARNING), (3, Level.ERROR)])
def test_unreadable_records_are_told_with_their_reasons(bad: int, level: Level) -> None:
    """Few are a warning; where most are, the mapping is wrong."""
    good = [record(f"v{number}") for number in range(4 - bad)]
    found = examined(good + [record("v", value=b"{}") for _ in range(bad)])["records"]
    assert found.level is level
    assert f"{bad} of 4 records" in found.message
    assert f"invalid_field {bad} (" in found.message


def typed(event_type: str, **fields: object) -> InputRecord:
    """Make a record of `v` with these fields."""
    value = {"visitor_id": "v", "event_type": event_type, "event_time": NOW_MS, "item_id": "i", **fields}
    return record("v", value=json.dumps(value).encode())


@pytest.mark.parametrize(("pages", "level"), [(2, Level.OK), (3, Level.WARNING)])
def test_ignored_records_are_told_apart_and_most_of_them_are_a_warning(pages: int, level: Level) -> None:
    """A mapping that fits nothing ignores everything; pages between the clicks are as it must be."""
    found = examined([typed("page")] * pages + [typed("view")] * (4 - pages))["records"]
    assert found.level is level
    assert f"{pages} " in found.message
    assert "are ignored, for they are no interactions" in found.message


def test_repairs_are_told_by_field() -> None:
    """A price that is a text is read, and one that is none is left out."""
    found = examined([typed("view", price="12,95"), typed("view", price="ask", quantity=1.5)])["records"]
    assert found.level is Level.OK
    assert found.message.endswith("repaired or left out: price 2, quantity 1")


def test_a_visitor_who_is_nobody_is_a_warning() -> None:
    """What all those shoppers do would become one session."""
    found = examined([record("undefined")] * 3 + [record(f"v{number}") for number in range(7)])["visitors"]
    assert found.level is Level.WARNING
    assert "3 of 10 readable records (30%) are of visitor 'undefined'" in found.message


def test_an_empty_clickstream_says_nothing() -> None:
    """There is nothing to hold against anything."""
    assert [one.level for one in record_findings([], PARTITIONS, ClickReader(FieldMapping()))] == [
        Level.UNCHECKED
    ] * len(CHECKS)
    assert record_clock_finding([], NOW_MS).level is Level.UNCHECKED


@pytest.mark.parametrize(("ahead_ms", "level"), [(-1, Level.OK), (2_000, Level.OK), (2_001, Level.WARNING)])
def test_records_from_the_future_show_a_clock_that_is_behind(ahead_ms: int, level: Level) -> None:
    """Two seconds are let pass."""
    assert record_clock_finding([record("v")], NOW_MS - ahead_ms).level is level
