from datetime import timedelta

import click
import pytest
from click.testing import CliRunner

from agents.durations import DurationType, duration_text, read_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [("90s", timedelta(seconds=90)), ("1h30m", timedelta(minutes=90)), ("1.5s", timedelta(milliseconds=1500))],
)
def test_amounts_with_units_add_up(text: str, duration: timedelta) -> None:
    """Each amount has a unit, and a fraction is allowed."""
    assert read_duration(text) == duration


@pytest.mark.parametrize("text", ["", "30", "m", "30 m", "-5s", "5x", "99999999999999d"])
def test_anything_else_is_none(text: str) -> None:
    """The caller says what it expected."""
    assert read_duration(text) is None


@pytest.mark.parametrize(
    "duration", [timedelta(0), timedelta(milliseconds=1), timedelta(seconds=90), timedelta(days=7)]
)
def test_what_is_written_is_read_again(duration: timedelta) -> None:
    """Writing and reading are each other's inverse."""
    assert read_duration(duration_text(duration)) == duration


@pytest.mark.parametrize(("given", "seconds"), [("40m", 2400.0), ("90", 90.0), ("0.5", 0.5)])
def test_an_option_takes_units_or_seconds(given: str, seconds: float) -> None:
    """A bare number is in seconds."""
    assert DurationType().convert(given, None, None) == timedelta(seconds=seconds)


@pytest.mark.parametrize("given", ["0", "0s", "soon", "-1"])
def test_an_option_refuses_what_is_no_time(given: str) -> None:
    """Wrong usage: exit code 2 and an example."""

    @click.command()
    @click.option("--for", "span", type=DurationType())
    def command(span: timedelta) -> None:
        click.echo(span)

    result = CliRunner().invoke(command, [f"--for={given}"])
    assert result.exit_code == 2
    assert "like 90s, 40m or 1h30m" in result.output
