"""Prometheus metrics of the serving tier: base units, bounded labels, never an item or a session as a label."""

from itertools import product
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.records import Tier
from serving.errors import REASONS, PredictError, Reason

OK = "ok"
"""Value of the label `reason` where the highest tier answered."""
EMPTY = "none"
"""Value of the label `tier` of an answer without items."""

_LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_BATCH_BUCKETS_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class ServingMetrics:
    """Who answered, and how asking the model went; `of` is the part of the names that tells a candidate's from ours."""

    def __init__(self, registry: CollectorRegistry, of: str = "") -> None:
        self.answers = Counter(
            f"insession_{of}answers",
            "Answers by tier and by why no higher one answered.",
            ["tier", "reason"],
            registry=registry,
        )
        self.answer_latency = Histogram(
            f"insession_{of}answer_latency_seconds",
            "From asking for an answer to having it, by the tier that gave it.",
            ["tier"],
            registry=registry,
            buckets=_LATENCY_BUCKETS_SECONDS,
        )
        self.model_latency = Histogram(
            f"insession_{of}model_latency_seconds",
            "From sending a Predict to its result, failed ones included.",
            registry=registry,
            buckets=_LATENCY_BUCKETS_SECONDS,
        )
        self.model_batch_size = Histogram(
            f"insession_{of}model_batch_size", "Rows of a Predict.", registry=registry, buckets=_BATCH_BUCKETS_ROWS
        )
        self.model_failures = Counter(
            f"insession_{of}model_failures", "Predicts that failed, by reason.", ["reason"], registry=registry
        )
        self.waiting_rows = Gauge(
            f"insession_{of}model_waiting_rows", "Rows that wait for the next Predict.", registry=registry
        )
        self.waiting_rows_limit = Gauge(
            f"insession_{of}model_waiting_rows_limit", "Rows that may wait; more are turned away.", registry=registry
        )
        self.breaker_open = Gauge(
            f"insession_{of}breaker_open",
            "1 while the breaker is open or probing, 0 while it is closed.",
            registry=registry,
        )
        failures: list[type[PredictError]] = [PredictError, *PredictError.__subclasses__()]
        for failure in failures:
            self.model_failures.labels(failure.reason)
        tiers, reasons = (*get_args(Tier), EMPTY), (OK, *REASONS)
        self._latency_of = {tier: self.answer_latency.labels(tier) for tier in tiers}
        self._answers_of = {labels: self.answers.labels(*labels) for labels in product(tiers, reasons)}

    def answered(self, tier: Tier | None, reason: Reason | None, seconds: float) -> None:
        """Count an answer, and how long it took."""
        label = tier or EMPTY
        self._answers_of[label, reason or OK].inc()
        self._latency_of[label].observe(seconds)


class ReleaseMetrics:
    """Which releases are in use."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.version = Gauge("insession_release_version", "Version of the release in use; 0 = none.", registry=registry)
        self.created = Gauge(
            "insession_release_created_timestamp_seconds",
            "When the release in use was made, Unix seconds; 0 = none.",
            registry=registry,
        )
        self.common = Gauge(
            "insession_release_common",
            "1 while the model server has a release that this worker has verified, too.",
            registry=registry,
        )
        self.rejected = Counter(
            "insession_releases_rejected", "Releases that did not pass verification.", registry=registry
        )
        self.candidate_version = Gauge(
            "insession_candidate_version",
            "Version of the release on trial that this worker asks; 0 = none.",
            registry=registry,
        )
