"""How long a topic keeps a record, from its settings on the brokers.

A record goes with its segment: retention counts from the newest record in it, and a segment is closed `segment.ms`
after its first record at the latest. Compaction removes what a tombstone follows at `max.compaction.lag.ms` (KIP-354)
or, where that is not bounded, at some time; the tombstone itself stays for `delete.retention.ms` more. No time bounds
compaction in a partition without new records: its last segment is closed by an append only. Retention takes that, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

_UNBOUNDED: Final = 2**62
"""Kafka's default of `max.compaction.lag.ms` is 2^63 - 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicLifetime:
    """Times in milliseconds; None = not bounded."""

    is_deleted: bool
    is_compacted: bool
    retention_ms: int | None
    segment_ms: int
    compacted_within_ms: int | None
    tombstones_ms: int

    @classmethod
    def of(cls, configs: Mapping[str, str]) -> Self:
        """Read a topic's settings, all of which the brokers tell."""
        policy = configs["cleanup.policy"].split(",")
        retention_ms = int(configs["retention.ms"])
        lag_ms = int(configs["max.compaction.lag.ms"])
        return cls(
            is_deleted="delete" in policy,
            is_compacted="compact" in policy,
            retention_ms=retention_ms if retention_ms >= 0 else None,
            segment_ms=int(configs["segment.ms"]),
            compacted_within_ms=lag_ms if lag_ms < _UNBOUNDED else None,
            tombstones_ms=int(configs["delete.retention.ms"]),
        )

    def record_until_ms(self, newest_ms: int) -> int | None:
        """Return when a record of that time is gone at the latest, without a tombstone, Unix ms; None = not bounded."""
        if not self.is_deleted or self.retention_ms is None:
            return None
        return newest_ms + self.segment_ms + self.retention_ms

    def tombstoned_until_ms(self, newest_ms: int, tombstone_ms: int) -> int | None:
        """Return when a record and the tombstone that follows it are gone at the latest, while records come."""
        by_retention = self.record_until_ms(max(newest_ms, tombstone_ms))
        bounds = [] if by_retention is None else [by_retention]
        if self.is_compacted and self.compacted_within_ms is not None:
            bounds.append(tombstone_ms + self.compacted_within_ms + self.tombstones_ms)
        return min(bounds, default=None)
