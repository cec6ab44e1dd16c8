"""The session model: a GRU over item vectors, scored by scaled cosine against the same item table.

Hidasi et al., ICLR 2016 and CIKM 2018 (GRU4Rec); normalised vectors with a temperature: Gupta et al. 2019 (NISER).
"""

import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from session_model.networks.settings import GruSettings

RETURN_DECAY = 2.0
"""Clicks: how fast the pull of an item of the session fades."""
_N_RETURN_TERMS = 3


class Reading(NamedTuple):
    """What the model makes of some positions.

    vectors: (n_positions, dimension) float32, unit length. returns: (n_positions, length) float32, to be added to the
    logit of the item at each place of the position's row: how much likelier than its cosine says a shopper comes back
    to it, negative for less; 0 at later places.
    """

    vectors: tf.Tensor
    returns: tf.Tensor


class SessionGru:
    """Shared item table, GRU, and the projection of [state; last item vector; attended items] to a session vector.

    The same inputs also say how likely a return to an item of the session is: a cosine cannot tell that a shopper comes
    back to what was seen from that it is alike (a copy gate as in RepeatNet: Ren et al., AAAI 2019, in one softmax).

    item_table: (n_items + 1, dimension) float32; row 0 is padding. It is input embedding and output weights in one, and
    its rows are used at unit length only.
    The state starts at zero with each session: a call sees whole sessions, nothing is carried over.
    """

    def __init__(self, n_items: int, settings: GruSettings, *, seed: int) -> None:
        self.settings = settings
        table = np.random.default_rng(seed).standard_normal((n_items + 1, settings.dimension), np.float32)
        self.item_table = tf.Variable(table / math.sqrt(settings.dimension), name="item_table")
        self.gru = keras.layers.GRU(
            settings.units,
            return_sequences=True,
            use_cudnn=False,
            kernel_initializer=keras.initializers.GlorotUniform(seed),
            recurrent_initializer=keras.initializers.Orthogonal(seed=seed + 1),
        )
        self.readout = keras.layers.Dense(
            settings.dimension, use_bias=False, kernel_initializer=keras.initializers.GlorotUniform(seed + 2)
        )
        self.query = keras.layers.Dense(
            settings.dimension, use_bias=False, kernel_initializer=keras.initializers.GlorotUniform(seed + 3)
        )
        self.returns = keras.layers.Dense(_N_RETURN_TERMS, kernel_initializer="zeros")
        self.gru.build((None, None, settings.dimension))
        n_read = settings.units + (2 if settings.has_attention else 1) * settings.dimension
        self.readout.build((None, n_read))
        self.returns.build((None, n_read))
        if settings.has_attention:
            self.query.build((None, None, settings.units))
            self._start_readout_at_attention()

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The layers whose weights `read` reads."""
        return [self.gru, self.readout, self.query, self.returns]

    @property
    def dense_variables(self) -> list[tf.Variable]:
        """All weights but the item table, in a fixed order."""
        return [weight.value for layer in self.layers for weight in layer.trainable_weights]

    @property
    def n_items(self) -> int:
        """Count the items, padding not included."""
        return int(self.item_table.shape[0]) - 1

    def item_vectors(self) -> NDArray[np.float32]:
        """Give what `read` reads of each item, (n_items + 1, dimension); row 0, padding, is zero."""
        vectors: NDArray[np.float32] = unit_rows(self.item_table).numpy()
        vectors[0] = 0.0
        return vectors

    def item_matrix(self) -> NDArray[np.float32]:
        """Give what a session vector is multiplied with for the logits, (dimension, n_items)."""
        return np.asarray(self.settings.scale * self.item_vectors()[1:].T)

    def read(self, item_vectors: tf.Tensor, positions: tf.Tensor, *, dropout_seed: tf.Tensor | None = None) -> Reading:
        """Read sessions up to some positions.

        item_vectors: (batch, length, dimension), unit vectors padded at the end; no position sees what follows it.
        positions: (n_positions,) int32 into the flattened (batch * length).
        dropout_seed: (2,) int32 switches dropout on.
        """
        width = self.settings.dimension
        inputs = item_vectors
        if dropout_seed is not None:
            inputs = tf.nn.experimental.stateless_dropout(inputs, self.settings.item_dropout, dropout_seed)
        all_states = self.gru(inputs)
        states = tf.gather(tf.reshape(all_states, (-1, self.settings.units)), positions)
        if dropout_seed is not None:
            states = tf.nn.experimental.stateless_dropout(states, self.settings.state_dropout, dropout_seed + 1)
        seen = [inputs, self._attended(all_states, inputs)] if self.settings.has_attention else [inputs]
        items = [tf.gather(tf.reshape(one, (-1, width)), positions) for one in seen]
        read = tf.concat([states, *items], axis=1)
        return Reading(
            tf.math.l2_normalize(self.readout(read), axis=1), self._returns(read, positions, tf.shape(item_vectors)[1])
        )

    def _returns(self, read: tf.Tensor, positions: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """Weigh three things of each place: that it was seen, how lately, and that it is the latest."""
        clicks_since = (positions % length)[:, tf.newaxis] - tf.range(length)
        since = tf.cast(tf.maximum(clicks_since, 0), tf.float32)
        terms = tf.stack(
            [tf.ones_like(since), tf.exp(since * (-1 / RETURN_DECAY)), tf.cast(clicks_since == 0, tf.float32)], 2
        )
        pull = tf.linalg.matvec(terms, self.returns(read))
        return tf.where(clicks_since >= 0, pull, 0.0)

    def _attended(self, states: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        """Give the weighted mean of the items up to each position, (batch, length, dimension)."""
        scores = tf.matmul(self.query(states), inputs, transpose_b=True)
        seen = tf.linalg.band_part(tf.ones_like(scores), -1, 0)
        return tf.matmul(tf.nn.softmax(tf.where(seen > 0, scores, scores.dtype.min)), inputs)

    def _start_readout_at_attention(self) -> None:
        """Let the attended items pass the projection unchanged at first."""
        kernel = self.readout.kernel.numpy()
        kernel[-self.settings.dimension :] = np.eye(self.settings.dimension)
        self.readout.kernel.assign(kernel)

    def weights(self) -> list[NDArray[np.float32]]:
        """Copy all weights, the item table first."""
        return [variable.numpy() for variable in (self.item_table, *self.dense_variables)]

    def set_weights(self, weights: list[NDArray[np.float32]]) -> None:
        """Take weights that `weights` gave."""
        for variable, weight in zip((self.item_table, *self.dense_variables), weights, strict=True):
            variable.assign(weight)


def with_returns(logits: tf.Tensor, returns: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Add `returns` (n_positions, length) to `logits` (n_positions, n_columns) at `columns` (n_positions, length).

    Columns below 0 are left out; an item that stands at several places gets the sum.
    """
    shape = tf.shape(columns)
    rows = tf.broadcast_to(tf.range(shape[0])[:, tf.newaxis], shape)
    places = tf.stack([rows, tf.maximum(columns, 0)], axis=2)
    return tf.tensor_scatter_nd_add(logits, places, tf.where(columns >= 0, returns, 0.0))


def unit_rows(table: tf.Tensor) -> tf.Tensor:
    """Scale each row of `table` (n, dimension) to length 1."""
    return tf.math.l2_normalize(table, axis=1)
