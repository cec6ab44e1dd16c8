"""A logit from a row of features: a logistic regression, or one with a hidden layer beside it; plain NumPy."""

from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray


class HiddenUnit(msgspec.Struct, frozen=True):
    """One unit of the hidden layer: it adds output * tanh(z @ weights + bias), z the standardised features."""

    weights: tuple[float, ...]
    bias: float
    output: float


@dataclass(frozen=True, slots=True)
class Layers:
    """A model on the raw features x: logit = x @ weights + bias + tanh(x @ hidden_weights + hidden_biases) @ outputs.

    weights: (n_features,). hidden_weights: (n_features, n_hidden). hidden_biases, outputs: (n_hidden,). All float64.
    """

    weights: NDArray[np.float64]
    bias: float
    hidden_weights: NDArray[np.float64]
    hidden_biases: NDArray[np.float64]
    outputs: NDArray[np.float64]


class FeatureModel(msgspec.Struct, frozen=True, dict=True):
    """logit = z @ weights + bias + what the hidden units add, z = (features - means) / scales.

    means, scales, weights: (n_features,). Without a hidden unit it is a logistic regression.
    """

    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    hidden: tuple[HiddenUnit, ...] = ()

    @cached_property
    def layers(self) -> Layers:
        """The same on the raw features."""
        means, scales, weights = np.array(self.means), np.array(self.scales), np.array(self.weights) / self.scales
        rows = np.array([unit.weights for unit in self.hidden], np.float64).reshape(-1, len(scales)) / scales
        biases = np.array([unit.bias for unit in self.hidden], np.float64) - rows @ means
        outputs = np.array([unit.output for unit in self.hidden], np.float64)
        return Layers(weights, self.bias - float(weights @ means), rows.T, biases, outputs)

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the logits of (n, n_features) rows, (n,)."""
        layers, inputs = self.layers, features.astype(np.float64)
        hidden = np.tanh(inputs @ layers.hidden_weights + layers.hidden_biases)
        return inputs @ layers.weights + layers.bias + hidden @ layers.outputs

    def standardised(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return z of (n, n_features) rows."""
        return np.asarray((features.astype(np.float64) - np.array(self.means)) / np.array(self.scales), np.float64)
