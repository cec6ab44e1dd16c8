"""The chaos table of docs/operations.md: rows have tests, the faults of `make chaos` have rows, README points there."""

import subprocess
import sys

import pytest

from tests.chaos.table import ChaosRow, documented, read_rows
from tests.docs.documents import ROOT, anchors, links

OPERATIONS = ROOT / "docs" / "operations.md"
SECTION = "bad-days"


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ChaosRow]:
    """Ask the tests which faults there are."""
    found = tmp_path_factory.mktemp("chaos") / "faults.json"
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/chaos", "--chaos-table", found]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return {row.fault: row for row in read_rows(found)}


@pytest.fixture(scope="module")
def table() -> dict[str, str]:
    """Read the document's lines by fault."""
    return dict(documented(OPERATIONS.read_text()))


def test_every_promise_of_the_table_has_its_test(table: dict[str, str], faults: dict[str, ChaosRow]) -> None:
    """With the words in which the test itself makes it."""
    assert sorted(table.keys() - faults.keys()) == []
    assert [fault for fault, line in table.items() if faults[fault].promise not in line] == []
    assert [fault for fault, line in table.items() if faults[fault].test.partition("::")[0] not in line] == []


def test_every_fault_is_in_the_table_and_was_stood(table: dict[str, str], faults: dict[str, ChaosRow]) -> None:
    """Those of `make chaos-all` and `make soak`, too."""
    assert sorted(faults.keys() - table.keys()) == []
    assert [fault for fault, line in table.items() if "| not on " in line] == []


def test_every_row_has_the_day_of_its_figures(table: dict[str, str]) -> None:
    """Rows of several runs stand side by side."""
    assert [line for line in table.values() if "20" not in line.rsplit("|", 2)[1]] == []


def test_the_readme_points_to_the_table() -> None:
    """What is promised there is held here."""
    assert SECTION in anchors(OPERATIONS)
    assert f"docs/operations.md#{SECTION}" in [link.target for link in links(ROOT / "README.md")]
