"""Metrics against values worked out by hand."""

import numpy as np
import pytest

from schemas.ids import ItemIndex
from schemas.ranking import Candidates
from session_model.metrics.ranking import RankingMetrics, discounted_gain, gini, novelty, target_rank


def ranking(*scores: float) -> Candidates:
    """Rank the items 1, 2, ... with `scores`."""
    return Candidates(np.arange(1, len(scores) + 1, dtype=np.int32), np.array(scores, np.float32))


def metrics_over(n_items: int) -> RankingMetrics:
    """Collect rankings of items that are all alike."""
    return RankingMetrics(np.ones(n_items + 1, np.int64), np.full(n_items + 1, 0.5))


def test_ties_rank_conservatively() -> None:
    """A target that ties with two others takes the last of their ranks, wherever it stands."""
    assert [target_rank(ranking(0.9, 0.5, 0.5, 0.5), ItemIndex(item)) for item in (1, 2, 3, 4)] == [1, 4, 4, 4]


def test_an_item_outside_the_list_has_no_rank() -> None:
    """Neither a foreign item nor the padding has a rank."""
    assert target_rank(ranking(0.9, 0.5), ItemIndex(7)) is None
    assert target_rank(ranking(0.9, 0.5), ItemIndex(0)) is None


def test_recall_and_reciprocal_rank_are_means_over_all_targets() -> None:
    """Ranks 1, 3 and a miss: Recall@1 is 1/3, Recall@5 2/3, MRR@5 (1 + 1/3) / 3."""
    metrics = metrics_over(3)
    for target in (1, 3, 0):
        metrics.add(ranking(0.9, 0.5, 0.1), ItemIndex(target))
    result = metrics.result()
    assert result["recall_at_1"] == pytest.approx(1 / 3)
    assert result["mrr_at_1"] == pytest.approx(1 / 3)
    assert result["recall_at_5"] == result["recall_at_20"] == pytest.approx(2 / 3)
    assert result["mrr_at_20"] == pytest.approx((1 + 1 / 3) / 3)


def test_a_rank_behind_the_cut_off_is_a_miss_there() -> None:
    """Rank 6 counts at 10, not at 5."""
    metrics = metrics_over(8)
    metrics.add(ranking(*np.linspace(1, 0.1, 8).tolist()), ItemIndex(6))
    result = metrics.result()
    assert (result["recall_at_5"], result["recall_at_10"]) == (0.0, 1.0)
    assert result["mrr_at_10"] == pytest.approx(1 / 6)


def test_coverage_and_popularity_bias_look_at_the_first_twenty() -> None:
    """Twenty of forty items are shown, whatever the list's length; the bias is the mean percentile of those."""
    percentiles = np.concatenate([[np.nan], np.full(20, 0.9), np.full(20, 0.1)])
    metrics = RankingMetrics(np.ones(41, np.int64), percentiles)
    metrics.add(ranking(*np.linspace(1, 0.1, 30).tolist()), ItemIndex(1))
    result = metrics.result()
    assert result["coverage_at_20"] == pytest.approx(0.5)
    assert result["popularity_bias_at_20"] == pytest.approx(0.9)


def test_no_recommendation_is_a_miss_and_shows_nothing() -> None:
    """An empty list counts as a target and covers nothing."""
    metrics = metrics_over(2)
    metrics.add(Candidates.none(), ItemIndex(1))
    assert set(metrics.result().values()) == {0.0}


def test_gain_falls_with_the_logarithm_of_the_rank() -> None:
    """Rank 1 gains 1, rank 3 a half (1 / log2 4), a miss and a rank behind the cut-off nothing."""
    ranks = np.array([1, 3, 0, 6], np.int32)
    assert discounted_gain(ranks, 5) == pytest.approx([1.0, 0.5, 0.0, 0.0])


def test_gini_is_zero_for_equals_and_nearly_one_for_a_single_item() -> None:
    """Four items shown alike: 0. One of four shown: 3/4, the most that four items can have."""
    assert gini(np.array([5, 5, 5, 5])) == pytest.approx(0.0)
    assert gini(np.array([0, 0, 9, 0])) == pytest.approx(0.75)


def test_novelty_is_the_mean_surprise_of_what_is_shown() -> None:
    """An item with half of the clicks tells 1 bit, one with a quarter 2; shown once and twice: 5/3 bits."""
    assert novelty(np.array([1, 2, 0]), np.array([2, 1, 1])) == pytest.approx(5 / 3)


def test_novelty_takes_an_unclicked_item_for_one_that_was_clicked_once() -> None:
    """Of four clicks, an item without any is as surprising as one with a quarter: 2 bits, not infinitely many."""
    assert novelty(np.array([0, 3]), np.array([4, 0])) == pytest.approx(2.0)


def test_means_equal_a_loop_over_the_targets() -> None:
    """Recall, MRR and NDCG at every cut-off are what counting target by target gives."""
    rng = np.random.default_rng(0)
    metrics = metrics_over(30)
    wanted: dict[str, list[float]] = {}
    for _ in range(200):
        scores, target = np.sort(rng.random(30))[::-1], int(rng.integers(0, 31))
        metrics.add(ranking(*scores.tolist()), ItemIndex(target))
        for k in (1, 5, 10, 20):
            found = 1 <= target <= k
            wanted.setdefault(f"recall_at_{k}", []).append(float(found))
            wanted.setdefault(f"mrr_at_{k}", []).append(1 / target if found else 0.0)
            wanted.setdefault(f"ndcg_at_{k}", []).append(np.log(2) / np.log(1 + target) if found else 0.0)
    result = metrics.result()
    for name, values in wanted.items():
        assert result[name] == pytest.approx(sum(values) / 200)


def test_gini_is_half_the_mean_difference_over_the_mean() -> None:
    """The other definition, by all pairs of items, gives the same value."""
    shown = np.random.default_rng(1).integers(0, 50, 40)
    differences = np.abs(shown[:, np.newaxis] - shown[np.newaxis, :])
    assert gini(shown) == pytest.approx(differences.mean() / (2 * shown.mean()))
