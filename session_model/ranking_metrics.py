"""How good rankings are: recall, reciprocal rank, coverage and popularity bias, one mean over all targets."""

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemIndex
from schemas.ranking import Candidates

CUT_OFFS = (1, 5, 10, 20)
COVERAGE_CUT_OFF = 20


def target_rank(ranking: Candidates, target: ItemIndex) -> int | None:
    """Rank `target` conservatively: how many scores are at least its own; None where it is not in the list.

    So a model cannot win by giving many items the same score (Hidasi & Czapp, RecSys 2023).
    """
    places = np.flatnonzero(ranking.item_indices == target)
    if not len(places):
        return None
    return int(np.count_nonzero(ranking.scores >= ranking.scores[places[0]]))


class RankingMetrics:
    """Running totals of one model's rankings.

    popularity_percentiles: (n_items + 1,) float, share of the catalogue that is clicked less; row 0 is padding.
    """

    def __init__(self, popularity_percentiles: NDArray[np.float64]) -> None:
        self._percentiles = popularity_percentiles
        self._shown = np.zeros(len(popularity_percentiles), np.bool_)
        self._percentile_sum = 0.0
        self._shown_count = 0
        self._targets = 0
        self._hits = dict.fromkeys(CUT_OFFS, 0)
        self._reciprocal_ranks = dict.fromkeys(CUT_OFFS, 0.0)

    def add(self, ranking: Candidates, target: ItemIndex) -> None:
        """Count one target; index 0 stands for an unseen item and is a miss."""
        self._targets += 1
        top = ranking.item_indices[:COVERAGE_CUT_OFF]
        self._shown[top] = True
        self._percentile_sum += float(self._percentiles[top].sum())
        self._shown_count += len(top)
        rank = target_rank(ranking, target)
        for cut_off in CUT_OFFS:
            if rank is not None and rank <= cut_off:
                self._hits[cut_off] += 1
                self._reciprocal_ranks[cut_off] += 1 / rank

    def result(self) -> dict[str, float]:
        """Give recall_at_k and mrr_at_k, coverage_at_20 (share of the catalogue shown) and popularity_bias_at_20.

        popularity_bias_at_20: mean popularity percentile of what was shown; .5 is an even-handed list.
        """
        targets = max(self._targets, 1)
        result = {f"recall_at_{k}": hits / targets for k, hits in self._hits.items()}
        result |= {f"mrr_at_{k}": total / targets for k, total in self._reciprocal_ranks.items()}
        result[f"coverage_at_{COVERAGE_CUT_OFF}"] = int(self._shown[1:].sum()) / max(len(self._shown) - 1, 1)
        result[f"popularity_bias_at_{COVERAGE_CUT_OFF}"] = self._percentile_sum / max(self._shown_count, 1)
        return result
