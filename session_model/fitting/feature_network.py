"""Trains the hidden layer of a `FeatureModel`, beginning at a logistic regression: Adam on the log loss, in NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from session_model.intent.calibration import sigmoid
from session_model.intent.feature_model import FeatureModel, HiddenUnit
from session_model.metrics.intent import log_loss

HIDDEN_UNITS: Final = 32
MEMBERS: Final = 3
"""Networks of other random starts whose logits are averaged; one alone varies by its seed."""
MAX_EPOCHS: Final = 40
PATIENCE: Final = 4
"""Epochs without a better validation loss before training stops."""
_BATCH_SIZES: Final = (64, 512)
_STEPS_AN_EPOCH: Final = 100
"""Aimed at, within the batch sizes: few rows are to move the network, too."""
_LEARNING_RATE: Final = 1e-3
_WEIGHT_DECAY: Final = 1e-4
_MOMENTS: Final = (0.9, 0.999)
_EPSILON: Final = 1e-7
_Array = NDArray[np.float32]


class Rows(NamedTuple):
    """Features (n, n_features) float32 and labels (n,) bool."""

    features: NDArray[np.float32]
    labels: NDArray[np.bool_]


class _Parameters(NamedTuple):
    """Shapes: (n_features, n_hidden), (n_hidden,), (n_hidden,), (n_features,), (1,)."""

    hidden_weights: _Array
    hidden_biases: _Array
    outputs: _Array
    weights: _Array
    bias: _Array


@dataclass(frozen=True, slots=True)
class Epochs:
    """A network, and after how many epochs each of its members was best; 0 = the regression it began at."""

    model: FeatureModel
    best: tuple[int, ...]


def fit_until_best(start: FeatureModel, training: Rows, validation: Rows) -> Epochs:
    """Train on `training` for as long as the log loss on `validation` falls: `MEMBERS` networks, and their mean."""
    members = [_fit_member(start, training, validation, seed) for seed in range(MEMBERS)]
    return Epochs(_mean([model for model, _ in members]), tuple(epoch for _, epoch in members))


def fit_for(epochs: tuple[int, ...], start: FeatureModel, training: Rows) -> FeatureModel:
    """Train each member for a known number of epochs."""
    members = list[FeatureModel]()
    for seed, n_epochs in enumerate(epochs):
        trainer = _Trainer(start, training, seed)
        for _ in range(n_epochs):
            trainer.epoch()
        members.append(trainer.model())
    return _mean(members)


def _fit_member(start: FeatureModel, training: Rows, validation: Rows, seed: int) -> tuple[FeatureModel, int]:
    best, best_loss, best_epoch = start, _loss(start, validation), 0
    trainer = _Trainer(start, training, seed)
    for epoch in range(1, MAX_EPOCHS + 1):
        trainer.epoch()
        model = trainer.model()
        if (loss := _loss(model, validation)) < best_loss:
            best, best_loss, best_epoch = model, loss, epoch
        elif epoch - best_epoch >= PATIENCE:
            break
    return best, best_epoch


def _mean(members: Sequence[FeatureModel]) -> FeatureModel:
    """Return the network whose logit is the mean of its members' logits: all their hidden units side by side."""
    n = len(members)
    weights = np.mean([member.weights for member in members], axis=0)
    hidden = tuple(HiddenUnit(unit.weights, unit.bias, unit.output / n) for member in members for unit in member.hidden)
    bias = sum(member.bias for member in members) / n
    return FeatureModel(members[0].means, members[0].scales, tuple(weights.tolist()), bias, hidden)


class _Trainer:
    """The state of one training run; the hidden layer begins with outputs of 0, so that the start is the regression."""

    def __init__(self, start: FeatureModel, training: Rows, seed: int) -> None:
        self._start = start
        self._rng = np.random.default_rng(seed)
        self._inputs = start.standardised(training.features).astype(np.float32)
        self._targets = training.labels.astype(np.float32)
        n_features = self._inputs.shape[1]
        self._parameters = _Parameters(
            self._rng.normal(0, n_features**-0.5, (n_features, HIDDEN_UNITS)).astype(np.float32),
            np.zeros(HIDDEN_UNITS, np.float32),
            np.zeros(HIDDEN_UNITS, np.float32),
            np.array(start.weights, np.float32),
            np.array([start.bias], np.float32),
        )
        self._means = [np.zeros_like(parameter) for parameter in self._parameters]
        self._squares = [np.zeros_like(parameter) for parameter in self._parameters]
        self._steps = count(1)

    def epoch(self) -> None:
        """Go once through the rows in a new order."""
        order = self._rng.permutation(len(self._targets))
        least, most = _BATCH_SIZES
        size = min(max(len(order) // _STEPS_AN_EPOCH, least), most)
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            self._step(_gradients(self._parameters, self._inputs[rows], self._targets[rows]))

    def model(self) -> FeatureModel:
        """Return the network as it is now."""
        weights, biases, outputs, linear, bias = (parameter.astype(np.float64) for parameter in self._parameters)
        hidden = tuple(
            HiddenUnit(tuple(column.tolist()), float(unit_bias), float(output))
            for column, unit_bias, output in zip(weights.T, biases, outputs, strict=True)
        )
        return FeatureModel(self._start.means, self._start.scales, tuple(linear.tolist()), float(bias[0]), hidden)

    def _step(self, gradients: _Parameters) -> None:
        """Take a step of Adam (Kingma & Ba, ICLR 2015)."""
        step = next(self._steps)
        first, second = _MOMENTS
        rate = np.float32(_LEARNING_RATE * (1 - second**step) ** 0.5 / (1 - first**step))
        for place, gradient in enumerate(gradients):
            mean, square = self._means[place], self._squares[place]
            mean += (1 - first) * (gradient - mean)
            square += (1 - second) * (gradient**2 - square)
            np.subtract(
                self._parameters[place],
                rate * mean / (np.sqrt(square) + _EPSILON),
                out=self._parameters[place],
            )


def _gradients(parameters: _Parameters, inputs: _Array, targets: _Array) -> _Parameters:
    """Return those of the mean log loss + `_WEIGHT_DECAY` / 2 * |hidden weights and outputs|^2."""
    hidden = np.tanh(inputs @ parameters.hidden_weights + parameters.hidden_biases)
    logits = hidden @ parameters.outputs + inputs @ parameters.weights + parameters.bias
    errors = (0.5 * (1.0 + np.tanh(0.5 * logits)) - targets) / np.float32(len(targets))
    at_hidden = errors[:, np.newaxis] * parameters.outputs * (1 - hidden**2)
    return _Parameters(
        inputs.T @ at_hidden + _WEIGHT_DECAY * parameters.hidden_weights,
        at_hidden.sum(axis=0),
        hidden.T @ errors + _WEIGHT_DECAY * parameters.outputs,
        inputs.T @ errors,
        errors.sum(keepdims=True),
    )


def _loss(model: FeatureModel, rows: Rows) -> float:
    return log_loss(rows.labels, sigmoid(model.logits(rows.features)))
