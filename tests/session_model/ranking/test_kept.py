"""What the list before held moves up, and a few items are found in a ranking."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import ItemIndex
from schemas.ranking import Candidates
from session_model.ranking import kept_numpy
from session_model.ranking.kept import with_kept
from tests.builders.kernels import compiled


def test_what_was_listed_before_moves_up_by_the_bonus() -> None:
    """The bonus is one of the log of a score: what is far behind stays behind, ties keep their order."""
    candidates = Candidates(np.array([7, 3, 5, 9], np.int32), np.array([0.4, 0.3, 0.2, 0.1], np.float32))
    kept = with_kept(candidates, [ItemIndex(5), ItemIndex(9), ItemIndex(77)], math.log(1.75))
    assert kept.item_indices.tolist() == [7, 5, 3, 9]
    np.testing.assert_allclose(kept.scores, [0.4, 0.35, 0.3, 0.175], rtol=1e-6)
    assert candidates.item_indices.tolist() == [7, 3, 5, 9]


@given(
    scores=st.lists(st.sampled_from([0.0, 0.125, 0.1, 0.2, 0.3, 0.5, 1.0]), max_size=12),
    kept=st.lists(st.integers(0, 15), unique=True),
    factor=st.sampled_from([1.0, math.exp(0.5), 2.0, 8.0]),
)
def test_both_kernels_order_anew_alike(scores: list[float], kept: list[int], factor: float) -> None:
    """To the last bit, and as a stable sort in plain Python does; of items that are not there nothing comes."""
    ranked = np.sort(np.array(scores, np.float32))[::-1]
    items = np.random.default_rng(1).permutation(np.arange(1, len(scores) + 1)).astype(np.int32)
    pairs = zip(items.tolist(), ranked, strict=True)
    again = [(item, score * np.float32(factor) if item in kept else score) for item, score in pairs]
    again.sort(key=lambda pair: -pair[1])
    for kernel in (compiled("kept_kernel"), kept_numpy):
        of_items, of_scores = kernel.raised(items, ranked, kept, factor)
        assert (of_items.dtype, of_scores.dtype) == (np.int32, np.float32)
        assert list(zip(of_items.tolist(), of_scores.tolist(), strict=True)) == again


@given(st.integers(0, 8), st.lists(st.integers(0, 10)))
def test_both_kernels_find_the_same_places(count: int, wanted: list[int]) -> None:
    """Of what is there, the place; of what is not, -1."""
    items = np.arange(count, 0, -1, dtype=np.int32)
    there = items.tolist()
    places = [there.index(item) if item in there else -1 for item in wanted]
    assert compiled("kept_kernel").places_of(items, wanted) == places
    assert kept_numpy.places_of(items, wanted) == places
