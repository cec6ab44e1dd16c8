"""The live hit rate, from outcomes."""

import pytest

from agents.demo.outcome_score import LiveRates, OutcomeScore
from tests.agents.demo.builders import outcome


def test_the_rates_are_over_the_clicks() -> None:
    """A click on what was not shown counts as a miss; carts and purchases do not count."""
    score = OutcomeScore()
    score.add(outcome("c-0-1", position=1))
    score.add(outcome("c-0-2", position=4))
    score.add(outcome("c-0-3", position=None))
    score.add(outcome("c-0-4", position=1, action="purchase"))
    assert score.rates() == LiveRates(hit_rate=pytest.approx(2 / 3), mrr=pytest.approx(1.25 / 3), clicks=3)


def test_a_repeated_outcome_counts_once() -> None:
    """At least once on the wire, once in the figures; the first is the one that counts."""
    score = OutcomeScore()
    score.add(outcome("c-0-1", position=1))
    score.add(outcome("c-0-1", position=None))
    assert score.rates() == LiveRates(1.0, 1.0, 1)


def test_without_a_click_there_is_no_rate() -> None:
    """Not 0 %."""
    assert OutcomeScore().rates() == LiveRates(None, None, 0)
