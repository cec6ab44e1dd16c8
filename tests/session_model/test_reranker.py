"""The conditional logit on top of the blend."""

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest

from schemas.ids import ItemIndex
from schemas.ranking import Candidates
from session_model.blend import MODEL_ONLY, BlendWeights
from session_model.reranker import (
    FEATURE_NAMES,
    L2,
    Reranker,
    Voices,
    candidate_features,
    fit_reranker,
    rerank,
)

SHARES = BlendWeights(0.4, 0.1)
POPULARITY = np.array([0, 9, 4, 1, 0, 0])
N_EXAMPLES = 300


def candidates(*pairs: tuple[int, float]) -> Candidates:
    """List items with their scores."""
    return Candidates(np.array([item for item, _ in pairs], np.int32), np.array([s for _, s in pairs], np.float32))


VOICES = Voices(
    model=candidates((2, 0.3), (1, 0.1)),
    neighbours=candidates((3, 3.0), (2, 1.0)),
    items=np.array([1, 3, 1], np.int32),
    popularity=POPULARITY,
)


def test_features_by_hand() -> None:
    """Item 1 was seen twice and last, is in the model's list only, and takes the neighbours' lowest score."""
    listed, features = candidate_features(VOICES, SHARES)
    assert listed.tolist() == [1, 2, 3]
    reminder_of_1 = 1 / (1 + exp(-1 / 2))
    assert dict(zip(FEATURE_NAMES, features[0], strict=True)) == pytest.approx(
        {
            "log_blend": log(0.5 * 0.1 / 0.4 + 0.1 * reminder_of_1),
            "log_model": log(0.1),
            "log_neighbours": log(1.0 / 4.0),
            "in_model": 1,
            "in_neighbours": 0,
            "seen": 1,
            "seen_lately": 1,
            "log_times_seen": log(3),
            "is_last_item": 1,
            "log_popularity": log(10),
            "seen_and_repeats": 1 / 3,
            "is_last_item_and_repeats": 1 / 3,
        },
        rel=1e-6,
    )
    assert features[1, FEATURE_NAMES.index("log_blend")] == pytest.approx(log(0.5 * 0.75 + 0.4 * 0.25))
    assert features[2, FEATURE_NAMES.index("seen_lately")] == pytest.approx(exp(-1 / 2))


def test_the_logit_of_the_blend_alone_ranks_as_the_blend() -> None:
    """With all other weights at 0, P(candidate) is the share of its blended score."""
    only_blend = Reranker(FEATURE_NAMES, (1.0, *[0.0] * (len(FEATURE_NAMES) - 1)), MODEL_ONLY)
    ranking = rerank(only_blend, replace(VOICES, neighbours=Candidates.none(), items=np.array([2], np.int32)), 5)
    assert ranking.item_indices.tolist() == [2, 1]
    assert ranking.scores.tolist() == pytest.approx([0.75, 0.25])


def test_no_voice_gives_an_empty_list() -> None:
    """Where nothing is known there is nothing to rank."""
    silent = Voices(Candidates.none(), Candidates.none(), np.zeros(0, np.int32), POPULARITY)
    assert not len(rerank(Reranker(FEATURE_NAMES, (0.0,) * len(FEATURE_NAMES), SHARES), silent, 5))


def _examples() -> list[tuple[Voices, ItemIndex]]:
    """Shoppers whose session has a repeat come back to an item; others go where the neighbours point."""
    rng = np.random.default_rng(1)
    examples = []
    for _ in range(N_EXAMPLES):
        first, second, third, fourth = rng.permutation(np.arange(1, 6))[:4].tolist()
        items = [first, second, first] if rng.random() < 0.5 else [first, second]
        voices = Voices(
            candidates((third, 0.5), (fourth, 0.3)),
            candidates((fourth, 2.0), (second, 1.0)),
            np.array(items, np.int32),
            POPULARITY,
        )
        wanted = (second if len(items) == 3 else fourth) if rng.random() < 0.9 else third
        examples.append((voices, ItemIndex(wanted)))
    return examples


def test_the_weights_are_the_most_likely_ones() -> None:
    """No small step from them raises the penalised likelihood, computed the long way."""
    examples = _examples()

    def loss(weights: np.ndarray) -> float:
        total = L2 / 2 * float(weights @ weights)
        for voices, target in examples:
            listed, features = candidate_features(voices, SHARES)
            logits = features @ weights
            total -= logits[listed.tolist().index(target)] - np.log(np.exp(logits).sum())
        return total

    fitted = fit_reranker(examples, SHARES)
    assert fitted is not None
    best = np.array(fitted.weights)
    for direction in np.eye(len(FEATURE_NAMES)):
        assert loss(best) <= min(loss(best + 0.1 * direction), loss(best - 0.1 * direction))


def test_it_learns_to_come_back_where_the_session_repeats() -> None:
    """The same voices are ranked otherwise after a session with a repeat: shares of a sum cannot."""
    fitted = fit_reranker(_examples(), SHARES)
    assert fitted is not None
    model, neighbours = candidates((3, 0.5), (4, 0.3)), candidates((4, 2.0), (2, 1.0))
    straight = rerank(fitted, Voices(model, neighbours, np.array([1, 2], np.int32), POPULARITY), 1)
    repeating = rerank(fitted, Voices(model, neighbours, np.array([1, 2, 1], np.int32), POPULARITY), 1)
    assert (straight.item_indices[0], repeating.item_indices[0]) == (4, 2)


def test_nothing_to_learn_from_gives_none() -> None:
    """A target that no voice lists says nothing about how to rank."""
    assert fit_reranker([(VOICES, ItemIndex(5))], SHARES) is None
    assert fit_reranker([], SHARES) is None
