from agents.observer.process import STUCK_AFTER_SECONDS, Beat


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
