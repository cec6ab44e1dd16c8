import pytest
from confluent_kafka import KafkaError

from agents.observer.process import STUCK_AFTER_SECONDS, Beat, is_refusal


def test_an_observer_that_waits_its_turn_is_ready_and_one_that_waits_for_brokers_is_not() -> None:
    """Whoever probes is told what it does."""
    beat = Beat(lambda: 0.0)
    assert beat.ready() == (False, "starting")
    beat.note(is_ready=True, what="another observer counts")
    assert beat.ready() == (True, "another observer counts")
    beat.note(is_ready=False, what="waits")
    assert (beat.ready(), beat.alive()[0]) == ((False, "waits"), True)


def test_an_observer_that_does_not_move_is_not_alive() -> None:
    """Nor ready; a write that takes its time is allowed."""
    now = [0.0]
    beat = Beat(lambda: now[0])
    beat.note(is_ready=True, what="counts")
    now[0] = STUCK_AFTER_SECONDS
    assert (beat.ready()[0], beat.alive()[0]) == (True, True)
    now[0] += 1
    assert (beat.ready()[0], beat.alive()[0]) == (False, False)


@pytest.mark.parametrize(
    ("code", "is_one"),
    [
        (KafkaError.GROUP_AUTHORIZATION_FAILED, True),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, True),
        (KafkaError._AUTHENTICATION, True),
        (KafkaError._FATAL, True),
        (KafkaError._ALL_BROKERS_DOWN, False),
        (KafkaError.REBALANCE_IN_PROGRESS, False),
    ],
)
def test_an_observer_that_is_let_into_no_group_does_not_wait_for_another_one(code: int, *, is_one: bool) -> None:
    """Nobody may be counting; what passes by itself is waited for."""
    assert is_refusal(KafkaError(code, fatal=code == KafkaError._FATAL)) is is_one
