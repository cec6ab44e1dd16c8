"""Learning to rerank."""

import numpy as np
import pytest

from schemas.ids import ItemIndex
from schemas.ranking import Candidates
from session_model.fitting.reranker import fit_reranker
from session_model.ranking.blend import BlendWeights
from session_model.ranking.popularity import Popularity
from session_model.ranking.reranker import CandidateSources, Reranker, candidate_features, rerank

SHARES = BlendWeights(0.4, 0.1)
POPULARITY = Popularity(np.array([0, 9, 4, 1, 0, 0]), np.zeros((2, 6), np.int64), np.zeros(6, np.int64))
N_EXAMPLES = 3_000


def candidates(*pairs: tuple[int, float]) -> Candidates:
    """List items with their scores."""
    return Candidates(np.array([item for item, _ in pairs], np.int32), np.array([s for _, s in pairs], np.float32))


def shoppers() -> list[tuple[CandidateSources, ItemIndex]]:
    """Shoppers whose session has a repeat come back to an item; others go where the neighbours point."""
    rng = np.random.default_rng(1)
    examples = list[tuple[CandidateSources, ItemIndex]]()
    for _ in range(N_EXAMPLES):
        first, second, third, fourth = rng.permutation(np.arange(1, 6))[:4].tolist()
        items = [first, second, first] if rng.random() < 0.5 else [first, second]
        sources = CandidateSources(
            candidates((third, 0.5), (fourth, 0.3)),
            candidates((fourth, 2.0), (second, 1.0)),
            np.array(items, np.int32),
            POPULARITY,
        )
        wanted = (second if len(items) == 3 else fourth) if rng.random() < 0.9 else third
        examples.append((sources, ItemIndex(wanted)))
    return examples


@pytest.fixture(scope="module")
def fitted() -> Reranker:
    """Learn from the shoppers."""
    reranker = fit_reranker(shoppers(), SHARES)
    assert reranker is not None
    return reranker


def test_it_learns_to_come_back_where_the_session_repeats(fitted: Reranker) -> None:
    """The same sources are ranked otherwise after a session with a repeat: shares of a sum cannot."""
    model, neighbours = candidates((3, 0.5), (4, 0.3)), candidates((4, 2.0), (2, 1.0))
    straight = rerank(fitted, CandidateSources(model, neighbours, np.array([1, 2], np.int32), POPULARITY), 1)
    repeating = rerank(fitted, CandidateSources(model, neighbours, np.array([1, 2, 1], np.int32), POPULARITY), 1)
    assert (straight.item_indices[0], repeating.item_indices[0]) == (4, 2)


def test_the_probabilities_it_gives_are_near_the_shares_that_were_seen(fitted: Reranker) -> None:
    """Nine of ten shoppers go where the session points: the mean log loss of what was learned is near the entropy."""
    losses = []
    for sources, target in shoppers():
        listed, features = candidate_features(sources, SHARES)
        scores = fitted.scores(features)
        losses.append(np.log(np.exp(scores).sum()) - scores[listed.tolist().index(target)])
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert entropy - 0.1 < np.mean(losses) < entropy + 0.1


def test_the_same_examples_give_the_same_weights() -> None:
    """Nothing is left to chance."""
    one, other = (fit_reranker(shoppers()[:200], SHARES) for _ in range(2))
    assert one == other


def test_nothing_to_learn_from_gives_none() -> None:
    """A target that no source lists says nothing about how to rank."""
    lost = CandidateSources(candidates((2, 0.3)), candidates((3, 3.0)), np.array([1], np.int32), POPULARITY)
    assert fit_reranker([(lost, ItemIndex(5))], SHARES) is None
    assert fit_reranker([], SHARES) is None
