"""What the workers of a data-parallel training exchange: every worker goes through the same steps with equal weights.

Each draws the same batches and candidates from the same seed and learns from its share of the sessions of a batch; the
gradients are averaged over the targets of the whole batch, so the update is the one that a single process makes, but
for dropout, which each worker draws for itself (synchronous data parallelism: Chen et al. 2016, arXiv 1604.00981).
"""

from typing import Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


class Collective(Protocol):
    """The workers of one training, seen from one of them. All must call the same methods in the same order.

    index: this one's number, from 0; the first is the chief, who alone writes checkpoints.
    """

    index: int
    n_workers: int

    def combine(
        self, gradients: list[tf.Tensor], loss: tf.Tensor, n_targets: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Average gradients and loss over the workers, weighted by their `n_targets` (), int32; within a graph.

        The tensors have the same shapes on all workers. What a worker without targets gives counts for nothing.
        """

    def total(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add up `figures` (n,) over the workers; all get the same bits."""


class Alone:
    """One process without others: nothing is exchanged or rounded; implements Collective."""

    index = 0
    n_workers = 1

    def combine(
        self,
        gradients: list[tf.Tensor],
        loss: tf.Tensor,
        n_targets: tf.Tensor,  # noqa: ARG002 - the protocol's
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Return what is given."""
        return gradients, loss

    def total(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is given."""
        return figures


def of_chief(collective: Collective, value: float) -> float:
    """Return the chief's value on all workers: what hangs on a clock must be decided once."""
    return float(collective.total(np.array([value if collective.index == 0 else 0.0]))[0])
