"""The training losses: cross entropy for our own model, BPR-max so that GRU4Rec can be trained as published."""

import tensorflow as tf


def sampled_cross_entropy(logits: tf.Tensor, labels: tf.Tensor, log_inclusion: tf.Tensor) -> tf.Tensor:
    """Average the cross entropy over targets against shared candidates, corrected for how those were sampled.

    With z_j = logits_j - log_inclusion_j, i the target: mean of -log(exp z_i / sum_j exp z_j), j over all candidates.
    logits: (n_targets, n_candidates) float32, raw scores: no softmax before.
    labels: (n_targets,) int32, the column of each target.
    log_inclusion: (n_candidates,) or (n_targets, n_candidates) float32, log of the probability that a batch contains
    the candidate; zeros where all items are candidates, which makes this the full softmax. "logQ": Bengio & Senecal
    2008; Yi et al., RecSys 2019.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits - log_inclusion)
    return tf.reduce_mean(losses)


def bpr_max(scores: tf.Tensor, labels: tf.Tensor, penalty: float) -> tf.Tensor:
    """Average BPR-max over targets: each must beat its hardest negatives, whose scores are kept small.

    With i the target, j over the other candidates and s_j = exp r_j / sum_k exp r_k over those: mean of
    -log(sum_j s_j sigmoid(r_i - r_j)) + penalty * sum_j s_j r_j^2. Hidasi & Karatzoglou, CIKM 2018 (`bpreg`).
    scores: (n_targets, n_candidates) float32, r. labels: (n_targets,) int32, the column of each target.
    The sum is taken in logarithms, so there is no log(0). A target without any other candidate costs nothing.
    """
    is_target = tf.range(tf.shape(scores)[1]) == labels[:, tf.newaxis]
    of_target = tf.gather(scores, labels, batch_dims=1)[:, tf.newaxis]
    log_weights = tf.nn.log_softmax(tf.where(is_target, tf.float32.min, scores))
    lost = -tf.reduce_logsumexp(log_weights + tf.math.log_sigmoid(of_target - scores), axis=1)
    squares = tf.where(is_target, 0.0, tf.exp(log_weights) * tf.square(scores))
    has_negatives = tf.cast(tf.shape(scores)[1] > 1, tf.float32)
    return has_negatives * tf.reduce_mean(lost + penalty * tf.reduce_sum(squares, axis=1))
