"""The feature model against its own formula."""

import numpy as np
import pytest

from session_model.fitting.logistic import fit_logistic_model
from session_model.intent.feature_model import FeatureModel, HiddenUnit

MODEL = FeatureModel((1.0, 0.0), (2.0, 4.0), (0.5, -1.0), 0.25, (HiddenUnit((1.0, 2.0), -0.5, 3.0),))


def test_the_logit_is_the_formula() -> None:
    """With z = (1, .5) that is .5 - .5 + .25 + 3 tanh(1 + 1 - .5)."""
    assert MODEL.logits(np.array([[3.0, 2.0]], np.float32)) == pytest.approx([0.25 + 3 * np.tanh(1.5)])


def test_without_hidden_units_it_is_a_logistic_regression() -> None:
    """Each feature counts by its weight over its scale."""
    model = FeatureModel((1.0, 0.0), (2.0, 4.0), (0.5, -1.0), 0.25)
    assert model.logits(np.array([[3.0, 2.0], [1.0, 0.0]], np.float32)) == pytest.approx([0.25, 0.25])


def test_a_constant_feature_does_not_count() -> None:
    """Its scale is 1 and its weight 0, so nothing is divided by zero."""
    features = np.array([[0.0, 7.0], [1.0, 7.0]] * 20, np.float32)
    model = fit_logistic_model(features, features[:, 0] > 0)
    assert model.scales[1] == 1
    assert model.weights[1] == pytest.approx(0, abs=1e-9)
    assert model.weights[0] > 1
