"""How good rankings are: recall, reciprocal rank, gain, and what the lists look like; one mean over all targets."""

from array import array

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemIndex
from schemas.ranking import Candidates

CUT_OFFS = (1, 5, 10, 20)
LIST_CUT_OFF = 20
NO_RANK = 0


def target_rank(ranking: Candidates, target: ItemIndex) -> int | None:
    """Rank `target` conservatively: how many scores are at least its own; None where it is not in the list.

    So a model cannot win by giving many items the same score (Hidasi & Czapp, RecSys 2023).
    """
    places = np.flatnonzero(ranking.item_indices == target)
    if not len(places):
        return None
    return int(np.count_nonzero(ranking.scores >= ranking.scores[places[0]]))


def gain(rank: int | None, k: int) -> float:
    """Return what one target adds to Recall@k + MRR@k, by which settings are chosen; None = not in the list."""
    return 0.0 if rank is None or rank > k else 1.0 + 1.0 / rank


def recall(ranks: NDArray[np.int32], k: int) -> NDArray[np.float64]:
    """Return 1 for each target among the first `k`, else 0; of ranks (n,) from 1, 0 = not in the list.

    The mean is Recall@k, also called hit rate: #(1 <= rank <= k) / n, as each question has one right answer
    (Hidasi et al., ICLR 2016).
    """
    return np.asarray((ranks != NO_RANK) & (ranks <= k), np.float64)


def reciprocal_rank(ranks: NDArray[np.int32], k: int) -> NDArray[np.float64]:
    """Return 1 / rank for each target among the first `k`, else 0; its mean is MRR@k (Voorhees, TREC-8, 1999)."""
    return recall(ranks, k) / np.maximum(ranks, 1)


def discounted_gain(ranks: NDArray[np.int32], k: int) -> NDArray[np.float64]:
    """Return 1 / log2(1 + rank) for each target among the first `k`, else 0; its mean is NDCG@k.

    The ideal list has the one right answer first and gains 1, so nothing is left to divide by (Jarvelin & Kekalainen,
    TOIS 2002).
    """
    return recall(ranks, k) / np.log2(1.0 + np.maximum(ranks, 1))


def gini(shown: NDArray[np.int64]) -> float:
    """Return the Gini coefficient of how often each item is shown, (n_items,): 0 = all alike, 1 = one item only.

    With x ascending and i from 1: (2 sum_i i x_i / sum_i x_i - (n + 1)) / n, which is half the mean difference of two
    items over the mean (Gini 1912; of recommendations: Fleder & Hosanagar, Management Science 2009).
    """
    total = int(shown.sum())
    if not total:
        return 0.0
    n_items = len(shown)
    weighted = float((np.arange(1, n_items + 1) * np.sort(shown)).sum())
    return (2 * weighted / total - (n_items + 1)) / n_items


def novelty(shown: NDArray[np.int64], counts: NDArray[np.int64]) -> float:
    """Return the mean self-information of what is shown, sum_i shown_i -log2(counts_i / sum counts) / sum shown; bits.

    Both (n_items,); an item without clicks counts as clicked once. Zhou et al., PNAS 2010.
    """
    total = int(shown.sum())
    if not total:
        return 0.0
    shares = np.maximum(counts, 1) / max(int(counts.sum()), 1)
    return float(-(shown * np.log2(shares)).sum() / total)


class RankingMetrics:
    """One model's rankings of the targets, one after the other.

    counts: (n_items + 1,) int64, training clicks of each item; row 0 is padding.
    percentiles: (n_items + 1,) float, share of the catalogue that is clicked less; row 0 is padding.
    """

    def __init__(self, counts: NDArray[np.int64], percentiles: NDArray[np.float64]) -> None:
        self._counts = counts[1:]
        self._percentiles = percentiles[1:]
        self._shown = np.zeros(len(counts), np.int64)
        self._ranks = array("i")

    def add(self, ranking: Candidates, target: ItemIndex) -> None:
        """Take one target; index 0 stands for an unseen item and is a miss."""
        self._shown[ranking.item_indices[:LIST_CUT_OFF]] += 1
        self._ranks.append(target_rank(ranking, target) or NO_RANK)

    @property
    def ranks(self) -> NDArray[np.int32]:
        """The ranks so far, (n_targets,), from 1; 0 = not in the list."""
        return np.array(self._ranks, np.int32)

    def result(self) -> dict[str, float]:
        """Return recall_at_k, mrr_at_k and ndcg_at_k, and what the first 20 places look like.

        coverage_at_20: #(items shown at all) / n_items (Ge et al., RecSys 2010). gini_at_20, novelty_at_20: see the
        functions. popularity_bias_at_20: sum_i shown_i percentile_i / sum shown, the mean popularity percentile of what
        was shown; .5 is an even-handed list (after Abdollahpouri et al., RecSys 2017, who take plain popularity).
        """
        ranks, shown = self.ranks, self._shown[1:]
        means = {"recall": recall, "mrr": reciprocal_rank, "ndcg": discounted_gain}
        result = {
            f"{name}_at_{k}": float(measure(ranks, k).mean()) if len(ranks) else 0.0
            for name, measure in means.items()
            for k in CUT_OFFS
        }
        looks = {
            "coverage": float((shown > 0).mean()) if len(shown) else 0.0,
            "popularity_bias": float((shown * self._percentiles).sum()) / max(int(shown.sum()), 1),
            "gini": gini(shown),
            "novelty": novelty(shown, self._counts),
        }
        return result | {f"{name}_at_{LIST_CUT_OFF}": value for name, value in looks.items()}
