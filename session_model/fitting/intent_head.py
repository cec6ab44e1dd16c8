"""Fits a calibrated probability: a small network where it is better than a logistic regression, else that."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from session_model.fitting.calibration import CalibrationFit, fit_isotonic, fit_platt, uncalibrated
from session_model.fitting.feature_network import Rows, fit_for, fit_until_best
from session_model.fitting.logistic import fit_logistic_model
from session_model.intent.calibration import sigmoid
from session_model.intent.feature_model import FeatureModel
from session_model.intent.head import CalibratedModel, IntentHead
from session_model.metrics.bootstrap import session_intervals
from session_model.metrics.intent import intent_quality, log_loss, log_losses, pr_auc, roc_auc

FIT_SHARE: Final = 0.8
"""Of the sessions, oldest first; the later rest calibrates."""
MIN_GAIN: Final = 0.003
"""Of the log loss: a network that gains less is not worth its weights, and what little it gains may not last."""
MIN_SESSIONS_OF_EACH: Final = 30
"""With a positive, and with a negative row, that a calibration curve is fitted on; fewer would be followed as noise."""
_EARLY_ROWS: Final = 5
_MOST_LOST: Final = 0.01
"""Of ROC-AUC at each of the first rows of a session: what is gained later must not be paid for there."""
_TRIAL_SHARE: Final = 0.45
_STOPPING_SHARE: Final = 0.55
"""The network is tried on the sessions up to `_TRIAL_SHARE`, stopped by those up to this share, judged by the next."""


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Rows in time order: features (n, n_features) float32, labels (n,) bool, sessions (n,) int64, ascending."""

    features: NDArray[np.float32]
    labels: NDArray[np.bool_]
    sessions: NDArray[np.int64]

    def between(self, first_share: float, last_share: float) -> "LabelledRows":
        """Return the rows of the sessions from one share of their numbers to another."""
        first, n_numbers = self.sessions[0], self.sessions[-1] + 1 - self.sessions[0]
        low, high = (np.searchsorted(self.sessions, first + share * n_numbers) for share in (first_share, last_share))
        return LabelledRows(self.features[low:high], self.labels[low:high], self.sessions[low:high])

    @property
    def has_both(self) -> bool:
        """Return whether the labels are not all alike."""
        return bool(self.labels.any() and not self.labels.all())

    @property
    def rows(self) -> Rows:
        """Return what a network is trained on."""
        return Rows(self.features, self.labels)


def fit_head(data: LabelledRows) -> IntentHead | None:
    """Fit, choose and calibrate by time order; None where the labels are all alike.

    The network is served where on later sessions its log loss is lower by `MIN_GAIN` at least, significantly at 95 % by
    the bootstrap over sessions, and it ranks no worse, early in the sessions neither; then it is trained again on all
    that is not kept for the calibration.
    """
    if not data.has_both:
        return None
    fit, later = data.between(0, FIT_SHARE), data.between(FIT_SHARE, 1)
    if not fit.has_both:
        return None
    logistic = fit_logistic_model(*fit.rows)
    epochs = _better_epochs(data)
    served = fit_for(epochs, logistic, fit.rows) if epochs else logistic
    as_bar = calibrated(logistic, later)
    return IntentHead(calibrated(served, later) if epochs else as_bar, as_bar)


def calibrated(model: FeatureModel, later: LabelledRows) -> CalibratedModel:
    """Calibrate on rows in time order: each kind is fitted on the earlier half, judged on the later half.

    Kinds: none, Platt, isotonic; a later one is taken where its log loss is lower, significantly at 95 %. Only none is
    left where the earlier half has too few sessions (`MIN_SESSIONS_OF_EACH`). The kind is fitted again on both halves,
    but `held_out` is what it reached on the later one.
    """
    logits, labels = model.logits(later.features), later.labels
    half = len(labels) // 2
    best: CalibrationFit = uncalibrated
    reached = uncalibrated(logits, labels).probabilities(logits[half:])
    earlier, has_it = later.sessions[:half], labels[:half]
    if min(len(np.unique(earlier[rows])) for rows in (has_it, ~has_it)) >= MIN_SESSIONS_OF_EACH:
        for kind in (fit_platt, fit_isotonic):
            trial = kind(logits[:half], labels[:half]).probabilities(logits[half:])
            if _is_better(labels[half:], later.sessions[half:], trial, reached):
                best, reached = kind, trial
    return CalibratedModel(model, best(logits, labels), intent_quality(labels[half:], reached))


def _better_epochs(data: LabelledRows) -> tuple[int, ...]:
    """Return the epochs that a network needs to be better than the logistic regression; none where it is not."""
    trial, stopping = data.between(0, _TRIAL_SHARE), data.between(_TRIAL_SHARE, _STOPPING_SHARE)
    judging = data.between(_STOPPING_SHARE, FIT_SHARE)
    if not (trial.has_both and stopping.has_both and judging.has_both):
        return ()
    logistic = fit_logistic_model(*trial.rows)
    network = fit_until_best(logistic, trial.rows, stopping.rows)
    predicted, baseline = (sigmoid(one.logits(judging.features)) for one in (network.model, logistic))
    labels = judging.labels
    is_worth_it = (
        log_loss(labels, predicted) < (1 - MIN_GAIN) * log_loss(labels, baseline)
        and pr_auc(labels, predicted) >= pr_auc(labels, baseline)
        and roc_auc(labels, predicted) >= roc_auc(labels, baseline)
        and _ranks_early_rows(judging, predicted, baseline)
        and _is_better(labels, judging.sessions, predicted, baseline)
    )
    return network.best if is_worth_it else ()


def _ranks_early_rows(data: LabelledRows, predicted: NDArray[np.float64], baseline: NDArray[np.float64]) -> bool:
    """Hold two sets of probabilities against each other at the first, second, ... row of the sessions."""
    places = np.arange(len(data.sessions)) - np.searchsorted(data.sessions, data.sessions)
    for place in range(_EARLY_ROWS):
        rows = places == place
        # Without both classes ROC-AUC is NaN, and nothing is lost.
        if roc_auc(data.labels[rows], predicted[rows]) < roc_auc(data.labels[rows], baseline[rows]) - _MOST_LOST:
            return False
    return True


def _is_better(
    labels: NDArray[np.bool_],
    sessions: NDArray[np.int64],
    predicted: NDArray[np.float64],
    baseline: NDArray[np.float64],
) -> bool:
    """Hold two sets of probabilities against the labels, all (n,): True where the first has the lower log loss."""
    gains = log_losses(labels, baseline) - log_losses(labels, predicted)
    (gain,) = session_intervals(sessions, gains[:, np.newaxis])
    return gain.low > 0
