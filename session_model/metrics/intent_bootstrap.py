"""PR-AUC, ROC-AUC and ECE with 95 % intervals by the bootstrap over sessions, and paired differences of two models.

Every resample draws whole sessions; a session that is drawn twice counts twice. The same draws serve all measures and
both models, so differences are paired (session_model.metrics.bootstrap has the papers).
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from session_model.csr import starts_of
from session_model.metrics.bootstrap import N_RESAMPLES, Interval
from session_model.metrics.intent import CALIBRATION_BINS

FEWEST_RESAMPLES: Final = 200
_MOST_ROWS: Final = 20_000_000
"""Rows drawn in all, seconds of work: many prefixes are resampled less often."""
_MOST_WEIGHTS: Final = 2_000_000
_TAIL_PERCENT: Final = 2.5
_CHANCE_PERCENT: Final = 95


class Resampled(NamedTuple):
    """The measures of each resample, (n_resamples,) each; NaN where a resample has one class."""

    pr_auc: NDArray[np.float64]
    roc_auc: NDArray[np.float64]
    ece: NDArray[np.float64]
    base_rate: NDArray[np.float64]


class Ranked:
    """Probabilities in descending order with their labels: what any weights of the rows are measured on."""

    def __init__(self, labels: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> None:
        self.order = np.argsort(-probabilities, kind="stable")
        self._labels = labels[self.order].astype(np.float64)
        self._probabilities = probabilities[self.order]
        changes = np.flatnonzero(np.diff(self._probabilities)) + 1
        self._groups = np.concatenate([[0], changes])
        # Ascending bins as in `expected_calibration_error`, seen from the other end.
        self._bins = starts_of(_bin_sizes(len(labels))[::-1])[:-1]

    def measure(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Return PR-AUC, ROC-AUC and ECE for each row of `weights`, (n_resamples, n) in the order of `order`."""
        positive = weights * self._labels
        hits = np.add.reduceat(positive, self._groups, axis=1)
        seen = np.add.reduceat(weights, self._groups, axis=1)
        true_positives, all_seen = np.cumsum(hits, axis=1), np.cumsum(seen, axis=1)
        positives, negatives = true_positives[:, -1], all_seen[:, -1] - true_positives[:, -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(all_seen > 0, true_positives / all_seen, 0.0)
            pr_auc = (precision * hits).sum(axis=1) / positives
            below = negatives[:, np.newaxis] - (all_seen - true_positives)
            roc_auc = (hits * (below + (seen - hits) / 2)).sum(axis=1) / (positives * negatives)
        gaps = np.add.reduceat(positive - weights * self._probabilities, self._bins, axis=1)
        return pr_auc, roc_auc, np.abs(gaps).sum(axis=1) / all_seen[:, -1]


def resampled(
    sessions: NDArray[np.int64], labels: NDArray[np.bool_], models: dict[str, NDArray[np.float64]], seed: int = 0
) -> dict[str, Resampled]:
    """Measure each model's probabilities on the same resamples; sessions, labels, probabilities: (n,)."""
    _, session = np.unique(sessions, return_inverse=True)
    sizes, positives = np.bincount(session), np.bincount(session, labels)
    n_sessions = len(sizes)
    ranked = {name: Ranked(labels, probabilities) for name, probabilities in models.items()}
    rng = np.random.default_rng(seed)
    n_resamples = min(N_RESAMPLES, max(FEWEST_RESAMPLES, _MOST_ROWS // len(labels)))
    chunk = max(1, min(n_resamples, _MOST_WEIGHTS // len(labels)))
    parts: dict[str, list[tuple[NDArray[np.float64], ...]]] = {name: [] for name in models}
    for first in range(0, n_resamples, chunk):
        n_draws = min(chunk, n_resamples - first)
        drawn = rng.integers(0, n_sessions, (n_draws, n_sessions))
        counts = np.stack([np.bincount(row, minlength=n_sessions) for row in drawn]).astype(np.float64)
        base_rates = (counts @ positives) / (counts @ sizes)
        for name, one in ranked.items():
            parts[name].append((*one.measure(counts[:, session[one.order]]), base_rates))
    return {name: Resampled(*map(np.concatenate, zip(*rows, strict=True))) for name, rows in parts.items()}


def ece_by_chance(outcomes: NDArray[np.int64], probabilities: NDArray[np.float64], seed: int = 0) -> float:
    """Return the ECE that 95 % of models stay below whose probabilities, both (n,), are these, and true.

    Few rows have an ECE above 0 whatever is said of them: labels are drawn from the probabilities (consistency
    resampling: Bröcker & Smith, Weather and Forecasting 2007). outcomes: (n,), the same number where one outcome
    decides several rows, as a purchase does for all prefixes of its session; these are drawn together.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(probabilities, kind="stable")
    ascending, (_, outcome) = probabilities[order], np.unique(outcomes[order], return_inverse=True)
    bins = starts_of(_bin_sizes(len(ascending)))[:-1]
    gaps = np.empty(FEWEST_RESAMPLES)
    for number in range(FEWEST_RESAMPLES):
        drawn = rng.random(int(outcome.max()) + 1)[outcome] < ascending
        gaps[number] = np.abs(np.add.reduceat(drawn - ascending, bins)).sum() / len(ascending)
    return float(np.percentile(gaps, _CHANCE_PERCENT))


def _bin_sizes(n_rows: int) -> NDArray[np.int64]:
    """Return the sizes of bins of equal mass, the lowest probabilities first."""
    bins = np.array_split(np.arange(n_rows), min(CALIBRATION_BINS, n_rows))
    return np.array([len(rows) for rows in bins], np.int64)


def interval(value: float, draws: NDArray[np.float64]) -> Interval:
    """Return the percentile interval; draws of one class do not count."""
    low, high = np.nanpercentile(draws, [_TAIL_PERCENT, 100 - _TAIL_PERCENT])
    return Interval(value, float(low), float(high))
