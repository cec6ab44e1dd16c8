"""Learns, on sessions that the model has not seen, what makes a probability of its logit."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from session_model.fitting.logistic import fit_logistic
from session_model.intent.calibration import Calibration

ISOTONIC_BINS = 20
_PLATT_L2 = 1e-6
_MIN_KNOT_GAP = 1e-3
CalibrationFit = Callable[[NDArray[np.float64], NDArray[np.bool_]], Calibration]
"""(logits (n,), labels (n,)) to the calibration that fits them."""


def uncalibrated(_logits: NDArray[np.float64], _labels: NDArray[np.bool_]) -> Calibration:
    """Take the logits at their word; the bar that a fitted curve has to clear."""
    return Calibration()


def fit_platt(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> Calibration:
    """Fit a sigmoid with Platt's smoothed targets (Platt 1999); both (n,)."""
    positives, negatives = int(labels.sum()), int((~labels).sum())
    targets = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    slope, intercept = fit_logistic(logits[:, None], targets, _PLATT_L2)
    return Calibration(float(slope), float(intercept))


def fit_isotonic(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> Calibration:
    """Fit a monotone curve: smoothed rates of equal-mass bins, pooled where they fall (PAVA); both (n,).

    Bins whose logits are all but equal are pooled too, so that the curve has a finite slope everywhere. By hand, since
    scikit-learn's isotonic regression pools no such bins, and on single rows it says 0 and 1, which costs log loss.
    """
    bins = np.array_split(np.argsort(logits, kind="stable"), min(ISOTONIC_BINS, len(logits)))
    blocks: list[tuple[float, float, int]] = []
    base_rate = float(labels.mean())
    for members in bins:
        rate = (float(labels[members].sum()) + base_rate) / (len(members) + 1)
        blocks.append((float(logits[members].mean()), rate, len(members)))
        while len(blocks) > 1 and (blocks[-2][1] >= blocks[-1][1] or blocks[-1][0] - blocks[-2][0] < _MIN_KNOT_GAP):
            blocks[-2:] = [_pooled(blocks[-2], blocks[-1])]
    return Calibration(knots=tuple((logit, rate) for logit, rate, _ in blocks))


def _pooled(left: tuple[float, float, int], right: tuple[float, float, int]) -> tuple[float, float, int]:
    size = left[2] + right[2]
    logit = (left[0] * left[2] + right[0] * right[2]) / size
    return logit, (left[1] * left[2] + right[1] * right[2]) / size, size
