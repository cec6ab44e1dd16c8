"""Metrics against values worked out by hand."""

import numpy as np
import pytest

from schemas.ids import ItemIndex
from schemas.ranking import Candidates
from session_model.ranking_metrics import RankingMetrics, target_rank


def ranking(*scores: float) -> Candidates:
    """Rank the items 1, 2, ... with `scores`."""
    return Candidates(np.arange(1, len(scores) + 1, dtype=np.int32), np.array(scores, np.float32))


def test_ties_rank_conservatively() -> None:
    """A target that ties with two others takes the last of their ranks, wherever it stands."""
    assert [target_rank(ranking(0.9, 0.5, 0.5, 0.5), ItemIndex(item)) for item in (1, 2, 3, 4)] == [1, 4, 4, 4]


def test_an_item_outside_the_list_has_no_rank() -> None:
    """Neither a foreign item nor the padding has a rank."""
    assert target_rank(ranking(0.9, 0.5), ItemIndex(7)) is None
    assert target_rank(ranking(0.9, 0.5), ItemIndex(0)) is None


def test_recall_and_reciprocal_rank_are_means_over_all_targets() -> None:
    """Ranks 1, 3 and a miss: Recall@1 is 1/3, Recall@5 2/3, MRR@5 (1 + 1/3) / 3."""
    metrics = RankingMetrics(np.array([np.nan, 0.75, 0.5, 0.25]))
    for target in (1, 3, 0):
        metrics.add(ranking(0.9, 0.5, 0.1), ItemIndex(target))
    result = metrics.result()
    assert result["recall_at_1"] == pytest.approx(1 / 3)
    assert result["mrr_at_1"] == pytest.approx(1 / 3)
    assert result["recall_at_5"] == result["recall_at_20"] == pytest.approx(2 / 3)
    assert result["mrr_at_20"] == pytest.approx((1 + 1 / 3) / 3)


def test_a_rank_behind_the_cut_off_is_a_miss_there() -> None:
    """Rank 6 counts at 10, not at 5."""
    metrics = RankingMetrics(np.full(9, 0.5))
    metrics.add(ranking(*np.linspace(1, 0.1, 8).tolist()), ItemIndex(6))
    result = metrics.result()
    assert (result["recall_at_5"], result["recall_at_10"]) == (0.0, 1.0)
    assert result["mrr_at_10"] == pytest.approx(1 / 6)


def test_coverage_and_popularity_bias_look_at_the_first_twenty() -> None:
    """Twenty of forty items are shown, whatever the list's length; the bias is the mean percentile of those."""
    percentiles = np.concatenate([[np.nan], np.full(20, 0.9), np.full(20, 0.1)])
    metrics = RankingMetrics(percentiles)
    metrics.add(ranking(*np.linspace(1, 0.1, 30).tolist()), ItemIndex(1))
    result = metrics.result()
    assert result["coverage_at_20"] == pytest.approx(0.5)
    assert result["popularity_bias_at_20"] == pytest.approx(0.9)


def test_no_recommendation_is_a_miss_and_shows_nothing() -> None:
    """An empty list counts as a target and covers nothing."""
    metrics = RankingMetrics(np.full(3, 0.5))
    metrics.add(Candidates.none(), ItemIndex(1))
    assert set(metrics.result().values()) == {0.0}
