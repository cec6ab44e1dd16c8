from streams.cluster.group_state import GroupState


def test_lag_counts_what_is_there_and_not_acknowledged() -> None:
    """Without a commit, or with one below what retention left, everything that is left counts; never less than none."""
    state = GroupState("STABLE", 1, {0: 15, 1: 3, 3: 99})
    bounds = {0: range(10, 20), 1: range(10, 20), 2: range(10, 20), 3: range(10, 20)}
    assert state.lag(bounds) == {0: 5, 1: 10, 2: 10, 3: 0}
