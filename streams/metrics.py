"""Prometheus metrics of the stream side: base units, bounded labels, never a visitor, session or item as a label.

Every series that can be told beforehand is there from the start, as 0: an alert on a rate needs that.
"""

import math
from bisect import bisect_left
from itertools import product
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.catalog_reader import CatalogRecord, DescribedItem, UnreadableItem, UnreadableReason
from schemas.events import Action
from schemas.records import EndReason, Status, Tier
from schemas.rules import RULE_ACTIONS
from schemas.tracing import TRACEPARENT, TRACESTATE
from schemas.validation import IgnoreReason, RejectReason

LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
STATE_BYTES_BUCKETS = (128, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 262144, 1048576)
INTENT_BANDS: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 1.0)
"""Upper ends, inclusive, of the bands of predicted probability."""
POSITION_BANDS: Final = {1: "1", 5: "2-5", 10: "6-10", 20: "11-20", math.inf: "21+"}
"""Places in an answer, by the last of each band."""
NOT_SHOWN: Final = "none"
GapReason = Literal["deleted", "no_record", "unknown"]
"""deleted: the brokers' retention, or a deletion of records, came before the reading. no_record: nothing was ever there
for us, as at a transaction's marker, or it was compacted. unknown: the brokers could not be asked."""

_SHARES = tuple(step / 10 for step in range(11))


class DeliveryMetrics:
    """What happened to the input, seen from its offsets."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "insession_events", "Clickstream records answered, by status.", ["status"], registry=registry
        )
        self.dead_letters = Counter(
            "insession_dead_letters", "Records sent to the dead-letter topic, by reason.", ["reason"], registry=registry
        )
        self.ignored = Counter(
            "insession_ignored_records",
            "Clickstream records that are not for us, by reason.",
            ["reason"],
            registry=registry,
        )
        self.repaired_fields = Counter(
            "insession_repaired_fields",
            "Fields of clicks that were repaired or left out; the field `click` is a whole line or event.",
            ["field", "reason"],
            registry=registry,
        )
        self.forgotten_adoptions = Counter(
            "insession_forgotten_adoptions",
            "Sessions that went with a visitor who was forgotten while they were handed over.",
            registry=registry,
        )
        self.session_ends = Counter("insession_session_ends", "Session ends emitted.", ["reason"], registry=registry)
        self.default_lists = Counter(
            "insession_default_lists",
            "Lists for unknown visitors, by what became of them.",
            ["result"],
            registry=registry,
        )
        self.list_kept = Histogram(
            "insession_list_kept_ratio",
            "Of the first ten items of an answer those that are among the first ten of the next one in the session.",
            registry=registry,
            buckets=_SHARES,
        )
        self.list_overlap = Histogram(
            "insession_list_overlap_ratio",
            "Rank-biased overlap of an answer and the next one in the session; 1 = equal.",
            registry=registry,
            buckets=_SHARES,
        )
        rules_applied = Counter(
            "insession_rules_applied",
            "Merchants' rules that changed an answer, by what they do; a rule counts once an answer.",
            ["action"],
            registry=registry,
        )
        self.rules_applied = {action: rules_applied.labels(action=action) for action in RULE_ACTIONS}
        self.malformed_trace_headers = Counter(
            "insession_malformed_trace_headers", "Trace headers ignored, by header.", ["header"], registry=registry
        )
        self.end_to_end = Histogram(
            "insession_end_to_end_seconds",
            "From the input record's timestamp to the acknowledgement of everything it caused.",
            registry=registry,
            buckets=LATENCY_BUCKETS_SECONDS,
        )
        self.record_age = Histogram(
            "insession_record_age_seconds",
            "How old clicks are when they are read, by this worker's clock; 0 where they are from the future.",
            registry=registry,
            buckets=LATENCY_BUCKETS_SECONDS,
        )
        self.state_bytes = Histogram(
            "insession_state_bytes",
            "Bytes of what was written about a visitor: a whole state, or the mark of an input that moved nothing.",
            registry=registry,
            buckets=STATE_BYTES_BUCKETS,
        )
        self.in_flight = Gauge("insession_in_flight_events", "Events read and not yet acknowledged.", registry=registry)
        self.committed_age = Gauge(
            "insession_committed_offset_age_seconds",
            "How long a partition's committed offset has stood still while there were events to answer.",
            ["topic", "partition"],
            registry=registry,
        )
        self.consumer_lag = Gauge(
            "insession_consumer_lag_records",
            "Records of a partition between the committed offset and its end.",
            ["topic", "partition"],
            registry=registry,
        )
        self.window_full = Gauge(
            "insession_window_full_ratio", "Share of its span that the fullest window has in use.", registry=registry
        )
        self.rebalances = Counter("insession_rebalances", "Assignments that this worker was given.", registry=registry)
        self.resyncs = Counter(
            "insession_offset_resyncs", "Fetches repeated because an offset was missing.", ["where"], registry=registry
        )
        self.offset_gaps = Counter(
            "insession_offset_gaps",
            "Gaps in the offsets that a fresh fetch confirmed, by why.",
            ["reason"],
            registry=registry,
        )
        self.void_offsets = Counter(
            "insession_void_offsets",
            "Visitors whose state was of an earlier topic of that name: its offset is void, the sessions go on.",
            ["topic"],
            registry=registry,
        )
        self.blocked_inputs = Counter(
            "insession_blocked_inputs",
            "Clicks of erased visitors, answered as without consent, and control records that would bring them back.",
            ["kind"],
            registry=registry,
        )
        self.partitions_healed = Counter(
            "insession_partitions_healed",
            "Damaged local partitions that were moved aside, to be read again from the changelog.",
            registry=registry,
        )
        self.states_quarantined = Counter(
            "insession_states_quarantined",
            "Stored visitor states that could not be decoded: dead-lettered, and the visitor begins anew.",
            registry=registry,
        )
        self.partitions_assigned = Gauge(
            "insession_partitions_assigned", "Clickstream partitions that this worker answers.", registry=registry
        )
        self.clickstream_partitions = Gauge(
            "insession_clickstream_partitions", "Partitions that the clickstream topics have.", registry=registry
        )
        self.topic_changed = Gauge(
            "insession_topic_changed",
            "1 where a topic is gone, made anew or has other partitions than at the start.",
            ["topic"],
            registry=registry,
        )
        self.lease_expired = Counter(
            "insession_lease_expired",
            "Writes refused because the group may have given the partitions away.",
            registry=registry,
        )
        self.clock_skew = Gauge(
            "insession_clock_skew_seconds",
            "How far the clocks behind the records' timestamps are ahead of this worker's; below 0: behind.",
            registry=registry,
        )
        self.stale_states = Counter(
            "insession_stale_states",
            "State records that a worker wrote after it had lost the partition; the recovery passed them over.",
            registry=registry,
        )
        self.intent = IntentMetrics(registry)
        self.outcomes = OutcomeMetrics(registry)
        for status in get_args(Status):
            self.events.labels(status=status)
        for reason in get_args(RejectReason):
            self.dead_letters.labels(reason=reason)
        for reason in get_args(IgnoreReason):
            self.ignored.labels(reason=reason)
        for result in ("written", "removed", "failed"):
            self.default_lists.labels(result=result)
        for header in (TRACEPARENT, TRACESTATE):
            self.malformed_trace_headers.labels(header=header)
        for kind in ("click", "control"):
            self.blocked_inputs.labels(kind=kind)
        for where in ("consumer", "actor"):
            self.resyncs.labels(where=where)
        for gap_reason in get_args(GapReason):
            self.offset_gaps.labels(reason=gap_reason)
        for end_reason in get_args(EndReason):
            self.session_ends.labels(reason=end_reason)


class OutcomeMetrics:
    """What shoppers did after an answer, by the answer's tier and the item's place in it.

    Hit rate = outcomes of the action `click` with a position other than `none` / all of that action; MRR = their
    reciprocal ranks / all of that action.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        outcomes = Counter(
            "insession_outcomes",
            "Clicks, carts and purchases after an answer, by the place of the item in it.",
            ["action", "tier", "position"],
            registry=registry,
        )
        reciprocal_ranks = Counter(
            "insession_outcome_reciprocal_rank",
            "Sum of 1 / place of the item in the answer; 0 where it was not in it.",
            ["action", "tier"],
            registry=registry,
        )
        actions, tiers, bands = get_args(Action), get_args(Tier), (*POSITION_BANDS.values(), NOT_SHOWN)
        self._outcomes = {labels: outcomes.labels(*labels) for labels in product(actions, tiers, bands)}
        self._reciprocal_ranks = {labels: reciprocal_ranks.labels(*labels) for labels in product(actions, tiers)}

    def observe(self, action: Action, tier: Tier, position: int | None) -> None:
        """Count an outcome; `position` from 1, None = not in the answer."""
        self._outcomes[action, tier, _band(position)].inc()
        if position is not None:
            self._reciprocal_ranks[action, tier].inc(1 / position)


def _band(position: int | None) -> str:
    if position is None:
        return NOT_SHOWN
    return next(band for last, band in POSITION_BANDS.items() if position <= last)


class IntentMetrics:
    """Purchase probabilities told, against the purchases that followed, by band of probability.

    A well calibrated model has as many purchases as were expected, in every band.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._signals = Counter(
            "insession_intent_signals", "Intent signals whose outcome is known.", ["up_to"], registry=registry
        )
        self._expected = Counter(
            "insession_intent_expected_purchases",
            "Sum of the purchase probabilities of these signals.",
            ["up_to"],
            registry=registry,
        )
        self._purchases = Counter(
            "insession_intent_purchases",
            "Of these signals, those that a purchase followed in the session.",
            ["up_to"],
            registry=registry,
        )
        self._bands = [f"{band:g}" for band in INTENT_BANDS]
        for counter in (self._signals, self._expected, self._purchases):
            for band in self._bands:
                counter.labels(up_to=band)

    def resolve(self, probability: float, *, purchase_followed: bool) -> None:
        """Count a signal whose outcome is known now."""
        band = self._bands[min(bisect_left(INTENT_BANDS, probability), len(self._bands) - 1)]
        self._signals.labels(up_to=band).inc()
        self._expected.labels(up_to=band).inc(probability)
        self._purchases.labels(up_to=band).inc(int(purchase_followed))


class StateMetrics:
    """The state that a worker holds, and how it comes by it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.table_keys = Gauge("insession_table_keys", "Entries of the local table, as estimated.", registry=registry)
        self.table_bytes = Gauge("insession_table_bytes", "Bytes of the local table, as estimated.", registry=registry)
        self.ready = Gauge("insession_ready", "1 while clicks are answered, as /readyz says.", registry=registry)
        self.recovering = Gauge("insession_recovering", "1 while state is read from the changelog.", registry=registry)
        # No histogram: its first observation is mostly there before the first scrape, and no rate would show it.
        self.last_recovery = Gauge(
            "insession_last_recovery_seconds",
            "From the latest assignment to the end of the recovery of its state.",
            registry=registry,
        )


class ViewMetrics:
    """A process's view of a compacted topic, called `name` in the names of the metrics; topic: where it differs."""

    def __init__(self, registry: CollectorRegistry, name: str, topic: str = "") -> None:
        topic = topic or name
        self.caught_up = Gauge(
            f"insession_{name}_caught_up",
            f"1 once the view of the topic `{topic}` has reached the end that it saw at start.",
            registry=registry,
        )
        self.last_record = Gauge(
            f"insession_{name}_last_record_timestamp_seconds",
            f"Timestamp of the latest record of the topic `{topic}`, Unix seconds; 0 = none yet.",
            registry=registry,
        )
        self.failed_records = Counter(
            f"insession_{name}_failed_records",
            f"Records of the topic `{topic}` that were passed over because of a bug.",
            registry=registry,
        )


class CatalogMetrics:
    """The worker's view of the catalog."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.view = ViewMetrics(registry, "catalog")
        self.items = Gauge("insession_catalog_items", "Items in the view of the catalog.", registry=registry)
        self.closed = Gauge(
            "insession_catalog_closed_items",
            "Items that are not recommended because their last catalog record cannot be read.",
            registry=registry,
        )
        self.unreadable = Counter(
            "insession_catalog_unreadable_records",
            "Catalog records that cannot be read, by reason.",
            ["reason"],
            registry=registry,
        )
        self.repaired_fields = Counter(
            "insession_repaired_catalog_fields",
            "Fields of catalog records that were repaired or left out.",
            ["field", "reason"],
            registry=registry,
        )
        for reason in get_args(UnreadableReason):
            self.unreadable.labels(reason=reason)

    def observe(self, record: CatalogRecord, *, items: int, closed: int) -> None:
        """Count a record, after which the view has so many items and so many closed ones."""
        self.items.set(items)
        self.closed.set(closed)
        if isinstance(record, UnreadableItem):
            self.unreadable.labels(reason=record.reason).inc()
        elif isinstance(record, DescribedItem):
            for name, reason in record.repairs.items():
                self.repaired_fields.labels(field=name, reason=reason).inc()


class SchemaMetrics:
    """Schemas of the input that a registry gives."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.awaited = Gauge(
            "insession_schema_awaited", "1 while the input waits for the schema of a record.", registry=registry
        )
        self.requests = Counter(
            "insession_schema_requests",
            "Schemas asked for, by whether the registry gave an answer; that there is none is one.",
            ["result"],
            registry=registry,
        )
        for result in ("answered", "failed"):
            self.requests.labels(result=result)
