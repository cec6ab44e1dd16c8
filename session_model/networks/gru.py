"""The session model: a GRU over item vectors, scored by scaled cosine against the same item table.

Hidasi et al., ICLR 2016 and CIKM 2018 (GRU4Rec).
"""

import keras
import numpy as np
import tensorflow as tf

from session_model.networks.cosine_network import CosineNetwork
from session_model.networks.next_item import Reading
from session_model.networks.settings import GruSettings


class SessionGru(CosineNetwork):
    """GRU, and the projection of [state; last item vector; attended items] to a session vector.

    The state starts at zero with each session: a call sees whole sessions, nothing is carried over.
    """

    def __init__(self, n_items: int, settings: GruSettings, *, seed: int) -> None:
        super().__init__(n_items, settings, seed=seed)
        self.settings = settings
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

    def read(self, item_vectors: tf.Tensor, positions: tf.Tensor, *, dropout_seed: tf.Tensor | None = None) -> Reading:
        """Read sessions up to some positions."""
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
            tf.math.l2_normalize(self.readout(read), axis=1), self._pull(read, positions, tf.shape(item_vectors)[1])
        )

    def _attended(self, states: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        """Return the weighted mean of the items up to each position, (batch, length, dimension)."""
        scores = tf.matmul(self.query(states), inputs, transpose_b=True)
        seen = tf.linalg.band_part(tf.ones_like(scores), -1, 0)
        return tf.matmul(tf.nn.softmax(tf.where(seen > 0, scores, scores.dtype.min)), inputs)

    def _start_readout_at_attention(self) -> None:
        """Let the attended items pass the projection unchanged at first."""
        kernel = self.readout.kernel.numpy()
        kernel[-self.settings.dimension :] = np.eye(self.settings.dimension)
        self.readout.kernel.assign(kernel)
