import math

import pytest

from session_model.runs.time_budget import BLEND_SHARE, CHOICE_SHARE, TimeBudget

BUDGET = TimeBudget(started=1000.0, seconds=100.0)


def test_the_parts_follow_each_other() -> None:
    """Choice, search and final training end in this order, and within the budget."""
    assert BUDGET.choice_deadline == 1000.0 + 100 * CHOICE_SHARE
    now, final_seconds = BUDGET.choice_deadline, 25.0
    search = BUDGET.search_deadline(now, final_seconds)
    assert now < search
    blended = search + 100 * BLEND_SHARE
    assert blended + final_seconds == pytest.approx(BUDGET.end)
    assert BUDGET.end < 1100.0


def test_a_final_training_that_does_not_fit_leaves_the_time_to_the_search() -> None:
    """It would be left out anyway."""
    assert BUDGET.search_deadline(1040.0, final_seconds=60.0) == pytest.approx(BUDGET.end - 100 * BLEND_SHARE)


def test_without_a_bound_nothing_ends() -> None:
    """All deadlines are infinite."""
    unbound = TimeBudget(started=1000.0, seconds=math.inf)
    assert unbound.choice_deadline == unbound.end == unbound.search_deadline(2000.0, 500.0) == math.inf
