from typing import Any

import pytest

from agents.upkeep.repartition import grown_bounds
from streams.cluster.topics import TopicsError


class Behind:
    """A reader whose broker knows so many partitions."""

    def __init__(self, partitions: int) -> None:
        self.known = {partition: range(3) for partition in range(partitions)}

    def bounds(self, topic: str) -> dict[int, range]:
        """Return what the broker knows."""
        assert topic == "clicks"
        return self.known


def test_a_broker_that_has_not_heard_of_the_new_partitions_is_not_believed() -> None:
    """They would have no commit, and a group that begins at the end would pass over what lies on them."""
    behind: Any = Behind(2)
    with pytest.raises(TopicsError, match="knows 2 of the 4 partitions of clicks: wait a moment, and run this again"):
        grown_bounds(behind, "clicks", 4)
    whole: Any = Behind(4)
    assert grown_bounds(whole, "clicks", 4) == whole.known
