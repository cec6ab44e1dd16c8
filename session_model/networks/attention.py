"""A session network without recurrence: self-attention over the items so far, as in SASRec.

Kang & McAuley, ICDM 2018. What reads the session is theirs, one attention head among it, which they found best; how
items are scored, the loss and the sampling are those of our GRU, so the two differ in what reads alone.
"""

import math
from collections.abc import Callable
from itertools import count

import keras
import tensorflow as tf

from session_model.networks.cosine_network import CosineNetwork
from session_model.networks.next_item import Reading
from session_model.networks.settings import AttentionSettings

_EPSILON = 1e-6
_POSITION_SPREAD = 0.02
"""Standard deviation of the first position vectors: beside items of spread 1 they say little at first."""
Dropout = Callable[[tf.Tensor], tf.Tensor]


class SessionAttention(CosineNetwork):
    """Items with a learned vector of their place in the session, blocks of attention, and a last layer norm.

    Places count from the first item that is read, so what stands behind a session moves nothing.
    """

    def __init__(self, n_items: int, settings: AttentionSettings, *, seed: int) -> None:
        super().__init__(n_items, settings, seed=seed)
        self.settings = settings
        spread = keras.initializers.RandomNormal(stddev=_POSITION_SPREAD, seed=seed)
        self.places = keras.layers.Embedding(settings.max_length, settings.dimension, embeddings_initializer=spread)
        self.places.build((None,))
        self.blocks = [
            _Block(settings.dimension, seed=seed + 1 + place * _Block.N_SEEDS) for place in range(settings.blocks)
        ]
        self.norm = _layer_norm(settings.dimension)
        self.returns.build((None, settings.dimension))

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The layers whose weights `read` reads."""
        return [self.places, *(layer for block in self.blocks for layer in block.layers), self.norm, self.returns]

    def read(self, item_vectors: tf.Tensor, positions: tf.Tensor, *, dropout_seed: tf.Tensor | None = None) -> Reading:
        """Read sessions up to some positions; one beyond `max_length` has no vector and is an error."""
        length, dimension = tf.shape(item_vectors)[1], self.settings.dimension
        dropout = _dropout(self.settings.dropout, dropout_seed)
        states = dropout(math.sqrt(dimension) * item_vectors + self.places(tf.range(length)))
        for block in self.blocks:
            states = block(states, dropout)
        read = self.norm(tf.gather(tf.reshape(states, (-1, dimension)), positions))
        return Reading(tf.math.l2_normalize(read, axis=1), self._pull(read, positions, length))


class _Block:
    """Causal self-attention, then a feed-forward network for each position; each is x + dropout(g(layer norm of x))."""

    N_SEEDS = 5

    def __init__(self, dimension: int, *, seed: int) -> None:
        seeds = iter(range(seed, seed + self.N_SEEDS))
        self._dimension = dimension
        self._attention_norm, self._feed_norm = _layer_norm(dimension), _layer_norm(dimension)
        self._query, self._key, self._value = (_dense(dimension, next(seeds), use_bias=False) for _ in range(3))
        self._hidden = _dense(dimension, next(seeds), activation="relu")
        self._output = _dense(dimension, next(seeds))

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The layers whose weights a call reads."""
        attention = [self._attention_norm, self._query, self._key, self._value]
        return [*attention, self._feed_norm, self._hidden, self._output]

    def __call__(self, states: tf.Tensor, dropout: Dropout) -> tf.Tensor:
        """Return the states (batch, length, dimension) that the next block reads."""
        states += dropout(self._attended(self._attention_norm(states)))
        return states + dropout(self._output(self._hidden(self._feed_norm(states))))

    def _attended(self, states: tf.Tensor) -> tf.Tensor:
        """Return each position the weighted mean of the values up to it."""
        scores = tf.matmul(self._query(states), self._key(states), transpose_b=True) / math.sqrt(self._dimension)
        seen = tf.linalg.band_part(tf.ones_like(scores), -1, 0)
        return tf.matmul(tf.nn.softmax(tf.where(seen > 0, scores, scores.dtype.min)), self._value(states))


def _dropout(rate: float, seed: tf.Tensor | None) -> Dropout:
    """Return a dropout whose every call drops other entries; none without a seed."""
    if seed is None:
        return lambda tensor: tensor
    calls = count()
    return lambda tensor: tf.nn.experimental.stateless_dropout(tensor, rate, seed + next(calls))


def _layer_norm(dimension: int) -> keras.layers.LayerNormalization:
    layer = keras.layers.LayerNormalization(epsilon=_EPSILON)
    layer.build((None, dimension))
    return layer


def _dense(dimension: int, seed: int, **options: object) -> keras.layers.Dense:
    layer = keras.layers.Dense(dimension, kernel_initializer=keras.initializers.GlorotUniform(seed), **options)
    layer.build((None, dimension))
    return layer
