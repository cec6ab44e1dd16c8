"""Prometheus metrics of the observer: base units, bounded labels, never a place or an item as a label."""

from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from streams.metrics import ViewMetrics

RecordResult = Literal["counted", "nothing", "repeated", "unreadable"]
ListKind = Literal["answer", "default_list"]
WRITTEN: Final = ("list", "removed", "place", "progress")


class ObserverMetrics:
    """What the observer reads, holds and writes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.active = Gauge(
            "insession_observer_active",
            "1 while this observer counts and publishes, 0 while it waits for another one or for the brokers.",
            registry=registry,
        )
        self.lag = Gauge(
            "insession_observer_lag_records",
            "Records of `recommendations` that the observer has not read yet.",
            registry=registry,
        )
        self.records = Counter(
            "insession_observer_records",
            "Records of `recommendations` that were read, by what they count.",
            ["result"],
            registry=registry,
        )
        self.gaps = Counter(
            "insession_observer_input_gaps",
            "Offsets of the clickstreams that no record answers: ignored, dead-lettered, or lost.",
            registry=registry,
        )
        self.places = Gauge(
            "insession_observer_places", "Places that are counted, everywhere included.", registry=registry
        )
        self.items = Gauge("insession_observer_items", "Items that are counted, over all places.", registry=registry)
        self.event_time = Gauge(
            "insession_observer_event_time_seconds",
            "Latest event time that is counted, Unix seconds.",
            registry=registry,
        )
        self.published = Gauge(
            "insession_observer_published_timestamp_seconds",
            "When what is trending everywhere was last published, Unix seconds; 0 = not yet.",
            registry=registry,
        )
        self.stored = Gauge(
            "insession_observer_stored_timestamp_seconds",
            "When the counts were last stored, Unix seconds; 0 = not yet.",
            registry=registry,
        )
        self.written = Counter(
            "insession_observer_written_records", "Records written, by kind.", ["kind"], registry=registry
        )
        self.written_bytes = Counter(
            "insession_observer_written_bytes", "Bytes of the values written, by kind.", ["kind"], registry=registry
        )
        self.items_cut = Counter(
            "insession_observer_items_cut",
            "Items that are counted no more, since their place does not fit into a record.",
            registry=registry,
        )
        self.void_offsets = Counter(
            "insession_observer_void_offsets",
            "Partitions of clickstreams whose counted offsets were of an earlier topic of that name.",
            registry=registry,
        )
        self.damaged = Counter(
            "insession_observer_damaged_snapshots",
            "Stored places that could not be read: their counts begin anew.",
            registry=registry,
        )
        self.unavailable = Counter(
            "insession_observer_unavailable_lists",
            "Lists that held an item which had been gone for more than a second when they were written, by kind.",
            ["kind"],
            registry=registry,
        )
        self.catalog = ViewMetrics(registry, "observer_catalog", "catalog")
        self.default_lists = ViewMetrics(registry, "observer_default_lists", "default-recommendations")
        for kind in get_args(ListKind):
            self.unavailable.labels(kind=kind)
        for result in get_args(RecordResult):
            self.records.labels(result=result)
        for kind in WRITTEN:
            self.written.labels(kind=kind)
            self.written_bytes.labels(kind=kind)
