from streams.delivery.stream_clock import StreamClock

START_MS = 1_700_000_000_000
DAY_MS = 86_400_000


def test_time_is_unknown_before_the_first_record() -> None:
    """Nothing ends then."""
    clock = StreamClock()
    assert (clock.is_set, clock.now_ms(START_MS, 0.0)) == (False, None)


def test_a_wall_clock_that_is_ahead_is_bounded_by_records_and_elapsed_time() -> None:
    """Forty days ahead, time goes on from the newest record as the monotonic clock does."""
    clock = StreamClock()
    clock.observe(START_MS, 10.0)
    assert clock.now_ms(START_MS + 40 * DAY_MS, 10.0) == START_MS
    assert clock.now_ms(START_MS + 40 * DAY_MS, 13.5) == START_MS + 3_500


def test_a_wall_clock_that_is_behind_is_followed() -> None:
    """Records from the future, of a producer that is wrong, end nothing early."""
    clock = StreamClock()
    clock.observe(START_MS + DAY_MS, 0.0)
    assert clock.now_ms(START_MS, 1.0) == START_MS


def test_an_older_record_does_not_turn_time_back() -> None:
    """A partition that lags says nothing of now; a newer record moves time on."""
    clock = StreamClock()
    clock.observe(START_MS, 0.0)
    clock.observe(START_MS - DAY_MS, 1.0)
    clock.observe(START_MS + 500, 1.0)
    assert clock.reached_ms(1.0) == START_MS + 1_000
    clock.observe(START_MS + 9_000, 1.0)
    assert clock.reached_ms(2.0) == START_MS + 10_000
