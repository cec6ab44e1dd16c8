import itertools
import json
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from agents.observer.metrics import ObserverMetrics
from compose.grafana.build import DASHBOARDS, FOLDER, dashboard_json
from compose.grafana.panels import DashboardPage, Panel

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
UNITS = {"s", "bytes", "percentunit", "reqps", "short", "none"}
PANELS = [pytest.param(panel, id=f"{page.uid}: {panel.title}") for page in DASHBOARDS for panel in page.panels]


@pytest.mark.parametrize("page", DASHBOARDS, ids=lambda page: page.uid)
def test_the_committed_dashboard_is_what_the_code_makes(page: DashboardPage) -> None:
    """`make dashboards` leaves the JSON as it is."""
    assert (FOLDER / f"{page.uid}.json").read_text() == dashboard_json(page)


def test_no_dashboard_is_left_over() -> None:
    """Grafana is given no file that the code does not make."""
    assert {path.name for path in FOLDER.iterdir()} == {f"{page.uid}.json" for page in DASHBOARDS}


@pytest.mark.parametrize("page", DASHBOARDS, ids=lambda page: page.uid)
def test_a_dashboard_asks_which_prometheus_and_which_workers(page: DashboardPage) -> None:
    """Its variables choose the data source, the job and the workers; nothing in it names one; rows are filled."""
    board = json.loads(dashboard_json(page))
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "job", "instance"]
    assert {panel["datasource"]["uid"] for panel in board["panels"] if panel["type"] != "row"} == {"${datasource}"}
    assert board["schemaVersion"] >= 41
    rows: dict[int, int] = {}
    for panel in board["panels"]:
        rows[panel["gridPos"]["y"]] = rows.get(panel["gridPos"]["y"], 0) + panel["gridPos"]["w"]
    assert all(width == 24 for width in list(rows.values())[:-1])


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows(panel: Panel) -> None:
    """It has a description, a unit, legends that tell its series apart, and a section in the operations document."""
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", OPERATIONS.read_text(), flags=re.MULTILINE)
    }
    assert panel.description.endswith(".")
    assert panel.unit in UNITS
    assert panel.runbook in anchors
    legends = [query.legend for query in panel.queries]
    assert all(legends)
    assert len(set(legends)) == len(legends)


def test_all_that_an_observer_counts_is_shown() -> None:
    """Each of its own metrics stands on a dashboard."""
    registry = CollectorRegistry()
    ObserverMetrics(registry)
    shown = " ".join(query.expr for page in DASHBOARDS for panel in page.panels for query in panel.queries)
    assert [family.name for family in registry.collect() if family.name not in shown] == []


def test_a_row_begins_with_the_panel_that_names_it() -> None:
    """Its title stands above that panel, and the panels stay open."""
    told = [(panel.row, panel.title) for page in DASHBOARDS for panel in page.panels if panel.row is not None]
    boards = [json.loads(dashboard_json(page))["panels"] for page in DASHBOARDS]
    shown = [
        (above["title"], below["title"])
        for panels in boards
        for above, below in itertools.pairwise(panels)
        if above["type"] == "row" and above["gridPos"]["y"] < below["gridPos"]["y"]
    ]
    assert told
    assert shown == told


@pytest.mark.parametrize("page", DASHBOARDS, ids=lambda page: page.uid)
def test_titles_are_unique(page: DashboardPage) -> None:
    """Two panels of a dashboard never have one title."""
    titles = [panel.title for panel in page.panels]
    assert len(set(titles)) == len(titles)
