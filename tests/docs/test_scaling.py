"""The tables of docs/scaling.md are what the command that stands there prints, from the rates beside it."""

import re
import shlex

from click.testing import CliRunner

from bench.pipeline import main
from tests.docs.documents import ROOT

DOCUMENT = ROOT / "docs" / "scaling.md"


def test_the_tables_are_those_of_the_command() -> None:
    """Each of them, to the digit: assumptions, rates, and what they come to."""
    text = DOCUMENT.read_text()
    told = re.search(r'make pipeline-bench ARGS="(--rates [^"]*)"', text)
    assert told is not None
    printed = CliRunner().invoke(main, shlex.split(told[1]), catch_exceptions=False).output
    tables = printed.strip().split("\n\n")
    assert len(tables) == 12  # a title and a table each
    assert [table for table in tables if table not in text] == []
