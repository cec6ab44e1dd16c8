from types import SimpleNamespace
from typing import Any

import pytest
from faust.exceptions import ConsumerNotStarted
from faust.types import TP
from prometheus_client import CollectorRegistry

from agents.health import Health
from streams.metrics import DeliveryMetrics
from streams.window import Windows


class StartingConsumer:
    """A consumer whose thread does not run yet."""

    def assignment(self) -> set[TP]:
        """Raise as Faust's consumer does."""
        raise ConsumerNotStarted("Consumer thread not yet started")


def consumer(*assigned: TP) -> Any:
    """Make a consumer with an assignment."""
    return SimpleNamespace(assignment=lambda: set(assigned))


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        ({"consumer": StartingConsumer()}, (False, "starting")),
        ({"consumer": consumer()}, (False, "no partition assigned")),
        ({"consumer": consumer(TP("clickstream", 0))}, (True, "answering")),
        ({"consumer": consumer(TP("clickstream", 0)), "rebalancing": True}, (False, "rebalancing")),
        ({"consumer": consumer(TP("clickstream", 0)), "in_recovery": True}, (False, "recovering state")),
    ],
)
def test_a_worker_is_ready_only_with_partitions_at_rest(app: dict[str, Any], expected: tuple[bool, str]) -> None:
    """From its first page on the worker says whether it answers clicks, and why not."""
    state = SimpleNamespace(**({"rebalancing": False, "in_recovery": False} | app))
    health = Health(state, DeliveryMetrics(CollectorRegistry()), Windows(lambda _topic: pytest.fail("no window")))  # type: ignore[arg-type]
    assert health.ready() == expected
