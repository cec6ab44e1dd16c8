"""What our own networks share, whatever reads the session: one item table, scaled cosines, returns to items.

Normalised vectors with a temperature: Gupta et al. 2019 (NISER).
"""

import math
from abc import ABC, abstractmethod

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from session_model.networks.next_item import Reading
from session_model.networks.settings import NetworkSettings

RETURN_DECAY = 2.0
"""Clicks: how fast the pull of an item of the session fades."""
_N_RETURN_TERMS = 3


class CosineNetwork(ABC):
    """A `NextItemNetwork` whose logits are `scale` times the cosine of session and item; session_model trains these.

    What it reads also says how likely a return to an item of the session is: a cosine cannot tell that a shopper comes
    back to what was seen from that it is alike (a copy gate as in RepeatNet: Ren et al., AAAI 2019, in one softmax).

    item_table: (n_items + 1, dimension) float32; row 0 is padding. It is input embedding and output weights in one, and
    its rows are used at unit length only.
    """

    def __init__(self, n_items: int, settings: NetworkSettings, *, seed: int) -> None:
        table = np.random.default_rng(seed).standard_normal((n_items + 1, settings.dimension), np.float32)
        self.item_table = tf.Variable(table / math.sqrt(settings.dimension), name="item_table")
        self.returns = keras.layers.Dense(_N_RETURN_TERMS, kernel_initializer="zeros")
        self.scale = settings.scale
        self.max_length = settings.max_length

    @property
    @abstractmethod
    def layers(self) -> list[keras.layers.Layer]:
        """The layers whose weights `read` reads."""

    @abstractmethod
    def read(self, item_vectors: tf.Tensor, positions: tf.Tensor, *, dropout_seed: tf.Tensor | None = None) -> Reading:
        """Read as `NextItemNetwork.read` does; the vectors have unit length.

        dropout_seed: (2,) int32 switches dropout on.
        """

    @property
    def dense_variables(self) -> list[tf.Variable]:
        """All weights but the item table, in a fixed order."""
        return [weight.value for layer in self.layers for weight in layer.trainable_weights]

    @property
    def n_items(self) -> int:
        """Count the items, padding not included."""
        return int(self.item_table.shape[0]) - 1

    def item_vectors(self) -> NDArray[np.float32]:
        """Return what `read` reads of each item, (n_items + 1, dimension); row 0, padding, is zero."""
        vectors: NDArray[np.float32] = unit_rows(self.item_table).numpy()
        vectors[0] = 0.0
        return vectors

    def item_matrix(self) -> NDArray[np.float32]:
        """Return what a session vector is multiplied with for the logits, (dimension, n_items)."""
        return np.asarray(self.scale * self.item_vectors()[1:].T)

    def weights(self) -> list[NDArray[np.float32]]:
        """Copy all weights, the item table first."""
        return [variable.numpy() for variable in (self.item_table, *self.dense_variables)]

    def set_weights(self, weights: list[NDArray[np.float32]]) -> None:
        """Take weights that `weights` gave."""
        for variable, weight in zip((self.item_table, *self.dense_variables), weights, strict=True):
            variable.assign(weight)

    def _pull(self, read: tf.Tensor, positions: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """Return `Reading.returns` of what was `read` (n_positions, any): three things of each place are weighed.

        That it was seen, how lately, and that it is the latest.
        """
        clicks_since = (positions % length)[:, tf.newaxis] - tf.range(length)
        since = tf.cast(tf.maximum(clicks_since, 0), tf.float32)
        terms = tf.stack(
            [tf.ones_like(since), tf.exp(since * (-1 / RETURN_DECAY)), tf.cast(clicks_since == 0, tf.float32)], 2
        )
        pull = tf.linalg.matvec(terms, self.returns(read))
        return tf.where(clicks_since >= 0, pull, 0.0)


def unit_rows(table: tf.Tensor) -> tf.Tensor:
    """Scale each row of `table` (n, dimension) to length 1."""
    return tf.math.l2_normalize(table, axis=1)
