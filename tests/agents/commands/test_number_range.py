import click
import pytest
from click.testing import CliRunner

from agents.commands.number_range import NumberRange


@click.command()
@click.option("--rate", type=NumberRange(min=0, min_open=True))
def command(rate: float) -> None:
    """Print the number."""
    click.echo(rate)


@pytest.mark.parametrize(
    ("text", "is_taken"), [("2.5", True), ("0", False), ("nan", False), ("inf", False), ("x", False)]
)
def test_only_a_number_within_the_bounds_is_taken(text: str, *, is_taken: bool) -> None:
    """What is none is wrong usage, and the message says what was given."""
    result = CliRunner().invoke(command, ["--rate", text])
    assert result.exit_code == (0 if is_taken else 2)
    assert (text in result.output) or is_taken
