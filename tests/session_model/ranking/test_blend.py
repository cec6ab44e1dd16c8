"""The blend against sums worked out by hand."""

from math import exp

import msgspec
import numpy as np
import pytest

from schemas.ids import ItemIndex
from schemas.ranking import Candidates
from session_model.fitting.blend_weights import CONTENT_SHARES, WEIGHT_GRID, BlendExample, choose_weights
from session_model.ranking.blend import MODEL_ONLY, BlendWeights, blend, reminder

MODEL = Candidates(np.array([1, 2], np.int32), np.array([0.3, 0.1], np.float32))
NEIGHBOURS = Candidates(np.array([2, 3], np.int32), np.array([6.0, 2.0], np.float32))
PREFIX = np.array([3, 1], np.int32)


def test_each_voice_is_scaled_to_its_share() -> None:
    """(1 - a - c) of the model, a of kNN and c of the reminder add up to one, whatever their own scales."""
    ranking = blend(MODEL, NEIGHBOURS, PREFIX, BlendWeights(0.4, 0.1), 10)
    last, before = 1 / (1 + exp(-0.5)), exp(-0.5) / (1 + exp(-0.5))
    expected = {1: 0.5 * 0.75 + 0.1 * last, 2: 0.5 * 0.25 + 0.4 * 0.75, 3: 0.4 * 0.25 + 0.1 * before}
    assert dict(zip(ranking.item_indices.tolist(), ranking.scores.tolist(), strict=True)) == pytest.approx(expected)
    assert ranking.scores.tolist() == sorted(ranking.scores.tolist(), reverse=True)
    assert float(ranking.scores.sum()) == pytest.approx(1.0)


def test_the_model_alone_keeps_its_ranking() -> None:
    """Without the other shares nothing of theirs comes in."""
    assert blend(MODEL, NEIGHBOURS, PREFIX, MODEL_ONLY, 10).item_indices.tolist() == [1, 2]


def test_a_silent_voice_leaves_the_others() -> None:
    """No neighbours, or no source at all, is no error."""
    ranking = blend(MODEL, Candidates.none(), PREFIX[:0], BlendWeights(0.4, 0.1), 10)
    assert ranking.item_indices.tolist() == [1, 2]
    assert not len(blend(Candidates.none(), Candidates.none(), PREFIX[:0], BlendWeights(0.4, 0.1), 10))


def test_ties_go_by_item_index() -> None:
    """Equal sums come by ascending index."""
    equal = Candidates(np.array([5, 4], np.int32), np.array([1.0, 1.0], np.float32))
    assert blend(equal, Candidates.none(), PREFIX[:0], MODEL_ONLY, 1).item_indices.tolist() == [4]


def test_the_reminder_knows_the_latest_click_of_an_item() -> None:
    """An item seen again counts from its latest click."""
    ranking = reminder(np.array([7, 9, 7], np.int32))
    assert ranking.item_indices.tolist() == [7, 9]
    assert ranking.scores.tolist() == pytest.approx([1.0, exp(-0.5)])


def test_the_grid_prefers_the_voice_that_is_right() -> None:
    """Where kNN puts the target first and the model second, kNN gets weight; where the model is right, none."""
    prefix = np.array([8], np.int32)
    right_neighbours = [BlendExample(MODEL, NEIGHBOURS, prefix, ItemIndex(2))] * 3
    assert choose_weights(right_neighbours).neighbours > 0
    assert choose_weights([BlendExample(MODEL, NEIGHBOURS, prefix, ItemIndex(1))]) == WEIGHT_GRID[0]


def test_without_examples_the_model_speaks_alone() -> None:
    """No validation slice means no reason to listen to others."""
    assert choose_weights([]) == MODEL_ONLY


CONTENT = Candidates(np.array([4], np.int32), np.array([3.0], np.float32))


def test_content_is_a_source_like_the_others() -> None:
    """Scaled to its share; what is left is the model's."""
    weights = BlendWeights(0.4, 0.0, 0.25)
    ranking = blend(MODEL, NEIGHBOURS, PREFIX, weights, 10, CONTENT)
    assert weights.model == pytest.approx(0.35)
    assert dict(zip(ranking.item_indices.tolist(), ranking.scores.tolist(), strict=True)) == pytest.approx(
        {1: 0.35 * 0.75, 2: 0.35 * 0.25 + 0.4 * 0.75, 3: 0.4 * 0.25, 4: 0.25}
    )


def test_content_has_a_share_where_it_is_better_by_more_than_chance() -> None:
    """It alone names the target; once, it may be chance; mostly it is a place that another item needs."""
    prefix = np.array([8], np.int32)
    by_content = BlendExample(MODEL, NEIGHBOURS, prefix, ItemIndex(4), CONTENT)
    by_model = BlendExample(MODEL, NEIGHBOURS, prefix, ItemIndex(1), CONTENT)
    assert choose_weights([by_content] * 5 + [by_model] * 5).content in CONTENT_SHARES
    assert choose_weights([by_content] + [by_model] * 50).content == 0
    assert choose_weights([by_model] * 50).content == 0


def test_shares_of_a_release_without_content_are_read() -> None:
    """As releases had them before."""
    assert msgspec.json.decode(b'{"neighbours":0.4,"reminder":0.1}', type=BlendWeights) == BlendWeights(0.4, 0.1, 0.0)
