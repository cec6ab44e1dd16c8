"""Whether the next click was among the answered items."""

import pytest

from agents.demo import hit_rate
from agents.demo.hit_rate import CUTOFF, HitRates, NextClickScore, PopularItems
from schemas.ids import ItemId
from tests.agents.demo.builders import answer, click


def test_the_next_view_of_the_session_is_the_target_of_both() -> None:
    """The model answered b and b came; most popular was only a."""
    score = NextClickScore(PopularItems({}))
    assert score.saw(click("a"), answer("bc")) is None
    assert score.saw(click("b"), answer("d")) is True
    assert score.rates() == HitRates(model=1.0, popular=0.0, targets=1)


def test_every_answer_since_the_last_view_has_the_target() -> None:
    """A cart event between two views is answered too, and both answers are scored by the second view."""
    score = NextClickScore(PopularItems({}))
    score.saw(click("a"), answer("x"))
    score.saw(click("a", event_type="cart"), answer("b"))
    assert score.saw(click("b"), answer()) is True
    assert score.rates() == HitRates(model=0.5, popular=0.0, targets=2)


def test_another_session_is_no_target() -> None:
    """A view in the visitor's next session says nothing about the answer in the last one."""
    score = NextClickScore(PopularItems({}))
    score.saw(click("a"), answer("b", session="first"))
    assert score.saw(click("b"), answer("b", session="second")) is None
    assert score.rates() == HitRates(None, None, 0)


def test_an_event_without_an_answer_of_its_own_is_no_target() -> None:
    """Duplicates and late events are passed over."""
    score = NextClickScore(PopularItems({}))
    score.saw(click("a"), answer("b"))
    assert score.saw(click("b"), answer(status="duplicate")) is None
    assert score.rates().targets == 0


def test_views_before_the_scored_time_are_no_targets_but_count_as_popular() -> None:
    """What the model was trained on is left out; the boundary itself is in."""
    score = NextClickScore(PopularItems({}), scored_from_ms=100)
    score.saw(click("a", time_ms=98), answer("a"))
    score.saw(click("a", time_ms=99), answer("b"))
    assert score.rates().targets == 0
    score.saw(click("a", time_ms=100), answer())
    assert score.rates() == HitRates(model=0.0, popular=1.0, targets=1)


def test_popular_is_as_of_the_answer() -> None:
    """The click that is the target does not make its own item popular in time."""
    score = NextClickScore(PopularItems({ItemId(f"p{number}"): 2 for number in range(CUTOFF)}))
    for item in ("n", "n", "n", "n"):
        score.saw(click(item), answer())
    # Views 2 and 3 still find the trained twenty on top (n has 1 and 2 views); view 4 finds n among them.
    assert score.rates() == HitRates(model=0.0, popular=pytest.approx(1 / 3), targets=3)


def test_popular_keeps_the_most_viewed() -> None:
    """An item enters the top when it passes the least of it, which leaves."""
    counts = {ItemId(f"p{number}"): 10 + number for number in range(CUTOFF)}
    popular = PopularItems({**counts, ItemId("n"): 10})
    assert popular.top == counts.keys()
    popular.viewed(ItemId("n"))
    assert popular.top == counts.keys() - {"p0"} | {"n"}


def test_the_longest_inactive_visitor_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by visitors; one forgotten has no target."""
    monkeypatch.setattr(hit_rate, "MAX_VISITORS", 1)
    score = NextClickScore(PopularItems({}))
    score.saw(click("a", visitor="first"), answer("b"))
    score.saw(click("a", visitor="second"), answer("b"))
    assert score.saw(click("b", visitor="first"), answer()) is None
