"""Ctrl-C and SIGTERM."""

import signal

import pytest

from agents.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_the_first_event_a_signal_ends_the_demo_once(number: signal.Signals) -> None:
    """The second one does not interrupt the end."""
    with Interruption() as interruption:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(number)
        assert interruption.came


def test_while_events_are_fed_a_signal_is_noted() -> None:
    """Nothing is raised inside the block, nor after it."""
    with Interruption() as interruption:
        with interruption.deferred():
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert interruption.came


def test_the_handlers_of_before_are_back_afterwards() -> None:
    """The demo borrows the signals."""
    before = signal.getsignal(signal.SIGTERM)
    with Interruption():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) is before
