from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.delivery.committed_reads import CommittedReads

CLICKS = TP("clicks", 0)


def reads(states: dict[TP, Any] | None) -> Any:
    """Stand for the thread over aiokafka's consumer, whose partitions have these states; None = in a rebalance."""
    assignment = None if states is None else SimpleNamespace(state_value=states.get)
    consumer = SimpleNamespace(_subscription=SimpleNamespace(subscription=SimpleNamespace(assignment=assignment)))
    return SimpleNamespace(_ensure_consumer=lambda: consumer)


@pytest.mark.parametrize(("lso", "end"), [(7, 7), (-1, 9), (None, 9)])
def test_what_may_be_read_ends_at_the_last_stable_offset(lso: int | None, end: int) -> None:
    """Brokers that know of none have all readable."""
    state = SimpleNamespace(lso=lso, highwater=9)
    assert CommittedReads.highwater(reads({CLICKS: state}), CLICKS) == end


@pytest.mark.parametrize("states", [None, {}], ids=["in a rebalance", "gone"])
def test_a_partition_that_goes_away_has_no_end(states: dict[TP, Any] | None) -> None:
    """Health and ticks ask from another thread, at any moment of a rebalance; that must not end the worker."""
    assert CommittedReads.highwater(reads(states), CLICKS) is None
