"""Fixtures of the chaos tests, and the table that they fill; `--chaos-table FILE` says where it is written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.table import ChaosRow, write_rows
from tests.kafka.deployment import deploy, say

__all__ = ["deploy", "say"]

_ROW = pytest.StashKey[ChaosRow]()
_ROWS = pytest.StashKey[list[ChaosRow]]()
MAX_REASON_LENGTH = 300


@pytest.fixture
def row(request: pytest.FixtureRequest) -> ChaosRow:
    """Give the row of the test's fault, to be filled; the test's end says whether it has passed."""
    return request.node.stash[_ROW]  # type: ignore[no-any-return]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make the row of every test that tries a fault: `@pytest.mark.fault(name, promise)`."""
    for item in items:
        marker = item.get_closest_marker("fault")
        if marker is not None:
            fault, promise = marker.args
            parameters = getattr(getattr(item, "callspec", None), "params", {})
            item.stash[_ROW] = ChaosRow(fault=fault.format(**parameters), promise=promise, test=item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    """Note how the test ended; a skip is a fault that could not be tried."""
    report: pytest.TestReport = yield
    row = item.stash.get(_ROW, None)
    if row is not None:
        if report.when == "call" and report.passed:
            row.passed = True
        elif not report.passed:
            row.passed = False
            told = "" if call.excinfo is None else f"{call.excinfo.typename}: {call.excinfo.value}"
            row.reason = (told or str(report.longrepr)).splitlines()[0][:MAX_REASON_LENGTH]
        if report.when == "setup":
            item.config.stash.setdefault(_ROWS, []).append(row)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the rows."""
    path = session.config.getoption("--chaos-table")
    rows = session.config.stash.get(_ROWS, [])
    if path and rows:
        write_rows(Path(path), rows)
