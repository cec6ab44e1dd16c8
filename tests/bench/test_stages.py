from dataclasses import replace
from itertools import pairwise

from bench.stages import STAGES, Gains, as_of
from serving import chain
from streams.sessions import sessionizer


def test_each_stage_has_one_thing_more_on_than_the_one_before() -> None:
    """So what it costs and brings is that thing's."""
    for before, stage in pairwise(STAGES):
        names = [name for name in stage.__slots__ if getattr(stage, name) != getattr(before, name)]
        assert len(set(names) - {"name"}) == 1
    nothing, everything = STAGES[0], STAGES[-2]
    assert all(not getattr(nothing, name) for name in nothing.__slots__ if name != "name")
    assert all(getattr(everything, name) for name in everything.__slots__)


def test_what_no_setting_turns_off_is_taken_out_and_put_back() -> None:
    """Both of it by its own switch."""
    count, explained = sessionizer.counted_views, chain.EXPLAINED_ITEMS
    with as_of(STAGES[0]):
        assert sessionizer.counted_views is not count
        assert chain.EXPLAINED_ITEMS == 0
    with as_of(replace(STAGES[0], counts=True)):
        assert sessionizer.counted_views is count
        assert chain.EXPLAINED_ITEMS == 0
    assert (sessionizer.counted_views, chain.EXPLAINED_ITEMS) == (count, explained)


def test_shares_of_nothing_are_nothing() -> None:
    """A short run may have no view of what is on sale."""
    assert set(Gains().shares().values()) == {0.0}
    assert Gains(answers=4, targets=2, hits=1, gone=2).shares()["gone_items_in_1000_answers"] == 500
