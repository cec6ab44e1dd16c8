"""The last step of the blend: candidates ranked by what each source says of them and by what was seen before.

A small network gives each candidate a score, and P(candidate) is the softmax over the candidates (ListNet: Cao et al.,
ICML 2007; without the hidden layer it is McFadden's conditional logit, 1974). It learns what shares of a sum cannot
say: that shoppers who come back to items do so again, that a fashion passes, whom to trust after how many clicks.
session_model.fitting.reranker fits it.
"""

from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Candidates
from session_model.ranking.blend import SILENT, BlendWeights, blend_scores, reminder
from session_model.ranking.popularity import Popularity
from session_model.ranking.top_k import top_k

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
_FLOOR = 1e-6


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

    def scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score the rows of `features` (n, n_features), (n,)."""
        linear, hidden, bias, output = self._layers
        return np.asarray(features @ linear + np.tanh(features @ hidden + bias) @ output)

    @cached_property
    def _layers(self) -> tuple[NDArray[np.float64], ...]:
        hidden = np.array(self.hidden).reshape(len(self.linear), len(self.bias))
        return np.array(self.linear), hidden, np.array(self.bias), np.array(self.output)


@dataclass(frozen=True, slots=True)
class CandidateSources:
    """What is known when candidates are ranked.

    items: (length,) int32, the prefix, oldest first. popularity: of the training data.
    """

    model: Candidates
    neighbours: Candidates
    items: NDArray[np.int32]
    popularity: Popularity
    content: Candidates = SILENT


def rerank(reranker: Reranker, sources: CandidateSources, k: int) -> Candidates:
    """Rank the candidates of all sources; the `k` best with their probabilities among the candidates."""
    candidates, features = candidate_features(sources, reranker.shares)
    if not len(candidates):
        return Candidates.none()
    logits = reranker.scores(features)
    exponentials = np.exp(logits - logits.max())
    return top_k(candidates, exponentials / exponentials.sum(), k)


def candidate_features(
    sources: CandidateSources, shares: BlendWeights
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Describe the candidates: (n,) int32 `ItemIndex`, ascending, and (n, len(feature_names(shares))) float64.

    An item that a source does not list gets the score of the last one that it lists.
    """
    seen = reminder(sources.items)
    parts = (sources.model, sources.neighbours, seen, sources.content if shares.content > 0 else SILENT)
    candidates = np.unique(np.concatenate([part.item_indices for part in parts])).astype(np.int32)
    if not len(candidates):
        return candidates, np.empty((0, len(feature_names(shares))))
    blended = np.zeros(len(candidates))
    listed, scores = blend_scores(parts, (shares.model, shares.neighbours, shares.reminder, shares.content))
    blended[np.searchsorted(candidates, listed)] = scores
    log_model, in_model = _log_scores(sources.model, candidates)
    log_neighbours, in_neighbours = _log_shares(sources.neighbours, candidates)
    log_length = np.log(max(1, len(sources.items)))
    columns = [
        np.log(np.maximum(blended, _FLOOR)),
        log_model,
        log_neighbours,
        in_model,
        in_neighbours,
        log_model * log_length,
        log_neighbours * log_length,
        *_seen_before(candidates, sources.items, seen),
        sources.popularity.log_counts[candidates],
        *sources.popularity.trends[:, candidates],
    ]
    if shares.content > 0:
        columns += _log_shares(sources.content, candidates)
    return candidates, np.stack(columns, axis=1)


def _seen_before(
    candidates: NDArray[np.int32], items: NDArray[np.int32], seen: Candidates
) -> tuple[NDArray[np.float64], ...]:
    """Return the features from `seen` to `is_last_item_and_repeats`, (n,) each."""
    lately, times_seen, is_last, is_before = np.zeros((4, len(candidates)))
    lately[np.searchsorted(candidates, seen.item_indices)] = seen.scores
    np.add.at(times_seen, np.searchsorted(candidates, items), 1.0)
    is_last[np.searchsorted(candidates, items[-1:])] = 1.0
    is_before[np.searchsorted(candidates, items[-2:-1])] = 1.0
    is_seen = (times_seen > 0).astype(np.float64)
    log_length, repeats = np.log(max(1, len(items))), 1.0 - len(seen) / max(1, len(items))
    by_length, by_repeats = (is_seen * log_length, is_last * log_length), (is_seen * repeats, is_last * repeats)
    return is_seen, lately, np.log1p(times_seen), is_last, is_before, *by_length, *by_repeats


def _log_scores(source: Candidates, candidates: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the log score of each candidate and whether the source lists it, both (n,)."""
    places = np.searchsorted(candidates, source.item_indices)
    is_listed = np.zeros(len(candidates))
    is_listed[places] = 1.0
    scores = np.maximum(source.scores.astype(np.float64), np.finfo(np.float32).tiny)
    log_scores = np.full(len(candidates), np.log(scores.min()) if len(scores) else 0.0)
    log_scores[places] = np.log(scores)
    return log_scores, is_listed


def _log_shares(source: Candidates, candidates: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the same of scores that need not sum to 1 by themselves."""
    log_scores, is_listed = _log_scores(source, candidates)
    if len(source):
        log_scores -= np.log(source.scores.sum(dtype=np.float64))
    return log_scores, is_listed
