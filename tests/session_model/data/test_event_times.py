from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.validation import EARLIEST_TIME_MS
from session_model.data.event_times import LATEST_TIME_MS, EventClock, unit_of

MOMENT_MS = 1_400_000_000_123


def clock() -> EventClock:
    """Make one of a format that leaves the unit open."""
    return EventClock(Path("a"), None)


@given(st.integers(EARLIEST_TIME_MS, LATEST_TIME_MS - 1))
def test_every_moment_between_1995_and_2100_is_told_by_the_size_of_its_number(time_ms: int) -> None:
    """In milliseconds, microseconds and nanoseconds to the millisecond, in seconds to the second."""
    assert clock().ms(time_ms) == time_ms
    assert clock().ms(time_ms * 1_000) == time_ms
    assert clock().ms(time_ms * 1_000_000) == time_ms
    assert clock().ms(time_ms // 1000) == time_ms // 1000 * 1000
    assert clock().ms(str(time_ms * 1_000_000)) == time_ms


@pytest.mark.parametrize(
    "value",
    [
        "1400000000.123",
        "1.400000000123e9",
        "1400000000123",
        "2014-05-13T16:53:20.123Z",
        "2014-05-13T18:53:20.123+02:00",
        "2014-05-13T18:53:20.123+02",
        "2014-05-13 16:53:20.123",
        "2014-05-13 16:53:20.123 UTC",
        " 1400000000123 ",
        datetime(2014, 5, 13, 16, 53, 20, 123_000, UTC),
        datetime(2014, 5, 13, 16, 53, 20, 123_000),  # noqa: DTZ001 - Parquet has such
    ],
)
def test_times_are_numbers_or_iso_8601(value: str | datetime) -> None:
    """What names no zone is UTC."""
    assert clock().ms(value) == MOMENT_MS


@pytest.mark.parametrize("value", ["20140513", "2014-05-13"])
def test_a_date_is_its_midnight(value: str) -> None:
    """Eight digits are a date: as a number they are none of the times."""
    assert clock().ms(value) == 1_399_939_200_000


@pytest.mark.parametrize(
    "value", ["0", "16203", "788918399", "4102444800", "9e18", "nan", "inf", "-1400000000", 10**30]
)
def test_what_is_no_time_of_a_shop_is_refused(value: str | int) -> None:
    """Days since 1970, relative clocks and the far future are no times, whatever the unit."""
    with pytest.raises(ValueError, match="is no time between 1995 and 2100"):
        clock().ms(value)


@pytest.mark.parametrize("value", ["yesterday", "", "13/05/2014", "20149999"])
def test_other_texts_are_refused(value: str) -> None:
    """The message says what is read."""
    with pytest.raises(ValueError, match="no time in ISO 8601 or since 1970"):
        clock().ms(value)


def test_another_unit_than_documented_is_told_once_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Never in silence, and not for every line."""
    seconds = EventClock(Path("log"), "s")
    assert {seconds.ms(1_400_000_000), seconds.ms(1_400_000_000_000), seconds.ms("1400000000000")} == {
        1_400_000_000_000
    }
    told = capsys.readouterr().out
    assert told.count("times_in_another_unit") == 1
    assert "found=ms" in told


def test_no_number_has_two_units() -> None:
    """The bounds of the units do not touch."""
    assert [unit_of(10**n) for n in range(8, 20)] == [
        None,
        "s",
        None,
        None,
        "ms",
        None,
        None,
        "us",
        None,
        None,
        "ns",
        None,
    ]
