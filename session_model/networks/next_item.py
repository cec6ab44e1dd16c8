"""What a network is to all that trains, exports, serves and judges it."""

from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


class Reading(NamedTuple):
    """What a network makes of some positions.

    vectors: (n_positions, width) float32, to be multiplied with `NextItemNetwork.item_matrix` for the logits.
    returns: (n_positions, length) float32, to be added to the logit of the item at each place of the position's row:
    how much likelier than its product says a shopper comes back to it, negative for less; 0 at later places.
    """

    vectors: tf.Tensor
    returns: tf.Tensor


class NextItemNetwork(Protocol):
    """Reads the items of a session so far and scores all items as the next one.

    Whoever has this is exported with the signature of a release, blended, evaluated and served as the others are;
    tests/session_model/networks/test_next_item_networks.py is the contract that each implementation keeps.
    """

    @property
    def n_items(self) -> int:
        """Count the items, padding not included."""

    @property
    def max_length(self) -> int:
        """How many of the latest items are read."""

    @property
    def item_table(self) -> tf.Variable:
        """One row an item, (n_items + 1, width) float32, row 0 padding: what is read and what is scored come of it."""

    @property
    def dense_variables(self) -> list[tf.Variable]:
        """All weights but the item table, in a fixed order."""

    def item_vectors(self) -> NDArray[np.float32]:
        """Return what `read` reads of each item, (n_items + 1, dimension); row 0, padding, is zero."""

    def item_matrix(self) -> NDArray[np.float32]:
        """Return what a vector of a `Reading` is multiplied with for the logits, (width, n_items)."""

    def read(self, item_vectors: tf.Tensor, positions: tf.Tensor) -> Reading:
        """Read sessions up to some positions.

        item_vectors: (batch, length, dimension), rows of `item_vectors()` padded at the end, at most `max_length` of
        them; no position sees what follows it, and nothing is carried from row to row or from call to call.
        positions: (n_positions,) int32 into the flattened (batch * length).
        """


def with_returns(logits: tf.Tensor, returns: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Add `returns` (n_positions, length) to `logits` (n_positions, n_columns) at `columns` (n_positions, length).

    Columns below 0 are left out; an item that stands at several places gets the sum.
    """
    shape = tf.shape(columns)
    rows = tf.broadcast_to(tf.range(shape[0])[:, tf.newaxis], shape)
    places = tf.stack([rows, tf.maximum(columns, 0)], axis=2)
    return tf.tensor_scatter_nd_add(logits, places, tf.where(columns >= 0, returns, 0.0))
