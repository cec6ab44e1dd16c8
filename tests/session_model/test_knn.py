"""Session-kNN against scores worked out by hand."""

from math import exp, log
from pathlib import Path

import msgspec
import numpy as np
import pytest

from session_model.knn import LONG_MEMORY, KnnSettings, SessionKnn

PLAIN = KnnSettings(
    position_decay=1.0,
    match_decay=2.0,
    idf_power=1.0,
    length_power=0.0,
    after_decay=1.0,
    before_weight=0.5,
    before_decay=1.0,
    repeat_weight=0.0,
    idf_weight=0.0,
)


def fitted(sessions: list[list[int]], n_items: int, settings: KnnSettings) -> SessionKnn:
    """Fit on lists of item indices, oldest session first."""
    starts = np.cumsum([0, *map(len, sessions)])
    return SessionKnn.fit(starts, np.array([item for row in sessions for item in row], np.int32), n_items, settings)


def scores(knn: SessionKnn, prefix: list[int]) -> dict[int, float]:
    """Give the scores of a query by item."""
    ranking = knn.query(np.array(prefix, np.int32))
    return dict(zip(ranking.item_indices.tolist(), ranking.scores.tolist(), strict=True))


def test_scores_by_hand() -> None:
    """Similarity sums decayed idf, and a neighbour votes by the distance to the latest shared item."""
    knn = fitted([[1, 2, 3], [2, 4], [5, 6]], 6, PLAIN)
    idf_1, idf_2 = log(3), log(3 / 2)
    both, one = idf_2 + exp(-1) * idf_1, idf_2
    expected = {3: both, 1: 0.5 * both, 4: one}
    assert scores(knn, [1, 2]) == pytest.approx(expected)


def test_an_older_match_votes_less() -> None:
    """The vote decays with the clicks since the anchor, and a shared item's weight with the clicks since it."""
    knn = fitted([[1, 3], [5, 6]], 6, PLAIN)
    assert scores(knn, [1, 4]) == pytest.approx({3: exp(-1) * log(2) * exp(-1 / 2)})


def test_length_age_idf_and_repeats_by_hand() -> None:
    """A long or old neighbour counts less, a rare candidate more, and the anchor itself by the repeat weight."""
    settings = msgspec.structs.replace(PLAIN, length_power=0.5, age_decay=2.0, repeat_weight=3.0, idf_weight=1.0)
    knn = fitted([[1, 2], [3, 4, 5, 6]], 6, settings)
    vote = log(2) * 2**-0.5 * exp(-1.0 / 2.0)
    assert scores(knn, [1]) == pytest.approx({2: vote * (1 + log(2)), 1: vote * 3 * (1 + log(2))})


def test_only_the_latest_sessions_of_an_item_are_looked_at() -> None:
    """With one sample an item, the older neighbour has no vote."""
    knn = fitted([[1, 2], [1, 3], [4, 4]], 4, msgspec.structs.replace(PLAIN, samples_per_item=1))
    assert set(scores(knn, [1])) == {3}


def test_only_the_nearest_neighbours_vote_and_ties_all_stay() -> None:
    """The k-th neighbour is the last; those as near as it vote too, so storage order never decides."""
    nearest_one = msgspec.structs.replace(PLAIN, neighbours=1)
    assert set(scores(fitted([[1, 2, 3], [2, 4], [5, 5]], 5, nearest_one), [1, 2])) == {1, 3}
    assert set(scores(fitted([[1, 2], [1, 3], [4, 4]], 4, nearest_one), [1])) == {2, 3}


def test_unknown_items_and_an_empty_prefix_find_nothing() -> None:
    """Padding, items outside the vocabulary and no items at all give no candidate."""
    knn = fitted([[1, 2], [0, 2]], 3, PLAIN)
    assert [len(knn.query(np.array(prefix, np.int32))) for prefix in ([], [0], [9], [-1], [3])] == [0] * 5


def test_no_training_session_is_no_error() -> None:
    """An index of nothing finds nothing."""
    assert not len(fitted([], 3, PLAIN).query(np.array([1], np.int32)))


def test_a_saved_index_answers_alike(tmp_path: Path) -> None:
    """Loading gives the same settings and the same ranking."""
    rng = np.random.default_rng(1)
    knn = fitted([rng.integers(1, 30, 6).tolist() for _ in range(80)], 30, LONG_MEMORY)
    knn.save(tmp_path / "knn.npz")
    loaded = SessionKnn.load(tmp_path / "knn.npz")
    assert loaded.settings == LONG_MEMORY
    assert scores(loaded, [4, 7, 4]) == scores(knn, [4, 7, 4])
