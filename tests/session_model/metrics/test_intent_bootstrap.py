"""Resampled intent metrics against the plain ones."""

import numpy as np
import pytest

from session_model.metrics.intent import expected_calibration_error, pr_auc, roc_auc
from session_model.metrics.intent_bootstrap import Ranked, ece_by_chance, interval, resampled

RNG = np.random.default_rng(1)
N = 400
PROBABILITIES = RNG.choice([0.1, 0.2, 0.3, 0.5, 0.9], N)
LABELS = RNG.random(N) < PROBABILITIES
SESSIONS = np.sort(RNG.integers(0, 120, N))


def test_a_weight_is_so_many_rows() -> None:
    """Weights 0, 1 and 2, ties among the rows: the figures are those of the repeated rows."""
    weights = RNG.integers(0, 3, N)
    ranked = Ranked(LABELS, PROBABILITIES)
    pr, roc, _ = ranked.measure(weights[np.newaxis, ranked.order].astype(np.float64))
    labels, probabilities = np.repeat(LABELS, weights), np.repeat(PROBABILITIES, weights)
    assert pr[0] == pytest.approx(pr_auc(labels, probabilities))
    assert roc[0] == pytest.approx(roc_auc(labels, probabilities))


def test_equal_weights_give_the_plain_figures() -> None:
    """ECE, too, in its bins of equal mass."""
    distinct = PROBABILITIES + np.linspace(0, 0.01, N)
    ranked = Ranked(LABELS, distinct)
    plain = (pr_auc(LABELS, distinct), roc_auc(LABELS, distinct), expected_calibration_error(LABELS, distinct))
    assert [float(figure[0]) for figure in ranked.measure(np.ones((1, N)))] == pytest.approx(list(plain))


def test_intervals_hold_the_value_and_differences_are_paired() -> None:
    """A model against itself differs by 0 in every resample; against chance it is better in all."""
    draws = resampled(SESSIONS, LABELS, {"a": PROBABILITIES, "b": PROBABILITIES, "chance": np.full(N, 0.4)})
    value = roc_auc(LABELS, PROBABILITIES)
    around = interval(value, draws["a"].roc_auc)
    assert around.low < value < around.high
    assert not np.any(draws["a"].pr_auc - draws["b"].pr_auc)
    assert draws["chance"].roc_auc == pytest.approx(0.5)
    assert draws["chance"].pr_auc == pytest.approx(draws["chance"].base_rate)
    assert interval(value - 0.5, draws["a"].roc_auc - draws["chance"].roc_auc).low > 0


def test_many_rows_are_drawn_less_often() -> None:
    """The work stays bounded, at 200 resamples at least."""
    n = 200_000
    draws = resampled(np.arange(n) // 50, np.arange(n) % 2 > 0, {"a": np.full(n, 0.5)})
    assert len(draws["a"].pr_auc) == 200


def test_few_prefixes_have_a_calibration_error_by_chance() -> None:
    """Labels drawn from the probabilities stay below it 19 times of 20; it falls with the root of the sessions."""
    rows = np.arange(N)
    few = ece_by_chance(rows, PROBABILITIES)
    drawn = (RNG.random(N) < PROBABILITIES for _ in range(500))
    below = np.mean([expected_calibration_error(labels, PROBABILITIES) <= few for labels in drawn])
    assert 0.9 < below < 0.99
    assert ece_by_chance(np.arange(16 * N), np.repeat(PROBABILITIES, 16)) == pytest.approx(few / 4, rel=0.2)
    assert ece_by_chance(np.repeat(rows, 16), np.repeat(PROBABILITIES, 16)) == pytest.approx(few, rel=0.2)
    assert ece_by_chance(np.arange(2), np.array([1.0, 0.0])) == 0
