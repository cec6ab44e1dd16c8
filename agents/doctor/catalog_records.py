"""What a sample of the catalog topic shows: whether the items can be read, and what is left of them."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from agents.doctor.findings import Finding, error, ok, unchecked, warning
from schemas.availability import is_available
from schemas.catalog_reader import CatalogReader, CatalogRecord, DescribedItem, UnreadableItem
from schemas.places import LocationSettings
from streams.records import InputRecord

CHECK: Final = "catalog"
_MOST_ARE_BAD: Final = 0.5
_SHOWN: Final = 3


def catalog_findings(
    records: Sequence[InputRecord], reader: CatalogReader, now_ms: int | None = None
) -> Iterator[Finding]:
    """Examine the newest records of the catalog, read as the worker reads them; of each key the last one counts.

    now_ms: as of when items must be available, Unix milliseconds; None = now.
    """
    if not records:
        yield unchecked(
            CHECK,
            "the catalog holds no record: without a release, too, invented visitors may choose what everybody is shown",
            "write the shop's items to the topic, or let a release be loaded",
        )
        return
    read = {one.key: reader.read(one.key, one.value, one.time_ms, one.headers) for one in records}
    yield _readable(list(read.values()))
    described = [one for one in read.values() if isinstance(one, DescribedItem)]
    at_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    if described and not any(is_available(one.item, None, at_ms, LocationSettings()) for one in described):
        yield warning(
            CHECK,
            f"none of {len(described):,} items is available, so none is recommended",
            "check what catalog.mapping says of `available`, `available_from` and `available_until`",
        )
    if repairs := _repairs(described):
        yield ok(CHECK, f"fields that were repaired or left out: {repairs}")


def _readable(read: Sequence[CatalogRecord]) -> Finding:
    unreadable = [one for one in read if isinstance(one, UnreadableItem)]
    total = len(read)
    if not unreadable:
        return ok(CHECK, f"the last records of {total:,} items can be read")
    details = {one.reason: one.detail for one in unreadable}
    counts = Counter(one.reason for one in unreadable)
    reasons = "; ".join(f"{reason} {count:,} ({details[reason]})" for reason, count in counts.most_common(_SHOWN))
    finding = error if len(unreadable) > _MOST_ARE_BAD * total else warning
    return finding(
        CHECK,
        f"{len(unreadable):,} of {total:,} items ({len(unreadable) / total:.0%}) are not recommended, since their last "
        f"records cannot be read: {reasons}",
        "`insession doctor --sample TOPIC --catalog` proposes a catalog.mapping; else let the shop write them again",
    )


def _repairs(described: Sequence[DescribedItem]) -> str:
    counts = Counter(f"{name} {reason}" for one in described for name, reason in one.repairs.items())
    return ", ".join(f"{kind} {count:,}" for kind, count in counts.most_common(_SHOWN))
