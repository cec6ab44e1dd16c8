"""Whether the release answers as its predecessors did in the days before.

On the same shop the lists of two days are alike. What moves them all at once is seldom the shoppers: it is a feature
that went missing, a vocabulary that shifted, a day of data that is not there.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.check_report import AnswerProfile, CheckReport, CheckResult, CheckThresholds
from schemas.ids import ItemId, ItemIndex, ModelVersion
from session_model.checks.answers import Answers
from session_model.checks.contract import CheckInputs, judged, not_run
from session_model.evaluation.comparison import NOTHING_KNOWN
from session_model.release.release import Release

MOST_ITEMS: Final = 2000
"""Kept of a profile, the most listed; the others are one."""
_SCORE_BINS: Final = 20
_LEAST_SHARE: Final = 1e-4
"""Of a bin without scores, so that the index stays finite."""


def profile_of(release: Release, answers: Answers) -> AnswerProfile:
    """Describe what was answered, before the filters: what a sale takes out is no drift."""
    listed = answers.listed
    best = np.argsort(-listed, kind="stable")[:MOST_ITEMS]
    total = max(int(listed.sum()), 1)
    places = np.clip(answers.first_scores * _SCORE_BINS, 0, _SCORE_BINS - 1).astype(np.int64)
    scores = np.bincount(places, minlength=_SCORE_BINS) / max(len(places), 1)
    return AnswerProfile(
        answers=len(answers.whole),
        personal_share=float(np.mean(answers.whole.facts.prefix != NOTHING_KNOWN)),
        item_shares={
            release.item_id(ItemIndex(int(index))): int(listed[index]) / total for index in best if listed[index]
        },
        score_shares=scores.tolist(),
    )


def recent(
    history: Sequence[CheckReport], version: ModelVersion, made_at: datetime, limits: CheckThresholds
) -> list[CheckReport]:
    """Return the reports of other releases of the days before; of what was refused nothing is expected."""
    since = made_at - timedelta(days=limits.drift_days)
    return [one for one in history if one.version != version and since <= one.made_at <= made_at and not one.failed]


def self_drift(given: CheckInputs, limits: CheckThresholds) -> CheckResult:
    """Hold the answers against the moving average over the reports of `drift_days`.

    Items: Jensen-Shannon divergence in bits (Lin, IEEE Trans. Inf. Theory 1991). Score of the first place: population
    stability index (Siddiqi, Credit Risk Scorecards, 2006), whose bound is wide: each training chooses its blend anew,
    and with it the scale of the scores.
    """
    before = [one.profile for one in given.history]
    if not before:
        return not_run(
            f"no report of an earlier release that passed, of the last {limits.drift_days} days; keep them in --out"
        )
    own = given.profile
    figures = {
        "reports": float(len(before)),
        "item_drift": _divergence(own.item_shares, _mean_shares(before)),
        "score_drift": _stability_index(own.score_shares, before),
        "personal_drift": abs(own.personal_share - float(np.mean([one.personal_share for one in before]))),
    }
    said = {
        "item_drift": (
            "the items listed diverge by {:.3f} bits from those before, checks.max_item_drift",
            limits.max_item_drift,
        ),
        "score_drift": (
            "the scores of the first places have shifted by an index of {:.3f}, checks.max_score_drift",
            limits.max_score_drift,
        ),
        "personal_drift": (
            "the share of answers that know an item of the session has changed by {:.3f}, checks.max_personal_drift",
            limits.max_personal_drift,
        ),
    }
    complaints = [
        f"{text.format(figures[name])} allows {most:g}; look at what the training data lack or have twice, and at the "
        "catalog, before you allow more"
        for name, (text, most) in said.items()
        if figures[name] > most
    ]
    return judged(complaints, f"as on the days before, by {len(before)} reports", figures)


def _mean_shares(profiles: Sequence[AnswerProfile]) -> dict[ItemId, float]:
    mean = defaultdict[ItemId, float](float)
    for one in profiles:
        for item_id, share in one.item_shares.items():
            mean[item_id] += share / len(profiles)
    return mean


def _divergence(one: Mapping[ItemId, float], other: Mapping[ItemId, float]) -> float:
    """Return the Jensen-Shannon divergence of two shares by item, 0 to 1 bit; what lacks to 1 is one more item."""
    item_ids = [*{**one, **other}]
    shares = np.array([[own.get(item_id, 0.0) for item_id in item_ids] for own in (one, other)])
    rest = np.maximum(1.0 - shares.sum(axis=1, keepdims=True), 0.0)
    first, second = np.concatenate([shares, rest], axis=1)
    middle = (first + second) / 2
    return (_relative_entropy(first, middle) + _relative_entropy(second, middle)) / 2


def _relative_entropy(shares: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    held = shares > 0
    return float((shares[held] * np.log2(shares[held] / others[held])).sum())


def _stability_index(one: Sequence[float], profiles: Sequence[AnswerProfile]) -> float:
    """Return sum (p - q) ln(p / q) over the bins of the scores; q is the mean of the days before."""
    before = np.mean([profile.score_shares for profile in profiles], axis=0)
    shares, expected = np.maximum(one, _LEAST_SHARE), np.maximum(before, _LEAST_SHARE)
    return float(((shares - expected) * np.log(shares / expected)).sum())
