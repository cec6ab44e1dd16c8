import pytest

from agents.clicks.list_overlap import kept_share, rank_biased_overlap
from schemas.ids import ItemId


def items(names: str) -> list[ItemId]:
    """Return one item a letter."""
    return [ItemId(name) for name in names]


@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [("abcdefghijkl", "lkjihgfedcba", 0.8), ("ab", "bc", 0.5), ("ab", "ab", 1.0), ("ab", "cd", 0.0), ("", "ab", 1.0)],
)
def test_kept_is_the_share_of_the_first_ten_that_stay_among_them(before: str, now: str, kept: float) -> None:
    """Whatever their order; of a shorter list before, the share of that."""
    assert kept_share(items(before), items(now)) == pytest.approx(kept)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("abc", "abc", 1.0),
        ("abc", "def", 0.0),
        ("ab", "ba", 0.9 / 1.9),
        ("ab", "ac", (1 + 0.9 / 2) / 1.9),
        ("abx", "ab", 1.0),
        ("", "ab", 1.0),
    ],
)
def test_overlap_is_the_mean_agreement_at_each_depth_the_first_ones_weigh_most(
    one: str, other: str, overlap: float
) -> None:
    """Each depth weighs nine tenths of the one before; it is the same from both sides."""
    assert rank_biased_overlap(items(one), items(other)) == pytest.approx(overlap)
    assert rank_biased_overlap(items(other), items(one)) == pytest.approx(overlap)
