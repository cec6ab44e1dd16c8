import time

import click
import pytest

from agents.commands.moment import Moment


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604_800), ("1h30m", 5400)]
)
def test_a_span_counts_back_from_now(text: str, seconds: int) -> None:
    """The moment lies that far in the past."""
    before = time.time()
    moment = Moment().convert(text, None, None)
    assert before - seconds - 1 <= moment / 1000 <= time.time() - seconds


@pytest.mark.parametrize("text", ["2023-11-14T22:13:20Z", "2023-11-14 22:13:20", "2023-11-14T23:13:20+01:00"])
def test_a_time_is_utc_where_it_does_not_say(text: str) -> None:
    """RFC 3339, with or without its offset."""
    assert Moment().convert(text, None, None) == 1_700_000_000_000


@pytest.mark.parametrize("text", ["yesterday", "2w", "", "-5s"])
def test_what_is_no_moment_is_wrong_usage(text: str) -> None:
    """The message shows what would be one."""
    with pytest.raises(click.BadParameter, match="30m, 2h or 7d"):
        Moment().convert(text, None, None)


@pytest.mark.parametrize("text", ["1969-12-31T23:59:59.999Z", "0001-01-01", "999999d"])
def test_before_1970_there_is_nothing(text: str) -> None:
    """Kafka takes -1 for the end of a topic, so `since ever` would be `since now`."""
    assert Moment().convert(text, None, None) == 0
