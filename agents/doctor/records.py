"""What a sample of the clickstream shows: who partitions it, what its keys are, whether it can be read."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from agents.doctor.findings import Finding, error, ok, unchecked, warning
from schemas.click_reader import ClickReader
from schemas.mapping import FieldMapping
from schemas.validation import Rejection, RejectReason
from streams.dead_letters import InputRecord
from streams.partitioner import Placement, placement

CHECKS: Final = ("partitioner", "record keys", "records")
_MOST_ARE_BAD: Final = 0.5
_CLOCK_TOLERANCE_MS: Final = 2_000


def record_findings(records: Sequence[InputRecord], partitions: int, mapping: FieldMapping) -> Iterator[Finding]:
    """Examine the newest records of the clickstream, read as the worker reads them."""
    if not records:
        yield from (unchecked(check, "the clickstream holds no record") for check in CHECKS)
        return
    yield _placed(placement(records, partitions))
    found = Counter[RejectReason]()
    details: dict[RejectReason, str] = {}
    reader = ClickReader(mapping)
    for record in records:
        event = record.rejection or reader.read(record.key, record.value, record.time_ms, record.headers)
        if isinstance(event, Rejection):
            found[event.reason] += 1
            details[event.reason] = event.detail
    yield _keyed(found.pop("key_mismatch", 0), len(records))
    yield _readable(found, details, len(records))


def clock_finding(records: Sequence[InputRecord], now_ms: int) -> Finding:
    """Hold the newest record timestamp against this machine's clock; only a clock that is behind can be seen."""
    if not records:
        return unchecked("clock", "the clickstream holds no record")
    ahead_ms = max(record.time_ms for record in records) - now_ms
    if ahead_ms <= _CLOCK_TOLERANCE_MS:
        return ok("clock", "no record is from the future")
    return warning(
        "clock",
        f"the newest record is {ahead_ms / 1000:,.1f} s ahead of this machine's clock",
        "synchronise the clocks of producers, brokers and workers (NTP): the freshness budget counts from a record's "
        "timestamp",
    )


def _placed(found: Placement) -> Finding:
    if not found.keyed:
        return error("partitioner", "no record has a key", "let the producers send visitor_id as the record key")
    if not found.misplaced:
        return ok("partitioner", f"{found.keyed:,} of {found.keyed:,} records lie on the partition of their key")
    if found.by_crc32 > found.misplaced / 2:
        remedy = (
            "a producer made with librdkafka (Python, Go, .NET, C) partitions by CRC32, its default: set its "
            "`partitioner` to `murmur2_random`"
        )
    else:
        remedy = (
            "let the producers use murmur2, the Java client's default, and no partitioner of their own; where "
            "partitions were added later, create the topics anew under another prefix"
        )
    share = found.misplaced / found.keyed
    return error(
        "partitioner",
        f"{found.misplaced:,} of {found.keyed:,} records ({share:.0%}) do not lie on the partition of their key: a "
        "visitor's state is elsewhere",
        f"{remedy}. `insession rekey` moves a stream that cannot be mended",
    )


def _keyed(mismatches: int, total: int) -> Finding:
    if not mismatches:
        return ok("record keys", "every readable record is keyed by its visitor_id")
    return error(
        "record keys",
        f"{mismatches:,} of {total:,} records ({mismatches / total:.0%}) are not keyed by their visitor_id and are "
        "dead-lettered",
        "let the producers send visitor_id as the record key, or put `insession rekey` between; check visitor_id in "
        "clickstream.mapping",
    )


def _readable(found: Counter[RejectReason], details: dict[RejectReason, str], total: int) -> Finding:
    rejected = found.total()
    if not rejected:
        return ok("records", f"{total:,} of {total:,} records can be read")
    reasons = "; ".join(f"{reason} {count:,} ({details[reason]})" for reason, count in found.most_common(3))
    finding = error if rejected > _MOST_ARE_BAD * total else warning
    return finding(
        "records",
        f"{rejected:,} of {total:,} records ({rejected / total:.0%}) cannot be read: {reasons}",
        "`insession doctor --sample TOPIC` proposes a clickstream.mapping; `insession dlq list` shows what was refused",
    )
