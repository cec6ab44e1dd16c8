"""Prometheus metrics of the stream side: base units, bounded labels, never a visitor, session or item as a label."""

from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.records import Status
from schemas.validation import RejectReason

LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class DeliveryMetrics:
    """What happened to the input, seen from its offsets."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "insession_events", "Clickstream records answered, by status.", ["status"], registry=registry
        )
        self.dead_letters = Counter(
            "insession_dead_letters", "Records sent to the dead-letter topic, by reason.", ["reason"], registry=registry
        )
        self.session_ends = Counter("insession_session_ends", "Session ends emitted.", ["reason"], registry=registry)
        self.default_lists = Counter(
            "insession_default_lists",
            "Lists for unknown visitors, by what became of them.",
            ["result"],
            registry=registry,
        )
        self.end_to_end = Histogram(
            "insession_end_to_end_seconds",
            "From the input record's timestamp to the acknowledgement of everything it caused.",
            registry=registry,
            buckets=LATENCY_BUCKETS_SECONDS,
        )
        self.in_flight = Gauge("insession_in_flight_events", "Events read and not yet acknowledged.", registry=registry)
        self.committed_age = Gauge(
            "insession_committed_offset_age_seconds",
            "How long a partition's committed offset has stood still while there were events to answer.",
            ["topic", "partition"],
            registry=registry,
        )
        self.resyncs = Counter(
            "insession_offset_resyncs", "Fetches repeated because an offset was missing.", ["where"], registry=registry
        )
        self.skipped_offsets = Counter(
            "insession_offset_gaps", "Gaps in the offsets that a fresh fetch confirmed.", registry=registry
        )
        for status in get_args(Status):
            self.events.labels(status=status)
        for reason in get_args(RejectReason):
            self.dead_letters.labels(reason=reason)
        for result in ("written", "removed", "failed"):
            self.default_lists.labels(result=result)
        for where in ("consumer", "actor"):
            self.resyncs.labels(where=where)
