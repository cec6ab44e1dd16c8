"""The reranker's features of popularity as of now: an observer's counts in place of the latest clicks of training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId, ItemIndex
from schemas.records import Trending
from session_model.ranking.popularity import TREND_SHARES, Popularity, trends_of

_SHARES: Final = np.array(TREND_SHARES)[:, np.newaxis]


@dataclass(frozen=True, slots=True)
class LiveTrends:
    """What `Popularity.trends` would be if the clicks of training had gone on until now.

    The reranker learned from the latest 20 % and 3 % of so many clicks. In their place are the views of late, by the
    half-life under which there are about as many. While there are fewer, the latest clicks of training are the rest.
    An item that the observer does not tell of was viewed as often as usual, as far as anybody knows. One that rises is
    taken for such a one: what is beyond the usual has a share of answers by itself (`with_rising`).

    items: (m,) int32 `ItemIndex`, ascending, those that are told; told: (len(TREND_SHARES), m), the trends of these.
    live: (len(TREND_SHARES), 1), how much of so many clicks the views of late are.
    """

    popularity: Popularity
    items: NDArray[np.int32]
    told: NDArray[np.float64]
    live: NDArray[np.float64]

    @classmethod
    def of(
        cls, popularity: Popularity, told: Trending, index_of: Callable[[ItemId], ItemIndex | None]
    ) -> "LiveTrends | None":
        """Read the record of everywhere; None where it tells of no views of an item that training knew."""
        rungs, totals = len(told.half_lives_seconds), np.array(told.views)
        views = {
            index: item.views
            for item in told.items
            if len(item.views) == rungs and not item.rising and (index := index_of(item.item_id)) is not None
        }
        if not views or not rungs or len(totals) != rungs or not (totals > 0).all():
            return None
        items = np.array(sorted(views), np.int32)
        clicks = np.maximum(1.0, _SHARES * popularity.total)
        nearest = np.abs(np.log(totals / clicks)).argmin(axis=1)
        of_late = np.array([views[ItemIndex(index)] for index in items.tolist()]).T[nearest]
        found = totals[nearest][:, np.newaxis]
        live = np.minimum(1.0, found / clicks)
        counts = live * of_late * clicks / found + (1.0 - live) * popularity.recent_counts[:, items]
        return cls(popularity, items, trends_of(counts, popularity.log_counts[items]), live)

    def trends(self, items: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the trends of items (n,) int32: (len(TREND_SHARES), n)."""
        trends = np.zeros((len(TREND_SHARES), len(items)))
        if (self.live < 1.0).any():
            popularity = self.popularity
            before = (1.0 - self.live) * popularity.recent_counts[:, items] / _SHARES
            trends += np.log1p(self.live * popularity.counts[items] + before) - popularity.log_counts[items]
        places = np.minimum(self.items.searchsorted(items), len(self.items) - 1)
        (known,) = np.nonzero(self.items[places] == items)
        trends[:, known] = self.told[:, places[known]]
        return trends
