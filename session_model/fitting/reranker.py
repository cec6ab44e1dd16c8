"""Learning to rerank: from targets of the validation slice, which the sources have not seen, to the weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from schemas.ids import ItemIndex
from session_model.networks.optimizer import cosine_rate
from session_model.ranking.blend import BlendWeights
from session_model.ranking.reranker import CandidateSources, Reranker, candidate_features, feature_names

HIDDEN = 32
EPOCHS = 10
BATCH_LISTS = 64
LEARNING_RATE = 0.003
L2 = 1e-5
_SEED = 0


@dataclass(frozen=True, slots=True)
class _Lists:
    """Candidates of many examples; in each, one is the target.

    features: (n_candidates, n_features) float32 each. targets: (n_lists,) int32, a row of the list's features.
    """

    features: list[NDArray[np.float32]]
    targets: NDArray[np.int32]

    def batch(self, members: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int32]]:
        """Pad some lists: (n, longest, n_features), which rows are candidates (n, longest), and the targets (n,)."""
        lists = [self.features[member] for member in members]
        lengths = np.array([len(one) for one in lists])
        is_candidate = np.arange(lengths.max()) < lengths[:, np.newaxis]
        padded = np.zeros((*is_candidate.shape, lists[0].shape[1]), np.float32)
        padded[is_candidate] = np.concatenate(lists)
        return padded, is_candidate, self.targets[members]


def fit_reranker(examples: Sequence[tuple[CandidateSources, ItemIndex]], shares: BlendWeights) -> Reranker | None:
    """Maximise the likelihood of each example's target among its candidates; deterministic.

    Examples whose target no source lists teach nothing; None where that is all of them.
    """
    lists = _lists(examples, shares)
    if not lists.features:
        return None
    rows = np.concatenate(lists.features)
    means, deviations = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    scales = np.where(deviations > 0, deviations, 1.0)
    del rows
    network = _Network(means.astype(np.float32), scales.astype(np.float32))
    rng = np.random.default_rng(_SEED)
    n_batches = -(-len(lists.features) // BATCH_LISTS)
    for step in range(EPOCHS * n_batches):
        if step % n_batches == 0:
            batches = np.array_split(rng.permutation(len(lists.features)), n_batches)
        rate = cosine_rate(step, EPOCHS * n_batches, peak=LEARNING_RATE)
        network.train(*lists.batch(batches[step % n_batches]), np.float32(rate))
    linear, hidden, bias, output = (variable.numpy().astype(np.float64) for variable in network.variables)
    hidden /= scales[:, np.newaxis]
    return Reranker(
        feature_names=feature_names(shares),
        linear=tuple((linear / scales).tolist()),
        hidden=tuple(map(tuple, hidden.tolist())),
        bias=tuple((bias - means @ hidden).tolist()),
        output=tuple(output.tolist()),
        shares=shares,
    )


def _lists(examples: Sequence[tuple[CandidateSources, ItemIndex]], shares: BlendWeights) -> _Lists:
    features, targets = list[NDArray[np.float32]](), list[int]()
    for sources, target in examples:
        candidates, rows = candidate_features(sources, shares)
        place = int(np.searchsorted(candidates, target))
        if place < len(candidates) and candidates[place] == target:
            features.append(rows.astype(np.float32))
            targets.append(place)
    return _Lists(features, np.array(targets, np.int32))


class _Network:
    """The weights on standardised features, and a step of Adam; `variables`: linear, hidden, bias, output."""

    def __init__(self, means: NDArray[np.float32], scales: NDArray[np.float32]) -> None:
        n_features = len(means)
        first = np.random.default_rng(_SEED).normal(0, 0.3 / np.sqrt(n_features), (n_features, HIDDEN))
        hidden = tf.Variable(first.astype(np.float32))
        self.variables = [tf.Variable(tf.zeros(n_features)), hidden, *(tf.Variable(tf.zeros(HIDDEN)) for _ in range(2))]
        self._means, self._scales = means, scales
        self._optimizer = keras.optimizers.Adam()
        self._optimizer.build(self.variables)
        specs = [
            tf.TensorSpec((None, None, n_features)),
            tf.TensorSpec((None, None), tf.bool),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec(()),
        ]
        self.train = tf.function(self._step, autograph=False, input_signature=specs)

    def _step(self, features: tf.Tensor, is_candidate: tf.Tensor, targets: tf.Tensor, rate: tf.Tensor) -> None:
        linear, hidden, bias, output = self.variables
        standardised = (features - self._means) / self._scales
        with tf.GradientTape() as tape:
            scores = tf.linalg.matvec(standardised, linear)
            scores += tf.linalg.matvec(tf.tanh(tf.tensordot(standardised, hidden, 1) + bias), output)
            logits = tf.where(is_candidate, scores, scores.dtype.min)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
            penalty = L2 * tf.add_n([tf.reduce_sum(tf.square(variable)) for variable in self.variables])
            loss = tf.reduce_mean(losses) + penalty
        gradients = tape.gradient(loss, self.variables)
        self._optimizer.learning_rate.assign(rate)
        self._optimizer.apply(gradients, self.variables)
