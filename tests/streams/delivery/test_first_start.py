from datetime import UTC, datetime, timedelta, timezone

import pytest

from streams.delivery.first_start import FirstStart, read_first_start


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("earliest", "earliest"),
        ("latest", "latest"),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00.5+02:00", datetime(2026, 1, 31, 12, 0, 0, 500_000, timezone(timedelta(hours=2)))),
    ],
)
def test_a_start_is_a_word_or_a_time(text: str, start: FirstStart) -> None:
    """The words of Kafka's clients, or a moment that needs no further knowledge."""
    assert read_first_start(text) == start


@pytest.mark.parametrize("text", ["", "newest", "2026-01-31", "2026-01-31T12:00:00", "1969-12-31T00:00:00Z", "7d"])
def test_what_is_no_start_is_named(text: str) -> None:
    """A time without its offset would mean another moment on another machine."""
    with pytest.raises(ValueError, match="earliest, latest"):
        read_first_start(text)
