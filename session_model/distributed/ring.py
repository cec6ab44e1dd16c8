"""The exchange between workers by TensorFlow: its cluster and its ring all-reduce over gRPC, and nothing else of it.

Variables stay ordinary ones: they begin equal, as the seed says, and every worker moves them by the same sums. So a
step costs one all-reduce of what it touches, the rows of its candidates and the dense weights, not of the item table.
"""

from typing import Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from session_model.distributed.failures import COLLECTIVE_TIMEOUT_SECONDS

_BYTES: Final = 4


class Ring:
    """Implements session_model.networks.collective.Collective.

    The environment's `TF_CONFIG` names the cluster; it must be set before TensorFlow is loaded, and the ring be made
    before TensorFlow has computed anything. Making it waits for all workers.
    """

    def __init__(self, index: int, n_workers: int) -> None:
        self.index, self.n_workers = index, n_workers
        options = tf.distribute.experimental.CommunicationOptions(
            implementation=tf.distribute.experimental.CommunicationImplementation.RING,
            timeout_seconds=COLLECTIVE_TIMEOUT_SECONDS,
        )
        self._strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
        self._floats = tf.Variable(0, dtype=tf.int64)
        self._total = tf.function(self._sum, autograph=False, input_signature=[tf.TensorSpec((None,), tf.float64)])

    @property
    def sent_bytes(self) -> float:
        """What this worker has sent for `combine`: a ring sends each number 2 (n - 1) / n times."""
        return float(self._floats.numpy()) * _BYTES * 2 * (self.n_workers - 1) / self.n_workers

    def combine(
        self, gradients: list[tf.Tensor], loss: tf.Tensor, n_targets: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Average over the targets of all workers, by one all-reduce of everything in a row."""
        one = tf.ones((1,))
        packed = tf.concat([*(tf.reshape(gradient, (-1,)) for gradient in gradients), tf.reshape(loss, (1,)), one], 0)
        # No NaN of a mean over nothing: a worker without sessions in a batch gives zeros.
        summed = self._sum(tf.math.multiply_no_nan(packed, tf.cast(n_targets, tf.float32)))
        self._floats.assign_add(tf.size(packed, tf.int64))
        mean = summed[:-1] / summed[-1]
        sizes = [*(tf.size(gradient) for gradient in gradients), tf.constant(1)]
        parts = tf.split(mean, tf.stack(sizes), num=len(sizes))
        combined = [tf.reshape(part, tf.shape(gradient)) for part, gradient in zip(parts, gradients, strict=False)]
        return combined, parts[-1][0]

    def total(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add up over the workers."""
        return np.asarray(self._total(figures).numpy())

    def _sum(self, vector: tf.Tensor) -> tf.Tensor:
        def replica(mine: tf.Tensor) -> tf.Tensor:
            # Without the identity TensorFlow looks for the devices of a variable: "destinations can not be empty".
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(mine))

        return self._strategy.run(replica, (vector,))
