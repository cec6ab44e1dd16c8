"""What `insession ledger` makes of its options; on a real broker: tests/kafka/test_ledger.py."""

import pytest
from click.testing import CliRunner

from agents.commands.ledger import command
from schemas.errors import UsageError


@pytest.mark.parametrize(
    "choice",
    [["--since", "1h", "--until", "2h"], ["--until", "8d"], ["--since", "2026-01-31", "--until", "2026-01-31"]],
)
def test_a_range_that_holds_nothing_is_wrong_usage(choice: list[str]) -> None:
    """Without --since it begins seven days ago; nothing counted must not look like nothing lost."""
    told = CliRunner().invoke(command, choice)
    assert isinstance(told.exception, UsageError)
    assert "--until is not after --since" in str(told.exception)


@pytest.mark.parametrize("choice", [["--since", "soon"], ["--partition", "-1"], ["--limit", "0"], ["--partition", "x"]])
def test_what_is_no_choice_is_wrong_usage(choice: list[str]) -> None:
    """Click tells which option it is."""
    told = CliRunner().invoke(command, choice)
    assert told.exit_code == 2
    assert choice[0] in told.output
