from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from session_model.networks.losses import bpr_max, sampled_cross_entropy

LOGITS = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], np.float32)
LABELS = np.array([1, 2], np.int32)


def by_hand(logits: np.ndarray) -> float:
    """Average -log softmax at the labels, in float64."""
    exponentials = np.exp(logits.astype(np.float64))
    return float(np.mean([-np.log(row[label] / row.sum()) for row, label in zip(exponentials, LABELS, strict=True)]))


def test_without_correction_it_is_the_cross_entropy_of_raw_logits() -> None:
    """One softmax, not two, and none over the batch: the value equals the formula on paper."""
    loss = float(sampled_cross_entropy(LOGITS, LABELS, np.zeros(3, np.float32)))
    assert loss == pytest.approx(by_hand(LOGITS), abs=1e-6)
    softmax = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    assert abs(loss - by_hand(softmax)) > 0.1


def test_log_inclusion_is_subtracted_from_each_candidate() -> None:
    """A candidate that is nearly always present has its logit left alone, a rare one stands for many."""
    log_inclusion = np.log(np.array([0.5, 1.0, 0.01], np.float32))
    loss = float(sampled_cross_entropy(LOGITS, LABELS, log_inclusion))
    assert loss == pytest.approx(by_hand(LOGITS - log_inclusion), abs=1e-6)


def test_large_logits_stay_finite() -> None:
    """The loss is computed from logits, so it neither overflows nor takes log(0)."""
    loss = float(sampled_cross_entropy(1e4 * LOGITS, LABELS, np.zeros(3, np.float32)))
    assert loss == pytest.approx(0.0)


def bpr_max_by_hand(scores: np.ndarray, labels: np.ndarray, penalty: float) -> float:
    """Sum up the formula of the paper in float64, candidate by candidate."""
    losses = []
    for row, label in zip(scores.astype(np.float64), labels, strict=True):
        negatives = np.delete(row, label)
        weights = np.exp(negatives) / np.exp(negatives).sum()
        beaten = (weights / (1 + np.exp(negatives - row[label]))).sum()
        losses.append(-np.log(beaten) + penalty * (weights * negatives**2).sum())
    return float(np.mean(losses))


@pytest.mark.parametrize("penalty", [0.0, 1.95])
def test_bpr_max_is_the_formula_of_the_paper(penalty: float) -> None:
    """Negatives weigh by their softmax, the target is none of them, and each weighed square is penalised."""
    scores = np.random.default_rng(0).normal(0, 2, (6, 9)).astype(np.float32)
    labels = np.array([0, 8, 3, 3, 1, 5], np.int32)
    assert float(bpr_max(scores, labels, penalty)) == pytest.approx(bpr_max_by_hand(scores, labels, penalty), rel=1e-5)


def test_bpr_max_of_a_draw_is_log_two() -> None:
    """Where all scores are 0 the target beats each negative by half, and nothing is penalised."""
    assert float(bpr_max(np.zeros((2, 5), np.float32), LABELS, 1.0)) == pytest.approx(np.log(2), rel=1e-6)


def gradient(loss: Callable[[tf.Tensor], tf.Tensor], scores: np.ndarray) -> np.ndarray:
    """Differentiate `loss` by the scores."""
    variable = tf.Variable(scores)
    with tf.GradientTape() as tape:
        value = loss(variable)
    found: np.ndarray = tf.convert_to_tensor(tape.gradient(value, variable)).numpy()
    return found


def cross_entropy_of(scores: tf.Tensor) -> tf.Tensor:
    """Fix what is not the scores."""
    return sampled_cross_entropy(scores, LABELS, np.zeros(scores.shape[1], np.float32))


def bpr_max_of(scores: tf.Tensor) -> tf.Tensor:
    """Fix what is not the scores."""
    return bpr_max(scores, LABELS, 0.0)


@pytest.mark.parametrize("loss", [cross_entropy_of, bpr_max_of])
def test_a_step_down_raises_the_target_and_lowers_the_hardest_negative(loss: Callable[[tf.Tensor], tf.Tensor]) -> None:
    """The gradient is negative at each target and positive at the best of the others."""
    scores = np.array([[3.0, 1.0, 0.5], [2.0, -1.0, 0.0]], np.float32)
    slope = gradient(loss, scores)
    assert (slope[[0, 1], LABELS] < 0).all()
    assert (slope[[0, 1], [0, 0]] > 0).all()


def test_the_gradient_of_bpr_max_is_that_of_differences() -> None:
    """Central differences of the formula by hand, the penalty included, give the same slope everywhere."""
    scores, step = np.array([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], np.float32), 1e-5
    slope = gradient(lambda values: bpr_max(values, LABELS, 0.9), scores)
    for place in np.ndindex(scores.shape):
        above, below = scores.astype(np.float64), scores.astype(np.float64)
        above[place] += step
        below[place] -= step
        difference = bpr_max_by_hand(above, LABELS, 0.9) - bpr_max_by_hand(below, LABELS, 0.9)
        assert slope[place] == pytest.approx(difference / (2 * step), abs=1e-4)


@pytest.mark.parametrize("target", [-80.0, 80.0])
def test_bpr_max_of_extreme_scores_is_finite(target: float) -> None:
    """At 160 the sigmoid is 0 in float32: the loss is then the difference itself, and still has a slope."""
    scores = np.full((2, 3), -target, np.float32)
    scores[[0, 1], LABELS] = target
    assert float(bpr_max(scores, LABELS, 0.0)) == pytest.approx(max(0.0, -2 * target), abs=1e-6)
    slope = gradient(bpr_max_of, scores)
    assert np.isfinite(slope).all()
    assert slope[0, 1] == pytest.approx(-0.5 if target < 0 else 0.0)


@pytest.mark.parametrize("score", [-80.0, 0.0, 80.0])
def test_a_target_alone_costs_nothing(score: float) -> None:
    """With one candidate there is nothing to beat: no loss, no slope, no NaN."""
    alone, label = np.array([[score]], np.float32), np.zeros(1, np.int32)
    for loss in (
        lambda scores: bpr_max(scores, label, 1.0),
        lambda scores: sampled_cross_entropy(scores, label, np.zeros(1, np.float32)),
    ):
        assert float(loss(alone)) == 0.0
        assert gradient(loss, alone).tolist() == [[0.0]]
