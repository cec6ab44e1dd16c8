"""What the intent signals said against what the shoppers did."""

import pytest

from agents.demo.intent_score import IntentScore


def test_without_a_signal_there_is_no_report() -> None:
    """Nothing is claimed of nothing."""
    assert IntentScore().report() is None


def test_brier_is_compared_with_always_telling_the_base_rate() -> None:
    """Two right and sure signals score 0, the base rate of a half scores a quarter."""
    score = IntentScore()
    score.add(1.0, purchase_followed=True)
    score.add(0.0, purchase_followed=False)
    report = score.report()
    assert report is not None
    assert (report.brier, report.brier_of_base_rate, report.pr_auc) == (0.0, 0.25, 1.0)


def test_signals_are_banded_by_what_they_told() -> None:
    """Each band says what was told on average and how many bought; an edge belongs to the band above it."""
    score = IntentScore()
    for probability, bought in ((0.01, False), (0.1, False), (0.2, True), (1.0, True)):
        score.add(probability, purchase_followed=bought)
    report = score.report()
    assert report is not None
    assert [(band.low, band.high, band.signals) for band in report.bands] == [(0, 0.02, 1), (0.1, 0.3, 2), (0.3, 1, 1)]
    assert report.bands[1].mean_predicted == pytest.approx(0.15)
    assert report.bands[1].purchased_share == pytest.approx(0.5)


def test_pr_auc_needs_a_purchase() -> None:
    """Where nobody bought there is no precision to speak of."""
    score = IntentScore()
    score.add(0.1, purchase_followed=False)
    report = score.report()
    assert report is not None
    assert report.pr_auc is None
