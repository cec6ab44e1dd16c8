from bench.steps import recommended


def test_workers_that_bring_next_to_nothing_are_not_recommended() -> None:
    """The least number that is nearly as fast as the fastest."""
    assert recommended({1: 40.0, 2: 42.0, 4: 50.0}) == 1
    assert recommended({1: 40.0, 2: 22.0, 4: 21.0}) == 2
    assert recommended({1: 40.0, 2: 22.0, 4: 12.0}) == 4
