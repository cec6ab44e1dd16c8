"""Training of the hidden layer."""

import numpy as np
import pytest

from session_model.fitting.feature_network import MEMBERS, Rows, _gradients, _Parameters, fit_for, fit_until_best
from session_model.fitting.logistic import fit_logistic_model
from session_model.intent.calibration import sigmoid
from session_model.metrics.intent import log_loss


def exclusive(n: int, seed: int) -> Rows:
    """Draw what no logistic regression can say: one of two features, but not both."""
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 1, (n, 2)).astype(np.float32)
    return Rows(features, (features[:, 0] > 0) != (features[:, 1] > 0))


def test_what_is_not_linear_is_learned() -> None:
    """The network says what the regression cannot, on rows that neither has seen."""
    training, validation, later = (exclusive(4_000, seed) for seed in (1, 2, 3))
    start = fit_logistic_model(*training)
    network = fit_until_best(start, training, validation)
    losses = [log_loss(later.labels, sigmoid(one.logits(later.features))) for one in (start, network.model)]
    assert losses[0] == pytest.approx(np.log(2), abs=0.01)
    assert losses[1] < 0.4


def test_noise_keeps_the_regression() -> None:
    """Where nothing is to be learned, no epoch is better than the start, and its logits stay."""
    rng = np.random.default_rng(4)
    parts = [Rows(rng.normal(0, 1, (400, 3)).astype(np.float32), rng.random(400) < 0.5) for _ in range(2)]
    start = fit_logistic_model(parts[1].features, parts[1].labels)
    network = fit_until_best(start, parts[0], parts[1])
    assert network.best == (0,) * MEMBERS
    assert network.model.logits(parts[0].features) == pytest.approx(start.logits(parts[0].features))


def test_the_same_seed_gives_the_same_network() -> None:
    """Two runs over as many epochs agree to the bit."""
    training = exclusive(600, 5)
    start = fit_logistic_model(*training)
    assert fit_for((2, 1), start, training) == fit_for((2, 1), start, training)


def test_gradients_are_the_slopes_of_the_loss() -> None:
    """Each equals the difference quotient of the mean log loss with weight decay."""
    rng = np.random.default_rng(6)
    shapes = _Parameters((3, 4), (4,), (4,), (3,), (1,))  # type: ignore[arg-type]
    parameters = _Parameters(*(rng.normal(0, 0.5, shape) for shape in shapes))
    inputs, targets = rng.normal(0, 1, (8, 3)), (rng.random(8) < 0.5).astype(np.float64)

    def loss(at: _Parameters) -> float:
        hidden = np.tanh(inputs @ at.hidden_weights + at.hidden_biases)
        logits = hidden @ at.outputs + inputs @ at.weights + at.bias
        decay = 1e-4 / 2 * float((at.hidden_weights**2).sum() + (at.outputs**2).sum())
        return float((np.logaddexp(0, logits) - targets * logits).mean()) + decay

    for place, gradient in enumerate(_gradients(parameters, inputs, targets)):
        step = np.zeros_like(gradient)
        step.flat[0] = 1e-5
        moved = [
            parameters._replace(**{_Parameters._fields[place]: parameters[place] + sign * step}) for sign in (1, -1)
        ]
        assert gradient.flat[0] == pytest.approx((loss(moved[0]) - loss(moved[1])) / 2e-5, rel=1e-3, abs=1e-7)
