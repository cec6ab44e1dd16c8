"""Session-kNN against scores worked out by hand."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import exp, log
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.ids import ItemIndex
from session_model.ranking import knn_numpy
from session_model.ranking.kept import anchors_of
from session_model.ranking.knn import LONG_MEMORY, SHORT_MEMORY, KnnSettings, SessionKnn
from tests.builders import kernels

Fit = Callable[[list[list[int]], int, KnnSettings], SessionKnn]
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


@pytest.fixture(scope="module")
def compiled() -> Callable[..., Any]:
    """Return the compiled kernel; there is none where the install found no C compiler."""
    kernel: Callable[..., Any] = kernels.compiled("knn_kernel").Kernel
    return kernel


@pytest.fixture(params=["compiled", "numpy"])
def fitted(request: pytest.FixtureRequest) -> Fit:
    """Fit on lists of item indices, oldest session first; once with each kernel."""
    kernel = request.getfixturevalue("compiled") if request.param == "compiled" else knn_numpy.Kernel

    def fit(sessions: list[list[int]], n_items: int, settings: KnnSettings) -> SessionKnn:
        return fit_with(kernel, sessions, n_items, settings)

    return fit


def fit_with(kernel: Callable[..., Any], sessions: list[list[int]], n_items: int, settings: KnnSettings) -> SessionKnn:
    """Fit with a kernel."""
    starts = np.cumsum([0, *map(len, sessions)])
    items = np.array([item for row in sessions for item in row], np.int32)
    return SessionKnn.fit(starts, items, n_items, settings, kernel)


def scores(knn: SessionKnn, prefix: list[int]) -> dict[int, float]:
    """Return the scores of a query by item."""
    ranking = knn.query(np.array(prefix, np.int32))
    return dict(zip(ranking.item_indices.tolist(), ranking.scores.tolist(), strict=True))


def test_scores_by_hand(fitted: Fit) -> None:
    """Similarity sums decayed idf, and a neighbour votes by the distance to the latest shared item."""
    knn = fitted([[1, 2, 3], [2, 4], [5, 6]], 6, PLAIN)
    idf_1, idf_2 = log(3), log(3 / 2)
    both, one = idf_2 + exp(-1) * idf_1, idf_2
    expected = {3: both, 1: 0.5 * both, 4: one}
    assert scores(knn, [1, 2]) == pytest.approx(expected)


def test_an_older_match_votes_less(fitted: Fit) -> None:
    """The vote decays with the clicks since the anchor, and a shared item's weight with the clicks since it."""
    knn = fitted([[1, 3], [5, 6]], 6, PLAIN)
    assert scores(knn, [1, 4]) == pytest.approx({3: exp(-1) * log(2) * exp(-1 / 2)})


def test_length_age_idf_and_repeats_by_hand(fitted: Fit) -> None:
    """A long or old neighbour counts less, a rare candidate more, and the anchor itself by the repeat weight."""
    settings = msgspec.structs.replace(PLAIN, length_power=0.5, age_decay=2.0, repeat_weight=3.0, idf_weight=1.0)
    knn = fitted([[1, 2], [3, 4, 5, 6]], 6, settings)
    vote = log(2) * 2**-0.5 * exp(-1.0 / 2.0)
    assert scores(knn, [1]) == pytest.approx({2: vote * (1 + log(2)), 1: vote * 3 * (1 + log(2))})


def test_only_the_latest_sessions_of_an_item_are_looked_at(fitted: Fit) -> None:
    """With one sample an item, the older neighbour has no vote."""
    knn = fitted([[1, 2], [1, 3], [4, 4]], 4, msgspec.structs.replace(PLAIN, samples_per_item=1))
    assert set(scores(knn, [1])) == {3}


def test_only_the_nearest_neighbours_vote_and_ties_all_stay(fitted: Fit) -> None:
    """The k-th neighbour is the last; those as near as it vote too, so storage order never decides."""
    nearest_one = msgspec.structs.replace(PLAIN, neighbours=1)
    assert set(scores(fitted([[1, 2, 3], [2, 4], [5, 5]], 5, nearest_one), [1, 2])) == {1, 3}
    assert set(scores(fitted([[1, 2], [1, 3], [4, 4]], 4, nearest_one), [1])) == {2, 3}


def test_unknown_items_and_an_empty_prefix_find_nothing(fitted: Fit) -> None:
    """Padding, items outside the vocabulary and no items at all give no candidate."""
    knn = fitted([[1, 2], [0, 2]], 3, PLAIN)
    assert [len(knn.query(np.array(prefix, np.int32))) for prefix in ([], [0], [9], [-1], [3])] == [0] * 5


def test_no_training_session_is_no_error(fitted: Fit) -> None:
    """An index of nothing finds nothing."""
    assert not len(fitted([], 3, PLAIN).query(np.array([1], np.int32)))


def test_a_saved_index_answers_alike(tmp_path: Path, fitted: Fit) -> None:
    """Loading gives the same settings and the same ranking."""
    rng = np.random.default_rng(1)
    knn = fitted([rng.integers(1, 30, 6).tolist() for _ in range(80)], 30, LONG_MEMORY)
    knn.save(tmp_path / "knn")
    loaded = SessionKnn.load(tmp_path / "knn")
    assert loaded.settings == LONG_MEMORY
    assert scores(loaded, [4, 7, 4]) == scores(knn, [4, 7, 4])


@pytest.mark.parametrize("settings", [SHORT_MEMORY, LONG_MEMORY], ids=["short", "long"])
@pytest.mark.parametrize("neighbours", [5, 1000])
def test_both_kernels_give_the_same_to_the_last_bit(
    settings: KnnSettings, neighbours: int, compiled: Callable[..., Any]
) -> None:
    """What is evaluated on one machine is what another one serves, with or without a compiler."""
    rng = np.random.default_rng(7)
    popular = rng.zipf(1.3, 20_000) % 400 + 1
    sessions = [row.tolist() for row in np.split(popular, np.sort(rng.choice(20_000, 4_000, replace=False)))]
    settings = msgspec.structs.replace(settings, neighbours=neighbours)
    fast, plain = (fit_with(kernel, sessions, 400, settings) for kernel in (compiled, knn_numpy.Kernel))
    for _ in range(200):
        prefix = rng.integers(0, 401, rng.integers(1, 25)).astype(np.int32)
        ours, theirs = fast.query(prefix, 50), plain.query(prefix, 50)
        np.testing.assert_array_equal(ours.item_indices, theirs.item_indices)
        np.testing.assert_array_equal(ours.scores, theirs.scores)
        everything = list(map(ItemIndex, range(401)))
        assert anchors_of(ours, everything) == anchors_of(theirs, everything)


def test_what_most_votes_rest_on_is_named(fitted: Fit) -> None:
    """An item to which both items of a session lead owes it to the one that gave it over two thirds of its votes."""
    knn = fitted([[1, 3], [1, 3], [1, 3], [2, 3], [2, 4], [1, 5], [2, 5], [6]], 6, PLAIN)
    owed = knn.query(np.array([2, 1], np.int32))
    assert anchors_of(owed, list(map(ItemIndex, (3, 4, 6)))) == [1, 2, None]


@pytest.mark.parametrize("settings", [SHORT_MEMORY, LONG_MEMORY], ids=["short", "long"])
def test_an_anchor_is_named_where_its_sessions_gave_most_of_the_votes(settings: KnnSettings, fitted: Fit) -> None:
    """That is counted anew here, from the sessions themselves: each votes through the latest item that it shares."""
    rng = np.random.default_rng(9)
    sessions = [rng.integers(1, 30, rng.integers(2, 7)).tolist() for _ in range(120)]
    settings = msgspec.structs.replace(settings, neighbours=1000, age_decay=None, samples_per_item=1000)
    knn = fitted(sessions, 29, settings)
    for _ in range(20):
        prefix = rng.integers(1, 30, 4)
        owed = knn.query(prefix.astype(np.int32), 100)
        votes = votes_by_anchor(sessions, prefix.tolist(), settings)
        for item, given in votes.items():
            anchor = max(given, key=given.__getitem__)
            expected = anchor if 3 * given[anchor] > 2 * sum(given.values()) * (1 + 1e-9) else None
            assert anchors_of(owed, [ItemIndex(item)]) == [expected]


def votes_by_anchor(sessions: list[list[int]], prefix: list[int], settings: KnnSettings) -> dict[int, dict[int, float]]:
    """Count, in plain Python, what the sessions of each anchor vote for; by item and anchor."""
    count = {item: sum(item in session for session in sessions) for item in range(1, 30)}
    since = {item: clicks for clicks, item in reversed(list(enumerate(reversed(prefix))))}
    votes: dict[int, dict[int, float]] = {}
    for session in sessions:
        shared = [item for item in since if item in session]
        if not shared:
            continue
        similarity = sum(
            exp(-since[item] / settings.position_decay) * log(len(sessions) / count[item]) ** settings.idf_power
            for item in shared
        )
        similarity *= len(session) ** -settings.length_power
        anchor = min(shared, key=since.__getitem__)
        place = len(session) - 1 - session[::-1].index(anchor)
        for at, item in enumerate(session):
            distance = at - place
            weight = settings.repeat_weight
            if distance > 0:
                weight = exp(-(distance - 1) / settings.after_decay)
            elif distance < 0:
                weight = settings.before_weight * exp((distance + 1) / settings.before_decay)
            given = votes.setdefault(item, {})
            vote = similarity * exp(-since[anchor] / settings.match_decay) * weight
            given[anchor] = given.get(anchor, 0.0) + vote
    return votes


def test_threads_share_an_index(compiled: Callable[..., Any]) -> None:
    """Queries from several threads at once answer as one after the other."""
    rng = np.random.default_rng(3)
    knn = fit_with(compiled, [rng.integers(1, 60, 6).tolist() for _ in range(3_000)], 60, SHORT_MEMORY)
    prefixes = [rng.integers(1, 60, 5).astype(np.int32) for _ in range(200)]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(knn.query, prefixes))
    for prefix, ranking in zip(prefixes, at_once, strict=True):
        np.testing.assert_array_equal(knn.query(prefix).scores, ranking.scores)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("session_starts", lambda array: array + 1),
        ("session_items", lambda array: array + 100),
        ("posting_starts", lambda array: array[::-1]),
        ("posting_sessions", lambda array: array - 1),
        ("posting_places", lambda array: array + 3),
        ("idf", lambda array: array[:-1]),
        ("idf", lambda array: array.astype(np.float64)),
        ("idf", lambda array: np.where(array > 0, np.nan, array).astype(array.dtype)),
    ],
)
def test_a_damaged_index_is_refused(
    tmp_path: Path, name: str, change: Callable[[NDArray[np.generic]], NDArray[np.generic]]
) -> None:
    """Positions that lead out of their arrays are found when the index is loaded, not by a query."""
    fit_with(knn_numpy.Kernel, [[1, 2, 3], [2, 4]], 4, PLAIN).save(tmp_path / "knn")
    path = tmp_path / "knn" / f"{name}.npy"
    np.save(path, change(np.load(path)))
    with pytest.raises(ValueError, match=f"{name} is|do not fit"):
        SessionKnn.load(tmp_path / "knn")
