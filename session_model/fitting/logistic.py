"""Logistic regression by scikit-learn's Newton steps: exact, and without a random start; exported as plain numbers."""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from session_model.intent.feature_model import FeatureModel

TOLERANCE = 1e-6
"""Of the gradient of the mean log loss, in each coordinate."""
L2 = 1e-4


def fit_logistic(inputs: NDArray[np.float64], targets: NDArray[np.float64], l2: float) -> NDArray[np.float64]:
    """Minimise the mean log loss + l2 / 2 * |weights|^2.

    inputs: (n, n_inputs); targets: (n,) in [0, 1], not all 0 nor all 1. Returns (n_inputs + 1,): the weights, then the
    bias (not penalised).
    """
    # The log loss is linear in the target: one between 0 and 1 is a row of each class, weighted.
    positive, negative = targets > 0, targets < 1
    regression = LogisticRegression(C=1 / (l2 * len(inputs)), solver="newton-cholesky", tol=TOLERANCE)
    regression.fit(
        np.concatenate([inputs[positive], inputs[negative]]),
        np.repeat([True, False], [positive.sum(), negative.sum()]),
        np.concatenate([targets[positive], 1 - targets[negative]]),
    )
    return np.append(regression.coef_[0], regression.intercept_)


def fit_logistic_model(features: NDArray[np.float32], labels: NDArray[np.bool_]) -> FeatureModel:
    """Fit a logistic regression on standardised features, (n, n_features) and (n,); a constant feature counts not."""
    means = features.mean(axis=0, dtype=np.float64)
    deviations = features.std(axis=0, dtype=np.float64)
    scales = np.where(deviations > 0, deviations, 1.0)
    solution = fit_logistic((features - means) / scales, labels.astype(np.float64), L2)
    return FeatureModel(
        tuple(means.tolist()), tuple(scales.tolist()), tuple(solution[:-1].tolist()), float(solution[-1])
    )
