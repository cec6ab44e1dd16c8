"""The page of the checks has every check and every limit, with its default."""

import re

import msgspec

from schemas.check_report import CheckThresholds
from session_model.checks.run import CHECKS
from tests.docs.documents import ROOT

PAGE = (ROOT / "docs" / "checks.md").read_text()


def test_every_limit_has_a_row_with_its_default() -> None:
    """And a reason; none is of yesterday."""
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([\d., ]+) \| .+ \|$", PAGE, re.MULTILINE)
    told = {
        name.strip("`"): float(value)
        for names, values in rows
        for name, value in zip(names.split(", "), values.split(", "), strict=True)
    }
    assert told == {name: float(value) for name, value in msgspec.structs.asdict(CheckThresholds()).items()}


def test_every_check_has_a_row() -> None:
    """In the order in which they run."""
    table = PAGE.partition("## The checks")[2].partition("##")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(CHECKS)
