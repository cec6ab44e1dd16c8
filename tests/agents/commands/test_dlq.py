"""What `insession dlq` makes of its options; on a real broker: tests/kafka/test_dlq.py."""

import click
import pytest
from click.testing import CliRunner

from agents.commands.dlq import OffsetRange, command
from schemas.errors import UsageError


@pytest.mark.parametrize(
    ("text", "offsets"), [("3:120-140", (3, range(120, 141))), ("0:7", (0, range(7, 8))), ("1:4-4", (1, range(4, 5)))]
)
def test_a_range_includes_its_end(text: str, offsets: tuple[int, range]) -> None:
    """One offset is a range, too."""
    assert OffsetRange().convert(text, None, None) == offsets


@pytest.mark.parametrize("text", ["", "3", "3:", "3:-5", "-1:5", "3:140-120", "3:1_0", "3:1-2-3", "x:1"])
def test_what_is_no_range_is_wrong_usage(text: str) -> None:
    """A range that holds nothing is one of them: it would choose no letter in silence."""
    with pytest.raises(click.BadParameter, match="PARTITION:FIRST-LAST"):
        OffsetRange().convert(text, None, None)


def test_two_ranges_of_a_partition_are_refused() -> None:
    """Only the last would count."""
    told = CliRunner().invoke(command, ["list", "--offsets", "0:1-5", "--offsets", "0:9-12"])
    assert isinstance(told.exception, UsageError)
    assert "once for each range" in str(told.exception)
