"""What a sample of the clickstream shows: who partitions it, what its keys are, whether it can be read."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from agents.doctor.findings import Finding, error, ok, unchecked, warning
from agents.doctor.mapping_trial import visitor_warnings
from schemas.click_reader import ClickReader, Clicks
from schemas.validation import Ignored, Rejection, RejectReason
from streams.cluster.partitioner import Placement, placement
from streams.records import InputRecord

CHECKS: Final = ("partitioner", "record keys", "records", "visitors")
_MOST_ARE_BAD: Final = 0.5
_MOST_ARE_IGNORED: Final = 0.5
_MAX_ODD: Final = 3
_CLOCK_TOLERANCE_MS: Final = 2_000


def record_findings(records: Sequence[InputRecord], partitions: int, reader: ClickReader) -> Iterator[Finding]:
    """Examine the newest records of the clickstream, read as the worker reads them."""
    if not records:
        yield from (unchecked(check, "the clickstream holds no record") for check in CHECKS)
        return
    yield _placed(placement(records, partitions))
    found = _Found()
    for record in records:
        found.add(record.rejection or reader.read(record.key, record.value, record.time_ms, record.headers))
    yield _keyed(found.rejected.pop("key_mismatch", 0), len(records))
    yield _readable(found, len(records))
    yield _visitors(found.visitors)


@dataclass(slots=True)
class _Found:
    """What became of the records: rejected by reason, each with its latest detail; repairs by field."""

    ignored: int = 0
    rejected: Counter[RejectReason] = field(default_factory=Counter)
    details: dict[RejectReason, str] = field(default_factory=dict)
    repairs: Counter[str] = field(default_factory=Counter)
    visitors: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Clicks | Ignored | Rejection) -> None:
        match outcome:
            case Clicks():
                self.visitors[outcome.events[0].visitor_id] += 1
                self.repairs.update(repair.field for repair in outcome.repairs)
            case Ignored():
                self.ignored += 1
            case Rejection():
                self.rejected[outcome.reason] += 1
                self.details[outcome.reason] = outcome.detail


def record_clock_finding(records: Sequence[InputRecord], now_ms: int) -> Finding:
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


def _readable(found: _Found, total: int) -> Finding:
    rejected = found.rejected.total()
    others = _others(found, total)
    if rejected:
        reasons = "; ".join(
            f"{reason} {count:,} ({found.details[reason]})" for reason, count in found.rejected.most_common(3)
        )
        finding = error if rejected > _MOST_ARE_BAD * total else warning
        return finding(
            "records",
            f"{rejected:,} of {total:,} records ({rejected / total:.0%}) cannot be read: {reasons}{others}",
            "`insession doctor --sample TOPIC` proposes a clickstream.mapping; `insession dlq list` shows what was "
            "refused",
        )
    if found.ignored > _MOST_ARE_IGNORED * total:
        return warning(
            "records",
            f"{found.ignored:,} of {total:,} records ({found.ignored / total:.0%}) are ignored, for they are no "
            f"interactions{_repaired(found.repairs)}",
            "see whether clickstream.mapping names the event types that are: `insession doctor --sample TOPIC` lists "
            "the others",
        )
    return ok("records", f"{total - found.ignored:,} of {total:,} records can be read{others}")


def _others(found: _Found, total: int) -> str:
    ignored = f"; {found.ignored:,} ({found.ignored / total:.0%}) are ignored, for they are no interactions"
    return (ignored if found.ignored else "") + _repaired(found.repairs)


def _repaired(repairs: Counter[str]) -> str:
    """Return what could not be taken as it was."""
    fields = ", ".join(f"{name} {count:,}" for name, count in repairs.most_common())
    return f"; repaired or left out: {fields}" if fields else ""


def _visitors(visitors: Counter[str]) -> Finding:
    odd = list(visitor_warnings(visitors))
    if not odd:
        return ok("visitors", f"{len(visitors):,} visitors, none of them in a large share of the records")
    return warning(
        "visitors",
        "; ".join(odd[:_MAX_ODD]),
        "let the producers send no event without a visitor, or name another path for visitor_id in "
        "clickstream.mapping; what programs write for nobody can be left out there: "
        '[clickstream.mapping.values.visitor_id] "undefined" = ""',
    )
