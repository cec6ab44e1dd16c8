"""The inner loops of reranking in NumPy: where `session_model.ranking.rerank_kernel` could not be compiled."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from session_model.csr import starts_of
from session_model.ranking.blend import REMINDER_DECAY

_FLOOR = 1e-6


def join(  # noqa: PLR0913, PLR0917 - the kernel's arguments, which are arrays
    model_items: NDArray[np.int32],
    model_scores: NDArray[np.float32],
    neighbour_items: NDArray[np.int32],
    neighbour_scores: NDArray[np.float32],
    content_items: NDArray[np.int32],
    content_scores: NDArray[np.float32],
    prefix: NDArray[np.int32],
    items: NDArray[np.int32],
    columns: NDArray[np.float64],
    start: int,
) -> int:
    """Put the candidates of one row into `items` and `columns` from `start` on; returns how many they are.

    columns: (6, any) float64: scores of the model, of the neighbours and of content, -1 = not listed; how often the
    item stands in the `prefix`; clicks since it last did, infinite = never; 1 where it stands there before the last.
    """
    sources = ((model_items, model_scores), (neighbour_items, neighbour_scores), (content_items, content_scores))
    found = np.unique(np.concatenate([*(one for one, _ in sources), prefix]))
    own = columns[:, start : start + len(found)]
    items[start : start + len(found)] = found
    own[:3], own[3:] = -1.0, 0.0
    for column, (source, scores) in zip(own, sources, strict=False):
        column[np.searchsorted(found, source)] = scores
    _, _, _, times, since, before = own
    places = np.searchsorted(found, prefix)
    np.add.at(times, places, 1.0)
    since[:] = np.inf
    since[places] = np.arange(len(prefix) - 1, -1, -1)  # of equal places the last one counts
    before[places[-2:-1]] = 1.0
    return len(found)


def describe(  # noqa: PLR0913, PLR0917 - the kernel's arguments
    columns: NDArray[np.float64],
    items: NDArray[np.int32],
    lengths: NDArray[np.int64],
    prefix_lengths: NDArray[np.int64],
    log_counts: NDArray[np.float64],
    trends: NDArray[np.float64],
    shares: tuple[float, float, float, float],
    described: NDArray[np.float32],
) -> None:
    """Write what a reranker reads of the candidates of some rows into `described` (n_features, n).

    columns: (6, n), as `join` leaves them. lengths: (n_rows,), above 0: how many of the n are each row's.
    prefix_lengths: (n_rows,). log_counts, trends: by item, see Popularity. shares: of the model, of the neighbours, of
    content and of the reminder in the blend; with content, there are two features more.
    """
    model, neighbours, content, times_seen, since, is_before = columns
    rows = _Rows(starts_of(lengths)[:-1], lengths)
    lately = np.exp(since * (-1 / REMINDER_DECAY)).astype(np.float32)
    is_last, is_seen = since == 0, times_seen > 0
    said = [_Said(rows, one) for one in (model, neighbours, content)]
    blended = shares[3] * lately / rows.spread(_or_one(np.add.reduceat(lately, rows.starts)))
    for share, one in zip(shares, said, strict=False):
        if share > 0:
            blended += share * one.scores / rows.spread(_or_one(one.totals))
    clicks = np.maximum(prefix_lengths, 1)
    log_length = rows.spread(np.log(clicks))
    repeats = rows.spread(1.0 - np.add.reduceat(is_seen, rows.starts, dtype=np.float64) / clicks)
    log_model, log_neighbours = said[0].log_scores(), said[1].log_shares()
    features = [
        np.log(np.maximum(blended, _FLOOR)),
        log_model,
        log_neighbours,
        said[0].is_listed,
        said[1].is_listed,
        log_model * log_length,
        log_neighbours * log_length,
        is_seen,
        lately,
        np.log1p(times_seen),
        is_last,
        is_before,
        is_seen * log_length,
        is_last * log_length,
        is_seen * repeats,
        is_last * repeats,
        log_counts[items],
        *trends[:, items],
    ]
    if shares[2] > 0:
        features += [said[2].log_shares(), said[2].is_listed]
    for place, feature in enumerate(features):
        described[place] = feature


class _Rows:
    """Where the candidates of each row lie."""

    def __init__(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        self.starts = starts
        self._lengths = lengths

    def spread(self, of_rows: NDArray[Any]) -> NDArray[Any]:
        """Give each candidate what its row has."""
        return np.repeat(of_rows, self._lengths)


class _Said:
    """What one source says of the candidates; scores: (n,), 0 = not listed. totals: (n_rows,) of its scores."""

    def __init__(self, rows: _Rows, column: NDArray[np.float64]) -> None:
        self._rows = rows
        self.is_listed = column >= 0
        self.scores = np.maximum(column, 0.0)
        self.totals = np.add.reduceat(self.scores, rows.starts)

    def log_scores(self) -> NDArray[np.float64]:
        """Return the logarithms, of what is not listed that of the least one; 0 where nothing is."""
        scores = np.maximum(self.scores, np.finfo(np.float32).tiny)
        least = np.minimum.reduceat(np.where(self.is_listed, scores, np.inf), self._rows.starts)
        others = self._rows.spread(np.where(np.isinf(least), 1.0, least))
        logarithms: NDArray[np.float64] = np.log(np.where(self.is_listed, scores, others))
        return logarithms

    def log_shares(self) -> NDArray[np.float64]:
        """Return the same of scores that need not sum to 1 by themselves."""
        shares: NDArray[np.float64] = self.log_scores() - self._rows.spread(np.log(_or_one(self.totals)))
        return shares


def _or_one(totals: NDArray[Any]) -> NDArray[Any]:
    """Return what can be divided by: 1 where nothing was added up."""
    return np.where(totals > 0, totals, 1.0)
