"""GRU4Rec as it was published, the baseline that a session model has to beat.

Hidasi et al., ICLR 2016; Hidasi & Karatzoglou, CIKM 2018 (BPR-max, shared negatives, one table for input and output);
parameter sets and the mistakes of re-implementations: Hidasi & Czapp, RecSys 2023. Written from the papers.
"""

import math

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from session_model.networks.losses import bpr_max, sampled_cross_entropy
from session_model.networks.next_item import Reading
from session_model.networks.settings import Gru4RecSettings


class Gru4Rec:
    """Item table and GRU; the score of an item is state . vector + bias.

    item_table: (n_items + 1, units + 1) float32; row 0 is padding, the last column the bias. It is input embedding and
    output weights in one.
    """

    def __init__(self, n_items: int, settings: Gru4RecSettings) -> None:
        self.settings = settings
        self.max_length = settings.max_length
        rng = np.random.default_rng(settings.seed)
        units = settings.units
        table = np.zeros((n_items + 1, units + 1), np.float32)
        table[1:, :units] = _glorot(rng, n_items, units)
        self.item_table = tf.Variable(table, name="item_table")
        # reset_after=False is the cell of Cho et al. 2014, which the paper uses: tanh(W x + U (r * h)).
        self.gru = keras.layers.GRU(units, return_sequences=True, reset_after=False, use_cudnn=False)
        self.gru.build((None, None, units))
        kernels = [np.concatenate([_glorot(rng, units, units) for _ in range(3)], axis=1) for _ in range(2)]
        self.gru.set_weights([*kernels, np.zeros(3 * units, np.float32)])

    @property
    def dense_variables(self) -> list[tf.Variable]:
        """All weights but the item table, in a fixed order."""
        return [weight.value for weight in self.gru.trainable_weights]

    @property
    def n_items(self) -> int:
        """Count the items, padding not included."""
        return int(self.item_table.shape[0]) - 1

    def item_vectors(self) -> NDArray[np.float32]:
        """Return what `read` reads of each item, (n_items + 1, units); row 0, padding, is zero."""
        return np.asarray(self.item_table.numpy()[:, :-1])

    def item_matrix(self) -> NDArray[np.float32]:
        """Return what a session vector is multiplied with for the scores, (units + 1, n_items)."""
        return np.asarray(self.item_table.numpy()[1:].T)

    def read(self, item_vectors: tf.Tensor, positions: tf.Tensor) -> Reading:
        """Return [state; 1] at each position, (n_positions, units + 1), and no returns; each row starts at zero.

        item_vectors: (batch, length, units), padded at the end. positions: (n_positions,) int32 into the flattened
        (batch * length).
        """
        states = tf.gather(tf.reshape(self.gru(item_vectors), (-1, self.settings.units)), positions)
        return Reading(_with_one(states), tf.zeros((tf.shape(positions)[0], tf.shape(item_vectors)[1])))

    def step(self, item_vectors: tf.Tensor, states: tf.Tensor, dropout_seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Take one click of each session in training: give the new states and the session vectors to score.

        item_vectors, states: (n, units). dropout_seed: (2,) int32.
        """
        dropout = tf.nn.experimental.stateless_dropout
        inputs = dropout(item_vectors, self.settings.item_dropout, dropout_seed)
        _, (states,) = self.gru.cell(inputs, [states])
        return states, _with_one(dropout(states, self.settings.state_dropout, dropout_seed + 1))

    def loss(self, scores: tf.Tensor, labels: tf.Tensor, log_inclusion: tf.Tensor) -> tf.Tensor:
        """Return the loss of raw `scores`; arguments as those of `sampled_cross_entropy`."""
        if self.settings.loss == "cross-entropy":
            return sampled_cross_entropy(scores, labels, log_inclusion)
        return bpr_max(elu(scores, self.settings.elu), labels, self.settings.penalty)


def elu(scores: tf.Tensor, alpha: float) -> tf.Tensor:
    """Return x where x > 0, else alpha (exp x - 1) (Clevert et al., ICLR 2016); rising, so it ranks alike."""
    return tf.where(scores > 0, scores, alpha * tf.math.expm1(tf.minimum(scores, 0.0)))


def _with_one(states: tf.Tensor) -> tf.Tensor:
    return tf.concat([states, tf.ones_like(states[:, :1])], axis=1)


def _glorot(rng: np.random.Generator, n_rows: int, n_columns: int) -> NDArray[np.float32]:
    """Draw from the uniform distribution of Glorot & Bengio 2010, also for the item table, as the authors do."""
    bound = math.sqrt(6 / (n_rows + n_columns))
    return rng.uniform(-bound, bound, (n_rows, n_columns)).astype(np.float32)
