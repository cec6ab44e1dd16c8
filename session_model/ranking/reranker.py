"""The last step of the blend: candidates ranked by what each source says of them and by what was seen before.

A small network gives each candidate a score, and P(candidate) is the softmax over the candidates (ListNet: Cao et al.,
ICML 2007; without the hidden layer it is McFadden's conditional logit, 1974). It learns what shares of a sum cannot
say: that shoppers who come back to items do so again, that a fashion passes, whom to trust after how many clicks.
session_model.fitting.reranker fits it. Many rows are ranked at once: the candidates of each are joined and described by
compiled loops (without a compiler at install, by NumPy), all else is one pass over the candidates of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Candidates
from session_model.csr import starts_of
from session_model.ranking.blend import SILENT, BlendWeights
from session_model.ranking.live_trends import LiveTrends
from session_model.ranking.popularity import TREND_SHARES, Popularity
from session_model.ranking.top_k import best_of_rows

try:
    from session_model.ranking import rerank_kernel as _kernel
except ImportError:
    from session_model.ranking import rerank_numpy as _kernel  # type: ignore[no-redef]

FEATURE_NAMES: tuple[str, ...] = (
    "log_blend",
    "log_model",
    "log_neighbours",
    "in_model",
    "in_neighbours",
    "log_model_by_length",
    "log_neighbours_by_length",
    "seen",
    "seen_lately",
    "log_times_seen",
    "is_last_item",
    "is_item_before",
    "seen_by_length",
    "is_last_item_by_length",
    "seen_and_repeats",
    "is_last_item_and_repeats",
    "log_popularity",
    "trend",
    "latest_trend",
)
"""`by_length`: times the log of the clicks so far. `repeats`: times the share of them that came back to an item."""
CONTENT_FEATURES: tuple[str, ...] = ("log_content", "in_content")
"""Also read where content has a share of the blend."""
_COLUMNS: Final = 6
_TRENDS: Final = slice(FEATURE_NAMES.index("trend"), FEATURE_NAMES.index("trend") + len(TREND_SHARES))


def feature_names(shares: BlendWeights) -> tuple[str, ...]:
    """Return what a reranker reads beside these shares, in its order."""
    return FEATURE_NAMES + (CONTENT_FEATURES if shares.content > 0 else ())


class Reranker(msgspec.Struct, frozen=True, dict=True):
    """The weights on the raw features: score = linear @ x + output @ tanh(x @ hidden + bias).

    feature_names: in the order in which the features are read. linear: (n_features,). hidden: (n_features, n_hidden).
    bias, output: (n_hidden,). shares: of the blend that is one of the features.
    """

    feature_names: tuple[str, ...]
    linear: tuple[float, ...]
    hidden: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]
    output: tuple[float, ...]
    shares: BlendWeights

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score the rows of `features` (n, n_features), (n,)."""
        linear, hidden, bias, output = self._layers
        return np.asarray(features @ linear + np.tanh(features @ hidden + bias) @ output)

    @cached_property
    def _layers(self) -> tuple[NDArray[np.float32], ...]:
        hidden = np.array(self.hidden, np.float32).reshape(len(self.linear), len(self.bias))
        linear, bias, output = (np.array(layer, np.float32) for layer in (self.linear, self.bias, self.output))
        return linear, hidden, bias, output


@dataclass(frozen=True, slots=True)
class CandidateSources:
    """What is known when candidates are ranked.

    items: (length,) int32, the prefix, oldest first. popularity: of the training data. live: what of it is told anew.
    """

    model: Candidates
    neighbours: Candidates
    items: NDArray[np.int32]
    popularity: Popularity
    content: Candidates = SILENT
    live: LiveTrends | None = None


def rerank(reranker: Reranker, sources: CandidateSources, k: int) -> Candidates:
    """Rank the candidates of all sources; the `k` best with their probabilities among the candidates."""
    (ranking,) = rerank_many(reranker, [sources], k)
    return ranking


def rerank_many(
    reranker: Reranker, rows: Sequence[CandidateSources], k: int, kernel: ModuleType = _kernel
) -> list[Candidates]:
    """Rank the candidates of each row as `rerank` does, with the popularity of the first; there is one row at least."""
    table = _join(rows, reranker.shares, kernel)
    rankings = [Candidates.none()] * len(rows)
    if not len(table.items):
        return rankings
    logits = reranker.scores(table.features(rows[0], reranker.shares, kernel).T)
    exponentials = np.exp(logits - table.spread(np.maximum.reduceat(logits, table.starts)))
    scores = exponentials / table.spread(np.add.reduceat(exponentials, table.starts))
    best = best_of_rows(table.items, scores, table.starts, table.starts + table.lengths, k)
    for row, (items, of_items) in zip(table.rows.tolist(), best, strict=True):
        rankings[row] = Candidates(items, of_items)
    return rankings


def candidate_features(
    sources: CandidateSources, shares: BlendWeights
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Describe the candidates: (n,) int32 `ItemIndex`, ascending, and (n, len(feature_names(shares))) float32.

    An item that a source does not list gets the score of the last one that it lists.
    """
    table = _join([sources], shares, _kernel)
    if not len(table.items):
        return table.items, np.empty((0, len(feature_names(shares))), np.float32)
    order = np.argsort(table.items)
    return table.items[order], table.features(sources, shares, _kernel).T[order]


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The candidates of some rows, one row after the other; rows without any are left out.

    rows: (n_rows,), which rows they are. starts, lengths: (n_rows,) int64, where the candidates of each lie.
    prefix_lengths: (n_rows,). items: (n,) int32. columns: (6, n) float64, see `rerank_numpy.join`.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    prefix_lengths: NDArray[np.int64]
    items: NDArray[np.int32]
    columns: NDArray[np.float64]

    def spread(self, of_rows: NDArray[Any]) -> NDArray[Any]:
        """Give each candidate what its row has."""
        return np.repeat(of_rows, self.lengths)

    def features(self, of: CandidateSources, shares: BlendWeights, kernel: ModuleType) -> NDArray[np.float32]:
        """Return what a reranker reads, (len(feature_names(shares)), n), with the popularity that one row has."""
        described = np.empty((len(feature_names(shares)), len(self.items)), np.float32)
        kernel.describe(
            self.columns,
            self.items,
            self.lengths,
            self.prefix_lengths,
            of.popularity.log_counts,
            of.popularity.trends,
            (shares.model, shares.neighbours, shares.content, shares.reminder),
            described,
        )
        if of.live is not None:
            described[_TRENDS] = of.live.trends(self.items)
        return described


def _join(rows: Sequence[CandidateSources], shares: BlendWeights, kernel: ModuleType) -> _Candidates:
    listed = [(row.model, row.neighbours, row.content if shares.content > 0 else SILENT, row.items) for row in rows]
    most = sum(len(one) for row in listed for one in row)
    items, columns = np.empty(most, np.int32), np.empty((_COLUMNS, most))
    lengths, n = np.empty(len(rows), np.int64), 0
    for row, (model, neighbours, content, prefix) in enumerate(listed):
        lengths[row] = kernel.join(
            model.item_indices,
            model.scores,
            neighbours.item_indices,
            neighbours.scores,
            content.item_indices,
            content.scores,
            prefix,
            items,
            columns,
            n,
        )
        n += int(lengths[row])
    known = np.flatnonzero(lengths)
    lengths, prefix_lengths = lengths[known], np.array([len(rows[row].items) for row in known.tolist()], np.int64)
    return _Candidates(known, starts_of(lengths)[:-1], lengths, prefix_lengths, items[:n], columns[:, :n])
