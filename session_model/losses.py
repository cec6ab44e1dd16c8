"""The training loss."""

import tensorflow as tf


def sampled_cross_entropy(logits: tf.Tensor, labels: tf.Tensor, log_inclusion: tf.Tensor) -> tf.Tensor:
    """Average the cross entropy over targets against shared candidates, corrected for how those were sampled.

    logits: (n_targets, n_candidates) float32, raw scores: no softmax before.
    labels: (n_targets,) int32, the column of each target.
    log_inclusion: (n_candidates,) or (n_targets, n_candidates) float32, log of the probability that a batch contains
    the candidate; zeros where all items are candidates, which makes this the full softmax. "logQ": Bengio & Senecal
    2008; Yi et al., RecSys 2019.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits - log_inclusion)
    return tf.reduce_mean(losses)
