import pytest

from session_model.distributed import relay as relay_module
from session_model.distributed.messages import Finished, Resumed, Stepped
from session_model.distributed.relay import Relay, add_effort
from session_model.networks.trainer import Effort
from session_model.runs.progress import NoProgress


class Notes(NoProgress):
    """Remembers what is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def noted(self, text: str) -> None:
        """Remember it."""
        self.texts.append(text)


def test_time_is_lost_until_the_training_is_as_far_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second loss on the way there is part of the first one's time."""
    now = 100.0
    monkeypatch.setattr(relay_module.time, "monotonic", lambda: now)
    notes = Notes()
    relay = Relay(notes)
    relay(Stepped(40, 5))
    now = 102.0  # when the loss is found
    relay.lost("worker 1 on here was killed", limit=3)
    now = 110.0
    relay(Resumed([], 30))
    relay(Stepped(31, 5))
    relay.lost("worker 0 on here was killed", limit=3)
    now = 120.0
    relay(Resumed([], 38))
    relay(Stepped(39, 5))
    assert relay.seconds_lost == 0
    relay(Stepped(40, 5))
    now = 200.0
    relay.ended()
    assert (relay.seconds_lost, relay.restarts) == (20.0, 2)
    assert notes.texts == [
        "worker 1 on here was killed, after step 40; all workers start again (1 of 3)",
        "goes on from step 30",
        "worker 0 on here was killed, after step 31; all workers start again (2 of 3)",
        "goes on from step 38",
    ]


def test_a_step_costs_the_time_of_the_slowest_and_the_cpu_of_all() -> None:
    """Restarts and lost seconds add up over the trainings of a command."""
    relay = Relay(NoProgress(), restarts=1, seconds_lost=5.0)
    finished = [Finished(10, 1.0, 0.5, 20, 4000.0), Finished(10, 2.0, 0.5, 20, 4000.0)]
    assert add_effort(Effort(2, 1, 1.0), relay, finished) == Effort(2, 2, 6.0, 200.0, 0.2, 0.1)
    assert add_effort(Effort(2), relay, [Finished(0, 0, 0, 0, 0)]) == Effort(2, 1, 5.0)
