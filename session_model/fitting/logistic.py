"""Logistic regression by iteratively reweighted least squares: small, exact, and without a random start."""

import numpy as np
from numpy.typing import NDArray

from session_model.intent.calibration import sigmoid
from session_model.intent.feature_model import FeatureModel

MAX_ITERATIONS = 50
TOLERANCE = 1e-8
_SMALLEST_VARIANCE = 1e-6
L2 = 1e-4


def fit_logistic(inputs: NDArray[np.float64], targets: NDArray[np.float64], l2: float) -> NDArray[np.float64]:
    """Minimise the mean log loss + l2 / 2 * |weights|^2 by Newton's steps, halved while they do not descend.

    inputs: (n, n_inputs); targets: (n,) in [0, 1]. Gives (n_inputs + 1,): the weights, then the bias (not penalised).
    """
    design = np.column_stack([inputs, np.ones(len(inputs))])
    penalty = np.full(design.shape[1], l2)
    penalty[-1] = 0.0
    solution = np.zeros(design.shape[1])
    value = _objective(design, targets, penalty, solution)
    for _ in range(MAX_ITERATIONS):
        step = _newton_step(design, targets, penalty, solution)
        while (candidate := _objective(design, targets, penalty, solution - step)) > value + TOLERANCE:
            step = 0.5 * step
        solution, improvement, value = solution - step, value - candidate, candidate
        if improvement < TOLERANCE:
            break
    return solution


def fit_logistic_model(features: NDArray[np.float32], labels: NDArray[np.bool_]) -> FeatureModel:
    """Fit a logistic regression on standardised features, (n, n_features) and (n,); a constant feature counts not."""
    means = features.mean(axis=0, dtype=np.float64)
    deviations = features.std(axis=0, dtype=np.float64)
    scales = np.where(deviations > 0, deviations, 1.0)
    solution = fit_logistic((features - means) / scales, labels.astype(np.float64), L2)
    return FeatureModel(
        tuple(means.tolist()), tuple(scales.tolist()), tuple(solution[:-1].tolist()), float(solution[-1])
    )


def _objective(
    design: NDArray[np.float64],
    targets: NDArray[np.float64],
    penalty: NDArray[np.float64],
    solution: NDArray[np.float64],
) -> float:
    logits = design @ solution
    return float((np.logaddexp(0.0, logits) - targets * logits).mean() + (penalty * solution**2).sum() / 2)


def _newton_step(
    design: NDArray[np.float64],
    targets: NDArray[np.float64],
    penalty: NDArray[np.float64],
    solution: NDArray[np.float64],
) -> NDArray[np.float64]:
    probabilities = sigmoid(design @ solution)
    gradient = design.T @ (probabilities - targets) / len(targets) + penalty * solution
    variance = np.maximum(probabilities * (1 - probabilities), _SMALLEST_VARIANCE)
    hessian = (design * variance[:, None]).T @ design / len(targets) + np.diag(penalty)
    return np.linalg.lstsq(hessian, gradient, rcond=None)[0].astype(np.float64, copy=False)
