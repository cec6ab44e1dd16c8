"""The last step of the blend: candidates ranked by what each voice says of them and by what was seen before.

A conditional logit (McFadden 1974; the one-layer case of ListNet, Cao et al., ICML 2007): P(candidate) is the softmax
of `weights @ features` over the candidates. It learns what shares of a sum cannot say: that shoppers who come back to
items do so again, and that a popular item needs less evidence to be listed than to be clicked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemIndex
from schemas.ranking import Candidates
from session_model.blend import BlendWeights, blend_scores, reminder
from session_model.ranking import top_k

FEATURE_NAMES: tuple[str, ...] = (
    "log_blend",
    "log_model",
    "log_neighbours",
    "in_model",
    "in_neighbours",
    "seen",
    "seen_lately",
    "log_times_seen",
    "is_last_item",
    "log_popularity",
    "seen_and_repeats",
    "is_last_item_and_repeats",
)
L2 = 1.0
MAX_STEPS = 30
MAX_HALVINGS = 20
TOLERANCE = 1e-5
"""Of the mean log loss an example."""
_FLOOR = 1e-6


class Reranker(msgspec.Struct, frozen=True):
    """The weights of the features, in the order of `feature_names`, and the shares of the blend that is one of them."""

    feature_names: tuple[str, ...]
    weights: tuple[float, ...]
    shares: BlendWeights


@dataclass(frozen=True, slots=True)
class Voices:
    """What is known when candidates are ranked.

    items: (length,) int32, the prefix, oldest first. popularity: (n_items + 1,) int64, clicks of each item in training.
    """

    model: Candidates
    neighbours: Candidates
    items: NDArray[np.int32]
    popularity: NDArray[np.int64]


def rerank(reranker: Reranker, voices: Voices, k: int) -> Candidates:
    """Rank the candidates of all voices; the `k` best with their probabilities among the candidates."""
    candidates, features = candidate_features(voices, reranker.shares)
    if not len(candidates):
        return Candidates.none()
    logits = features @ np.array(reranker.weights)
    exponentials = np.exp(logits - logits.max())
    return top_k(candidates, exponentials / exponentials.sum(), k)


def candidate_features(voices: Voices, shares: BlendWeights) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Describe the candidates: (n,) int32 `ItemIndex`, ascending, and (n, len(FEATURE_NAMES)) float64.

    An item that a voice does not list gets the score of the last one that it lists.
    """
    seen = reminder(voices.items)
    parts = (voices.model, voices.neighbours, seen)
    candidates = np.unique(np.concatenate([part.item_indices for part in parts])).astype(np.int32)
    if not len(candidates):
        return candidates, np.empty((0, len(FEATURE_NAMES)))
    blended = np.zeros(len(candidates))
    listed, scores = blend_scores(parts, (shares.model, shares.neighbours, shares.reminder))
    blended[np.searchsorted(candidates, listed)] = scores
    log_model, in_model = _log_scores(voices.model, candidates)
    neighbour_sum = float(voices.neighbours.scores.sum(dtype=np.float64))
    log_neighbours, in_neighbours = _log_scores(voices.neighbours, candidates)
    lately, times_seen, is_last = np.zeros((3, len(candidates)))
    lately[np.searchsorted(candidates, seen.item_indices)] = seen.scores
    np.add.at(times_seen, np.searchsorted(candidates, voices.items), 1.0)
    is_last[np.searchsorted(candidates, voices.items[-1:])] = 1.0
    is_seen = (times_seen > 0).astype(np.float64)
    repeats = 1.0 - len(seen) / max(1, len(voices.items))
    columns = (
        np.log(np.maximum(blended, _FLOOR)),
        log_model,
        log_neighbours - (np.log(neighbour_sum) if neighbour_sum > 0 else 0.0),
        in_model,
        in_neighbours,
        is_seen,
        lately,
        np.log1p(times_seen),
        is_last,
        np.log1p(voices.popularity[candidates]),
        is_seen * repeats,
        is_last * repeats,
    )
    return candidates, np.stack(columns, axis=1)


def _log_scores(voice: Candidates, candidates: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the log score of each candidate and whether the voice lists it, both (n,)."""
    places = np.searchsorted(candidates, voice.item_indices)
    is_listed = np.zeros(len(candidates))
    is_listed[places] = 1.0
    scores = np.maximum(voice.scores.astype(np.float64), np.finfo(np.float32).tiny)
    log_scores = np.full(len(candidates), np.log(scores.min()) if len(scores) else 0.0)
    log_scores[places] = np.log(scores)
    return log_scores, is_listed


@dataclass(frozen=True, slots=True)
class _Lists:
    """Candidates of many examples, one list after the other; in each, one is the target.

    features: (n, n_features) float64. starts: (n_lists,) int64. targets: (n_lists,) int64, rows of `features`.
    """

    features: NDArray[np.float64]
    starts: NDArray[np.int64]
    targets: NDArray[np.int64]

    def probabilities(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """Give P(candidate), (n,), and the penalised sum of the log losses."""
        logits = self.features @ weights
        lengths = np.diff(np.append(self.starts, len(logits)))
        logits -= np.repeat(np.maximum.reduceat(logits, self.starts), lengths)
        exponentials = np.exp(logits)
        sums = np.add.reduceat(exponentials, self.starts)
        loss = float((np.log(sums) - logits[self.targets]).sum() + L2 / 2 * weights @ weights)
        return exponentials / np.repeat(sums, lengths), loss

    def newton_step(self, weights: NDArray[np.float64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Solve the Newton equation at `weights`."""
        weighted = self.features * probabilities[:, None]
        means = np.add.reduceat(weighted, self.starts)
        gradient = (means - self.features[self.targets]).sum(axis=0) + L2 * weights
        hessian = self.features.T @ weighted - means.T @ means + L2 * np.eye(len(weights))
        return np.linalg.solve(hessian, gradient)


def fit_reranker(examples: Sequence[tuple[Voices, ItemIndex]], shares: BlendWeights) -> Reranker | None:
    """Maximise the likelihood of each example's target, with a normal prior on the weights, by Newton's steps.

    Examples whose target no voice lists teach nothing; None where that is all of them.
    """
    lists = _lists(examples, shares)
    if lists is None:
        return None
    weights = np.zeros(len(FEATURE_NAMES))
    probabilities, loss = lists.probabilities(weights)
    for _ in range(MAX_STEPS):
        step = lists.newton_step(weights, probabilities)
        for _ in range(MAX_HALVINGS):
            probabilities, candidate = lists.probabilities(weights - step)
            if candidate <= loss:
                break
            step = 0.5 * step
        improvement, weights, loss = loss - candidate, weights - step, candidate
        if improvement < TOLERANCE * len(lists.starts):
            break
    return Reranker(FEATURE_NAMES, tuple(weights.tolist()), shares)


def _lists(examples: Sequence[tuple[Voices, ItemIndex]], shares: BlendWeights) -> _Lists | None:
    features, targets, n_rows = list[NDArray[np.float64]](), list[int](), 0
    starts = list[int]()
    for voices, target in examples:
        candidates, rows = candidate_features(voices, shares)
        place = int(np.searchsorted(candidates, target))
        if place < len(candidates) and candidates[place] == target:
            features.append(rows)
            starts.append(n_rows)
            targets.append(n_rows + place)
            n_rows += len(rows)
    return _Lists(np.concatenate(features), np.array(starts), np.array(targets)) if features else None
