"""Logistic regression and calibration."""

import numpy as np
import pytest
from numpy.typing import NDArray

from session_model.fitting.calibration import CalibrationFit, fit_isotonic, fit_platt
from session_model.fitting.logistic import fit_logistic
from session_model.intent.calibration import sigmoid
from session_model.metrics.intent import expected_calibration_error


def overconfident(n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Draw logits that are twice what the labels bear, and shifted."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-1.5, 1.0, n)
    return 2 * truth + 1, rng.random(n) < sigmoid(truth)


def test_logistic_regression_finds_the_weights() -> None:
    """On 40,000 rows drawn from known weights the estimates are within .1."""
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(40_000, 2))
    labels = rng.random(40_000) < sigmoid(inputs @ np.array([1.0, -0.5]) - 2.0)
    assert fit_logistic(inputs, labels.astype(np.float64), 1e-6).tolist() == pytest.approx([1.0, -0.5, -2.0], abs=0.1)


def test_separable_classes_stay_finite() -> None:
    """The penalty bounds weights that the likelihood would send to infinity; the classes come apart."""
    inputs = np.linspace(-1, 1, 50)[:, None]
    solution = fit_logistic(inputs, (inputs[:, 0] > 0).astype(np.float64), 1e-4)
    assert np.all(np.isfinite(solution))
    assert np.all((sigmoid(inputs[:, 0] * solution[0] + solution[1]) > 0.5) == (inputs[:, 0] > 0))


def test_constant_inputs_get_no_weight() -> None:
    """A column that never changes does not break the solution."""
    targets = np.array([0.0, 1.0, 0.0, 0.0])
    weight, bias = fit_logistic(np.zeros((4, 1)), targets, 1e-4)
    assert weight == pytest.approx(0)
    assert sigmoid(np.array([bias]))[0] == pytest.approx(0.25, abs=1e-4)


@pytest.mark.parametrize("fit", [fit_platt, fit_isotonic])
def test_calibration_mends_an_overconfident_model(fit: CalibrationFit) -> None:
    """On rows it has not seen, the calibrated error is small where the raw one is large."""
    calibration = fit(*overconfident(8_000, seed=1))
    logits, labels = overconfident(8_000, seed=2)
    assert expected_calibration_error(labels, sigmoid(logits)) > 0.07
    assert expected_calibration_error(labels, calibration.probabilities(logits)) < 0.02


def test_isotonic_never_falls() -> None:
    """The curve is monotone even where the rates are not, and flat outside the knots."""
    rng = np.random.default_rng(5)
    calibration = fit_isotonic(rng.normal(size=300), rng.random(300) < 0.3)
    curve = calibration.probabilities(np.linspace(-9, 9, 500))
    assert np.all(np.diff(curve) >= 0)
    assert 0 < curve[0] < curve[-1] < 1


def test_equal_logits_are_one_knot() -> None:
    """A model that says the same of everyone gets the base rate, not a cliff."""
    calibration = fit_isotonic(np.repeat([0.0, 1e-9], 50), np.arange(100) % 4 == 0)
    assert calibration.knots == ((pytest.approx(0.0, abs=1e-6), pytest.approx(0.25)),)
