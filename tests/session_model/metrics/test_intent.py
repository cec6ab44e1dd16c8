"""Intent metrics against values worked out by hand."""

from math import isnan, log

import numpy as np
import pytest

from session_model.metrics.intent import expected_calibration_error, intent_quality, log_loss, pr_auc, roc_auc

LABELS = np.array([True, False, True, False])
PROBABILITIES = np.array([0.9, 0.8, 0.7, 0.1])


def test_values_by_hand() -> None:
    """Precision 1 and 2/3 at the two positives; three of four pairs in order."""
    assert pr_auc(LABELS, PROBABILITIES) == pytest.approx((1 + 2 / 3) / 2)
    assert roc_auc(LABELS, PROBABILITIES) == pytest.approx(3 / 4)


def test_one_value_for_all_is_worth_the_base_rate() -> None:
    """Ties are one threshold: no luck of the order."""
    same = np.full(4, 0.3)
    assert pr_auc(np.array([True, False, False, False]), same) == pytest.approx(1 / 4)
    assert roc_auc(LABELS, same) == pytest.approx(1 / 2)


def test_calibration_error_is_the_weighted_gap() -> None:
    """Bins of equal mass: .2 was said of ten, none of which came true, and 1 of ten, all of which did."""
    labels, probabilities = np.repeat([False, True], 10), np.repeat([0.2, 1.0], 10)
    assert expected_calibration_error(labels, probabilities) == pytest.approx(0.1)
    assert expected_calibration_error(np.arange(1000) % 4 == 0, np.full(1000, 0.25)) == pytest.approx(0, abs=1e-9)


def test_all_at_once() -> None:
    """The summary holds each metric, and is none where all labels are alike."""
    quality = intent_quality(LABELS, PROBABILITIES)
    assert quality is not None
    assert (quality.examples, quality.base_rate) == (4, 0.5)
    assert quality.pr_auc == pr_auc(LABELS, PROBABILITIES)
    assert quality.roc_auc == roc_auc(LABELS, PROBABILITIES)
    assert quality.calibration_error == expected_calibration_error(LABELS, PROBABILITIES)
    assert intent_quality(LABELS[:1], PROBABILITIES[:1]) is None


def test_one_class_has_no_ranking() -> None:
    """Without positives or without negatives the areas are not defined."""
    none = np.zeros(3, np.bool_)
    assert isnan(pr_auc(none, PROBABILITIES[:3]))
    assert isnan(roc_auc(none, PROBABILITIES[:3]))
    assert isnan(roc_auc(~none, PROBABILITIES[:3]))
    assert isnan(expected_calibration_error(none[:0], PROBABILITIES[:0]))


def test_log_loss_is_finite_for_a_certain_mistake() -> None:
    """The mean negative log likelihood; a zero is taken as very small."""
    assert log_loss(np.array([True, False]), np.array([0.5, 0.5])) == pytest.approx(log(2))
    assert log_loss(np.array([True]), np.array([0.0])) < 20


def test_values_equal_loops_over_pairs_thresholds_and_bins() -> None:
    """With ties among 300 examples: ROC-AUC by all pairs, PR-AUC threshold by threshold, ECE bin by bin."""
    rng = np.random.default_rng(0)
    labels = rng.random(300) < 0.3
    probabilities = np.round(0.3 * rng.random(300) + 0.2 * labels, 2)
    pairs = [(p > n) + (p == n) / 2 for p in probabilities[labels] for n in probabilities[~labels]]
    assert roc_auc(labels, probabilities) == pytest.approx(sum(pairs) / len(pairs))
    area, recall_before = 0.0, 0.0
    for threshold in sorted(set(probabilities.tolist()), reverse=True):
        chosen = labels[probabilities >= threshold]
        recall = chosen.sum() / labels.sum()
        area += (recall - recall_before) * chosen.mean()
        recall_before = recall
    assert pr_auc(labels, probabilities) == pytest.approx(area)
    in_order = sorted(range(300), key=lambda row: probabilities[row])
    bins = [in_order[first : first + 30] for first in range(0, 300, 30)]
    gaps = [abs(np.mean(probabilities[rows]) - np.mean(labels[rows])) for rows in bins]
    assert expected_calibration_error(labels, probabilities) == pytest.approx(sum(gaps) / 10)
