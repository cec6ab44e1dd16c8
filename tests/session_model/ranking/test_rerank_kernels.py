"""One contract for what joins candidates: compiled, and in NumPy."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas.ranking import Candidates
from session_model.ranking import rerank_numpy
from session_model.ranking.blend import BlendWeights
from session_model.ranking.popularity import Popularity
from session_model.ranking.reranker import FEATURE_NAMES, CandidateSources, Reranker, rerank, rerank_many
from tests.builders.kernels import compiled

COLUMNS = ("model", "neighbours", "content", "times", "since", "before")
N_ITEMS = 40
NEVER = float("inf")


@pytest.fixture(params=["compiled", "numpy"])
def kernel(request: pytest.FixtureRequest) -> ModuleType:
    """Return each kernel."""
    return compiled("rerank_kernel") if request.param == "compiled" else rerank_numpy


def listed(scores: dict[int, float]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return a source's list."""
    return np.array([*scores], np.int32), np.array([*scores.values()], np.float32)


def joined(kernel: ModuleType, sources: list[dict[int, float]], prefix: list[int], start: int = 0) -> dict[int, Any]:
    """Join one row behind others; returns the columns by item."""
    items, columns = np.zeros(start + 200, np.int32), np.full((len(COLUMNS), start + 200), np.nan)
    lists = [array for source in sources for array in listed(source)]
    n = kernel.join(*lists, np.array(prefix, np.int32), items, columns, start)
    assert np.isnan(columns[:, :start]).all()
    assert np.isnan(columns[:, start + n :]).all()
    return dict(zip(items[start : start + n].tolist(), columns[:, start : start + n].T.tolist(), strict=True))


def test_each_item_has_what_every_source_says_of_it(kernel: ModuleType) -> None:
    """-1 where a source does not list it; of an item that was seen twice the latest time counts."""
    found = joined(kernel, [{7: 0.5, 3: 0.25}, {3: 2.0, 9: 1.0}, {9: 4.0}], [3, 8, 5, 3], start=11)
    assert found == {
        7: [0.5, -1, -1, 0, NEVER, 0],
        3: [0.25, 2.0, -1, 2, 0, 0],
        9: [-1, 1.0, 4.0, 0, NEVER, 0],
        8: [-1, -1, -1, 1, 2, 0],
        5: [-1, -1, -1, 1, 1, 1],
    }


def test_an_item_that_was_seen_twice_running_is_last_and_before(kernel: ModuleType) -> None:
    """Both are said of it."""
    assert joined(kernel, [{}, {}, {}], [4, 4]) == {4: [-1, -1, -1, 2, 0, 1]}


def test_nothing_is_no_candidate(kernel: ModuleType) -> None:
    """And no error."""
    assert joined(kernel, [{}, {}, {}], []) == {}


scores_of_items = st.dictionaries(st.integers(1, N_ITEMS), st.floats(0, 1, width=32), max_size=N_ITEMS)


@given(st.lists(scores_of_items, min_size=3, max_size=3), st.lists(st.integers(1, N_ITEMS), max_size=20))
def test_both_kernels_join_the_same(sources: list[dict[int, float]], prefix: list[int]) -> None:
    """To the last bit, in whatever order."""
    assert joined(compiled("rerank_kernel"), sources, prefix) == joined(rerank_numpy, sources, prefix)


@pytest.mark.parametrize("content_share", [0.0, 0.2])
def test_both_kernels_describe_the_same(content_share: float) -> None:
    """To float32's last digits: whatever is listed, seen, or nothing."""
    shares = (0.4, 0.3, content_share, 0.1)
    rng = np.random.default_rng(7)
    lengths, prefix_lengths = np.array([30, 1, 12], np.int64), np.array([6, 0, 1], np.int64)
    n, items = int(lengths.sum()), rng.integers(1, N_ITEMS + 1, int(lengths.sum())).astype(np.int32)
    columns = np.full((len(COLUMNS), n + 5), np.nan)[:, :n]
    columns[:3] = np.where(rng.random((3, n)) < 0.5, -1.0, rng.exponential(1, (3, n)))
    columns[:3, 30] = -1.0
    columns[0, 31:] = -1.0
    columns[0, 2] = 0.0
    seen = rng.random(n) < 0.3
    columns[3], columns[4] = np.where(seen, 2.0, 0.0), np.where(seen, rng.integers(0, 5, n), np.inf)
    columns[5] = columns[4] == 1
    n_features = len(FEATURE_NAMES) + (2 if content_share else 0)
    one, other = (np.full((n_features, n), np.nan, np.float32) for _ in range(2))
    asked = columns, items, lengths, prefix_lengths, POPULARITY.log_counts, POPULARITY.trends, shares
    compiled("rerank_kernel").describe(*asked, one)
    rerank_numpy.describe(*asked, other)
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("item", [N_ITEMS + 1, 2_000_000_000])
def test_an_item_beyond_the_release_is_an_error(kernel: ModuleType, item: int) -> None:
    """A model server may answer what it likes; nothing is read where there is no item."""
    columns, lengths = np.full((len(COLUMNS), 2), -1.0), np.array([2], np.int64)
    columns[3:] = np.array([0.0, NEVER, 0.0])[:, np.newaxis]
    items, out = np.array([1, item], np.int32), np.zeros((len(FEATURE_NAMES), 2), np.float32)
    counts, trends = POPULARITY.log_counts, POPULARITY.trends
    with pytest.raises(IndexError):
        kernel.describe(columns, items, lengths, lengths, counts, trends, (0.4, 0.3, 0.0, 0.1), out)


def rows_of_a_shop(n: int) -> list[CandidateSources]:
    """Draw what is known before some clicks, now and then nothing."""
    rng = np.random.default_rng(2)
    popularity = Popularity.fit(rng.integers(1, N_ITEMS + 1, 500).astype(np.int32), N_ITEMS)

    def drawn(most: int) -> Candidates:
        items = rng.permutation(np.arange(1, N_ITEMS + 1))[: rng.integers(0, most + 1)].astype(np.int32)
        return Candidates(items, rng.exponential(1, len(items)).astype(np.float32))

    prefixes = (rng.integers(1, N_ITEMS + 1, rng.integers(0, 8)).astype(np.int32) for _ in range(n))
    return [CandidateSources(drawn(20), drawn(20), prefix, popularity) for prefix in prefixes]


def drawn_reranker() -> Reranker:
    """Draw weights."""
    rng, n = np.random.default_rng(3), len(FEATURE_NAMES)
    hidden = tuple(map(tuple, rng.normal(0, 0.3, (n, 8)).tolist()))
    bias, output = rng.normal(0, 0.3, (2, 8)).tolist()
    linear = tuple(rng.normal(0, 0.3, n).tolist())
    return Reranker(FEATURE_NAMES, linear, hidden, tuple(bias), tuple(output), BlendWeights(0.4, 0.1))


def test_a_row_is_ranked_alike_alone_and_beside_others(kernel: ModuleType) -> None:
    """With either kernel: the same items, scores to float32's last digits, a row of nothing as an empty list."""
    rows, reranker = (
        [*rows_of_a_shop(50), CandidateSources(*[Candidates.none()] * 2, np.zeros(0, np.int32), POPULARITY)],
        drawn_reranker(),
    )
    together = rerank_many(reranker, rows, 10, kernel)
    alone = [rerank(reranker, row, 10) for row in rows]
    assert [one.item_indices.tolist() for one in together] == [one.item_indices.tolist() for one in alone]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
    assert not len(together[-1])


POPULARITY = Popularity.fit(np.ones(1, np.int32), N_ITEMS)
