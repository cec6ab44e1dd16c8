"""The choice between network and logistic regression, and calibration, by time order."""

import numpy as np
import pytest
from numpy.typing import NDArray

from session_model.fitting.intent_head import LabelledRows, calibrated, fit_head
from session_model.intent.calibration import Calibration
from session_model.intent.feature_model import FeatureModel
from session_model.metrics.intent import expected_calibration_error, log_loss

IDENTITY = FeatureModel((0.0,), (1.0,), (1.0,), 0.0)


def rows(features: NDArray[np.float64], probabilities: NDArray[np.float64], seed: int) -> LabelledRows:
    """Draw labels of rows that are each a session."""
    labels = np.random.default_rng(seed).random(len(features)) < probabilities
    return LabelledRows(features.astype(np.float32).reshape(len(features), -1), labels, np.arange(len(features)))


def exclusive(n: int, seed: int) -> LabelledRows:
    """Draw what no logistic regression can say."""
    features = np.random.default_rng(seed).normal(0, 1, (n, 2))
    return rows(features, np.where((features[:, 0] > 0) != (features[:, 1] > 0), 0.5, 0.05), seed)


def test_a_network_is_served_where_it_is_better() -> None:
    """On later rows it has the lower loss and means what it says; the logistic regression is kept beside it."""
    head = fit_head(exclusive(6_000, seed=1))
    assert head is not None
    assert head.served.model.hidden
    assert not head.logistic.model.hidden
    later = exclusive(6_000, seed=2)
    served, logistic = (one.probabilities(later.features) for one in (head.served, head.logistic))
    assert log_loss(later.labels, served) < 0.9 * log_loss(later.labels, logistic)
    assert expected_calibration_error(later.labels, served) < 0.05


def test_the_logistic_regression_stays_where_it_is_right() -> None:
    """Linear log-odds leave a network nothing to gain."""
    features = np.random.default_rng(3).normal(0, 1, (3_000, 2))
    head = fit_head(rows(features, 1 / (1 + np.exp(2 - features[:, 0])), 3))
    assert head is not None
    assert head.served == head.logistic


def test_labels_all_alike_give_no_head() -> None:
    """There is nothing to learn from one outcome, nor from one that only the latest sessions have."""
    features = np.zeros((50, 1), np.float32)
    late = np.arange(50) > 45
    for labels in (np.zeros(50, np.bool_), np.ones(50, np.bool_), late):
        assert fit_head(LabelledRows(features, labels, np.arange(50))) is None
    assert fit_head(LabelledRows(features[:0], late[:0], np.arange(0))) is None


def test_a_curve_is_chosen_only_where_it_helps() -> None:
    """A true logit is left alone, a scaled one wants Platt's slope, a staircase wants knots."""
    logits = np.random.default_rng(8).normal(0, 2, 6_000)
    straight = rows(logits, 1 / (1 + np.exp(-logits)), 8)
    scaled = LabelledRows(3 * straight.features, straight.labels, straight.sessions)
    staircase = rows(logits, np.where(np.abs(logits) < 1.5, 0.1, np.where(logits > 0, 0.9, 0.05)), 9)
    assert calibrated(IDENTITY, straight).calibration == Calibration()
    assert calibrated(IDENTITY, scaled).calibration.slope == pytest.approx(1 / 3, abs=0.05)
    assert calibrated(IDENTITY, staircase).calibration.knots


def test_too_few_rows_leave_the_quality_unknown() -> None:
    """No row, or one class in the half that judges, gives no figure."""
    for labels in ([True, False, False, False], []):
        n = len(labels)
        data = LabelledRows(np.zeros((n, 1), np.float32), np.array(labels, np.bool_), np.arange(n))
        assert calibrated(IDENTITY, data).held_out is None


def test_slices_are_of_sessions_in_time_order() -> None:
    """Shares part the numbers of the sessions, not the rows, and no session falls into two."""
    sessions = np.array([10, 10, 10, 11, 12, 13, 13, 14, 15, 16, 17, 18, 19])
    data = LabelledRows(np.zeros((13, 1), np.float32), np.zeros(13, np.bool_), sessions)
    assert data.between(0, 0.5).sessions.tolist() == [10, 10, 10, 11, 12, 13, 13, 14]
    assert data.between(0.5, 1).sessions.tolist() == [15, 16, 17, 18, 19]
