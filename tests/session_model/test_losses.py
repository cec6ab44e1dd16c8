import numpy as np
import pytest

from session_model.losses import sampled_cross_entropy

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
