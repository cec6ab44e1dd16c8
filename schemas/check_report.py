"""What the checks before a promotion allow and what they found: `checks/<version>.json`.

People, the promotion and the next day's checks read it.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from schemas.errors import UsageError
from schemas.events import Instant
from schemas.ids import ItemId, ModelVersion

Verdict = Literal["good", "weak", "lost", "few"]
UNKNOWN_SHARE: Final = "unknown_share"
"""Figure of the hold-out: the share of the clicks on items that the release cannot list."""


class CheckThresholds(Struct, frozen=True, kw_only=True):
    """What a release must keep to be promoted; docs/checks.md says why each default is what it is.

    max_sessions: Sessions of DATA that are asked, the latest.
    min_targets: Clicks to predict, or answers to compare, below which nothing can be told.
    missing_share: Of the sessions, those whose last clicks are held back and asked for at once.
    missing_clicks: Clicks that are held back of these.
    min_recall_at_20: Share of the clicks that must be in the list of twenty.
    min_mrr_at_20: Mean reciprocal rank that the list must reach.
    max_loss: Of the champion's recall and MRR, the share that may be lost.
    min_slice_targets: Clicks of a slice below which it is named and not judged.
    slice_tolerance: Recall + MRR by which a plain list may be ahead on a slice of the sessions.
    item_slice_tolerance: The same on a slice by what was clicked: popularity, age, category.
    weak_share: A slice whose recall is below this share of the whole is called weak.
    drift_days: Days back of which reports and outcomes count.
    max_item_drift: Jensen-Shannon divergence of the items listed from those of the days before, bits, 0 to 1.
    max_score_drift: Population stability index of the first place's score.
    max_personal_drift: Change of the share of answers that know an item of the session.
    min_live_ratio: Live hit rate over offline recall, at least.
    max_live_ratio: Live hit rate over offline recall, at most.
    min_live_correlation: Of offline recall and live hit rate over the versions, where five or more are known.
    max_live_drop: Of the live hit rate of the days before, the share that the last day may lose.
    max_revenue_drop: The same of the share of revenue that stood in an answer.
    score_tolerance: Scores that differ by no more are equal.
    max_mismatch_share: Of the answers that were sent, those that may differ from the model's own.
    max_p99_ratio: Latency of an answer at its p99, over the champion's in the same run.
    max_release_bytes: Size of a release.
    max_size_ratio: Size over the champion's.
    max_unavailable_share: Of the places in lists of twenty, those that the filters must empty.
    max_short_share: Of the answers, those that have fewer than twenty items after the filters.
    max_sent_unavailable_share: Of the items sent, those that the catalog does not allow.
    min_coverage: Share of the items that could have been listed and were.
    min_coverage_ratio: The same over the champion's.
    min_category_ratio: Share of places that a category has, over its share of the clicks.
    """

    max_sessions: int = 20_000
    min_targets: int = 500
    missing_share: float = 0.1
    missing_clicks: int = 2
    min_recall_at_20: float = 0.05
    min_mrr_at_20: float = 0.01
    max_loss: float = 0.03
    min_slice_targets: int = 200
    slice_tolerance: float = 0.02
    item_slice_tolerance: float = 0.2
    weak_share: float = 0.5
    drift_days: int = 7
    max_item_drift: float = 0.3
    max_score_drift: float = 1.5
    max_personal_drift: float = 0.1
    min_live_ratio: float = 0.5
    max_live_ratio: float = 2.0
    min_live_correlation: float = 0.0
    max_live_drop: float = 0.3
    max_revenue_drop: float = 0.5
    score_tolerance: float = 1e-4
    max_mismatch_share: float = 0.03
    max_p99_ratio: float = 2.0
    max_release_bytes: int = 2 << 30
    max_size_ratio: float = 2.0
    max_unavailable_share: float = 0.1
    max_short_share: float = 0.01
    max_sent_unavailable_share: float = 0.001
    min_coverage: float = 0.05
    min_coverage_ratio: float = 0.8
    min_category_ratio: float = 0.2

    def __post_init__(self) -> None:
        """Refuse what no release could keep, and what nothing could fail."""
        for name in _ABOVE_ZERO:
            if not getattr(self, name) > 0:
                raise UsageError(f"checks.{name} must be above 0, found {getattr(self, name)}")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"checks.{name} must be from 0 to 1, found {getattr(self, name)}")
        if self.min_live_ratio > self.max_live_ratio:
            raise UsageError(
                f"checks.min_live_ratio ({self.min_live_ratio}) must not be above checks.max_live_ratio "
                f"({self.max_live_ratio})"
            )


_ABOVE_ZERO = (
    "max_sessions",
    "min_targets",
    "missing_clicks",
    "min_slice_targets",
    "drift_days",
    "max_live_ratio",
    "max_p99_ratio",
    "max_release_bytes",
    "max_size_ratio",
)
_SHARES = (
    "missing_share",
    "min_recall_at_20",
    "min_mrr_at_20",
    "max_loss",
    "slice_tolerance",
    "item_slice_tolerance",
    "weak_share",
    "max_item_drift",
    "max_personal_drift",
    "max_live_drop",
    "max_revenue_drop",
    "score_tolerance",
    "max_mismatch_share",
    "max_unavailable_share",
    "max_short_share",
    "max_sent_unavailable_share",
    "min_coverage",
    "min_coverage_ratio",
    "min_category_ratio",
)


class CheckSlice(Struct, frozen=True, kw_only=True):
    """Some of the targets, and how they are served."""

    kind: Annotated[str, Meta(description="By what the targets are parted, as in `session length`.")]
    part: str
    targets: int
    figures: Annotated[dict[str, float], Meta(description="`<who>.<measure>`.")]
    verdict: Annotated[
        Verdict,
        Meta(
            description="`lost`: a plain list is better. `weak`: the same within the tolerance, or far below the whole."
        ),
    ]


class CheckResult(Struct, frozen=True):
    """What one check found."""

    passed: Annotated[bool | None, Meta(description="null = not run, since something to compare with is absent.")]
    reason: Annotated[str, Meta(description="In words: what, how much, against which limit, what to do.")]
    figures: dict[str, float] = {}
    slices: list[CheckSlice] = []


class AnswerProfile(Struct, frozen=True, kw_only=True):
    """What a release answered, for the next days to compare with."""

    answers: int
    personal_share: Annotated[float, Meta(ge=0, le=1, description="Answers that know an item of the session.")]
    item_shares: Annotated[
        dict[ItemId, float],
        Meta(description="Of all places, by item, the most listed; what lacks to 1 is the others'."),
    ]
    score_shares: Annotated[
        list[float],
        Meta(description="Of the first places' scores, by twentieths from 0 to 1; what is above is in the last."),
    ]


class CheckReport(Struct, frozen=True, kw_only=True):
    """All checks of one release."""

    version: ModelVersion
    against: Annotated[ModelVersion | None, Meta(description="The champion; null = there was none.")]
    made_at: Instant
    data_sha256: str
    thresholds: CheckThresholds
    checks: dict[str, CheckResult]
    profile: AnswerProfile

    @property
    def failed(self) -> dict[str, CheckResult]:
        """The checks that did not pass; one that was not run is none of them."""
        return {name: result for name, result in self.checks.items() if result.passed is False}
