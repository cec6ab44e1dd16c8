"""The last step of the blend."""

from dataclasses import replace
from math import exp, log, tanh

import msgspec
import numpy as np
import pytest

from schemas.ranking import Candidates
from session_model.ranking.blend import MODEL_ONLY, BlendWeights
from session_model.ranking.live_trends import LiveTrends
from session_model.ranking.popularity import Popularity
from session_model.ranking.reranker import (
    FEATURE_NAMES,
    CandidateSources,
    Reranker,
    candidate_features,
    feature_names,
    rerank,
)

SHARES = BlendWeights(0.4, 0.1)
COUNTS = np.array([0, 9, 4, 1, 0, 0])
POPULARITY = Popularity(COUNTS, np.array([[0, 2, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0]]), COUNTS)
N_FEATURES = len(FEATURE_NAMES)
SILENT = Reranker(FEATURE_NAMES, (0.0,) * N_FEATURES, ((),) * N_FEATURES, (), (), SHARES)


def candidates(*pairs: tuple[int, float]) -> Candidates:
    """List items with their scores."""
    return Candidates(np.array([item for item, _ in pairs], np.int32), np.array([s for _, s in pairs], np.float32))


VOICES = CandidateSources(
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
            "is_item_before": 0,
            "log_model_by_length": log(0.1) * log(3),
            "log_neighbours_by_length": log(1.0 / 4.0) * log(3),
            "seen_by_length": log(3),
            "is_last_item_by_length": log(3),
            "seen_and_repeats": 1 / 3,
            "is_last_item_and_repeats": 1 / 3,
            "log_popularity": log(10),
            "trend": log(1 + 2 / 0.2) - log(10),
            "latest_trend": log(1) - log(10),
        },
        rel=1e-6,
    )
    assert features[1, FEATURE_NAMES.index("log_blend")] == pytest.approx(log(0.5 * 0.75 + 0.4 * 0.25))
    assert features[2, FEATURE_NAMES.index("seen_lately")] == pytest.approx(exp(-1 / 2))
    assert features[:, FEATURE_NAMES.index("is_item_before")].tolist() == [0, 0, 1]


def test_trends_that_are_told_anew_are_read_in_place_of_those_of_training() -> None:
    """Each candidate's own; nothing else of it changes."""
    told = np.array([[0.5, 0.25], [1.5, 1.25]])
    live = LiveTrends(POPULARITY, np.array([1, 3], np.int32), told, np.ones((2, 1)))
    listed, before = candidate_features(VOICES, SHARES)
    _, features = candidate_features(replace(VOICES, live=live), SHARES)
    at = [FEATURE_NAMES.index(name) for name in ("trend", "latest_trend")]
    assert listed.tolist() == [1, 2, 3]
    assert features[:, at].tolist() == [[0.5, 1.5], [0.0, 0.0], [0.25, 1.25]]
    assert np.array_equal(np.delete(features, at, axis=1), np.delete(before, at, axis=1))


def test_the_logit_of_the_blend_alone_ranks_as_the_blend() -> None:
    """With all other weights at 0, P(candidate) is the share of its blended score."""
    only_blend = silent_but(linear=(1.0, *[0.0] * (N_FEATURES - 1)), shares=MODEL_ONLY)
    ranking = rerank(only_blend, replace(VOICES, neighbours=Candidates.none(), items=np.array([2], np.int32)), 5)
    assert ranking.item_indices.tolist() == [2, 1]
    assert ranking.scores.tolist() == pytest.approx([0.75, 0.25])


def test_a_score_is_linear_plus_what_the_hidden_units_say() -> None:
    """One row by hand."""
    names = ("a", "b")
    reranker = Reranker(names, (1.0, 2.0), ((0.5, 1.0), (-0.25, 0.0)), (0.1, -0.2), (3.0, 5.0), SHARES)
    expected = 1 * 2 + 2 * 4 + 3 * tanh(0.5 * 2 - 0.25 * 4 + 0.1) + 5 * tanh(1.0 * 2 - 0.2)
    assert reranker.scores(np.array([[2.0, 4.0]])).tolist() == pytest.approx([expected])


def test_content_is_looked_at_where_it_has_a_share() -> None:
    """It brings candidates of its own, and two features; without a share everything is as it was."""
    with_content = replace(VOICES, content=candidates((4, 3.0), (2, 1.0)))
    assert candidate_features(with_content, SHARES)[0].tolist() == [1, 2, 3]
    shares = BlendWeights(0.4, 0.1, 0.2)
    listed, features = candidate_features(with_content, shares)
    assert listed.tolist() == [1, 2, 3, 4]
    assert features.shape == (4, len(feature_names(shares)))
    assert features[:, -2].tolist() == pytest.approx([log(0.25), log(0.25), log(0.25), log(0.75)])
    assert features[:, -1].tolist() == [0, 1, 0, 1]
    assert features[3, 0] == pytest.approx(log(0.2 * 0.75))


def test_no_voice_gives_an_empty_list() -> None:
    """Where nothing is known there is nothing to rank."""
    nothing = CandidateSources(Candidates.none(), Candidates.none(), np.zeros(0, np.int32), POPULARITY)
    assert not len(rerank(SILENT, nothing, 5))


def silent_but(**changes: object) -> Reranker:
    """Return the reranker that says nothing, changed."""
    return msgspec.structs.replace(SILENT, **changes)
