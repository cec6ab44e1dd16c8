"""Fixtures of the chaos tests, and the table that they fill; `--chaos-table FILE` says where it is written."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.free_ports import free_port
from schemas.ids import ItemId
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from tests.chaos.table import ChaosRow, write_rows
from tests.compose.release import write_untrained
from tests.kafka.deployment import deploy, say
from tests.kafka.shop import ITEMS

__all__ = ["deploy", "say"]

_ROW = pytest.StashKey[ChaosRow]()
_PROPERTY = "chaos row"
_PLUGIN = "chaos rows"
MAX_REASON_LENGTH = 300


@pytest.fixture
def row(request: pytest.FixtureRequest) -> ChaosRow:
    """Return the row of the test's fault, to be filled; the test's end says whether it has passed."""
    return request.node.stash[_ROW]  # type: ignore[no-any-return]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a models folder with one release."""
    write_untrained(tmp_path / "models", [ItemId(item) for item in ITEMS])
    return tmp_path / "models"


@pytest.fixture
def server(models: Path, tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Serve them."""
    options = ServerOptions(models=models, port=free_port())
    with EmbeddedServer(options, log_path=tmp_path / "server.log") as server:
        yield server


@pytest.fixture
def served(models: Path, server: EmbeddedServer) -> dict[str, str]:
    """Return the settings of a worker that asks that release."""
    return {"INSESSION_SERVING__ADDRESS": server.address, "INSESSION_SERVING__MODELS_DIRECTORY": str(models)}


def pytest_configure(config: pytest.Config) -> None:
    """Collect the rows where the table is written: not in a process that only runs some of the tests for another."""
    path = config.getoption("--chaos-table")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Rows(Path(path)), _PLUGIN)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Make the row of every test that tries a fault: `@pytest.mark.fault(name, promise)`."""
    for item in items:
        marker = item.get_closest_marker("fault")
        if marker is not None:
            fault, promise = marker.args
            parameters = getattr(getattr(item, "callspec", None), "params", {})
            item.stash[_ROW] = ChaosRow(fault=fault.format(**parameters), promise=promise, test=item.nodeid)
    table = config.pluginmanager.get_plugin(_PLUGIN)
    if table is not None:  # before any is deselected
        table.known = [item.stash[_ROW] for item in items if _ROW in item.stash]


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
        report.user_properties.append((_PROPERTY, msgspec.to_builtins(row)))
    return report


class _Rows:
    """Takes the rows out of the reports, of this process and of those that it shares the tests with."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[str, ChaosRow] = {}
        self.known: Sequence[ChaosRow] = ()
        """Of every fault that there is, the row before it is tried."""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Where nothing is run, write which faults there are."""
        if session.config.option.collectonly:
            self._rows = {item.nodeid: item.stash[_ROW] for item in session.items if _ROW in item.stash}
            self.known = ()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the last word on a test, and write it down: a run that is broken off has told what it tried."""
        for name, given in report.user_properties:
            if name == _PROPERTY:
                self._rows[report.nodeid] = msgspec.convert(given, ChaosRow)
        if report.when == "teardown":
            self._write()

    def pytest_sessionfinish(self) -> None:
        """Write the rows of what was only collected."""
        self._write()

    def _write(self) -> None:
        if self._rows:
            write_rows(self._path, self._rows.values(), known=self.known)
