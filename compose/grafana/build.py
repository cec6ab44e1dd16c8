"""Writes the dashboards as Grafana provisions them: `make dashboards`, or `python -m compose.grafana.build`."""

from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Final

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model

from compose.grafana.kafka_state import KAFKA_STATE
from compose.grafana.model import MODEL
from compose.grafana.panels import DashboardPage, Panel
from compose.grafana.quality import QUALITY
from compose.grafana.service import SERVICE
from compose.prometheus.slos import RUNBOOK

DASHBOARDS: Final = (SERVICE, QUALITY, MODEL, KAFKA_STATE)
FOLDER: Final = Path(__file__).parent / "dashboards"
_DATASOURCE: Final = common_model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_TAG: Final = "insession"
_HEIGHTS: Final = {"stat": 4, "timeseries": 8}


def dashboard_json(page: DashboardPage) -> str:
    """Spell a dashboard in Grafana's JSON."""
    board = (
        builders.Dashboard(page.title)
        .uid(page.uid)
        .description(page.description)
        .tags([_TAG])
        .readonly()
        .refresh("30s")
        .time("now-1h", "now")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(builders.DashboardLink("insession").type(model.DashboardLinkType.DASHBOARDS).tags([_TAG]).keep_time(True))
        .variables(_variables())
    )
    for panel in page.panels:
        if panel.row is not None:
            board.with_row(builders.Row(panel.row))
        board.with_panel(_panel(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def write_dashboards(folder: Path = FOLDER) -> None:
    """Write every dashboard into `folder`."""
    for page in DASHBOARDS:
        (folder / f"{page.uid}.json").write_text(dashboard_json(page))


def _variables() -> list[Builder[model.VariableModel]]:
    def choose(name: str, query: str) -> builders.QueryVariable:
        refresh = model.VariableRefresh.ON_TIME_RANGE_CHANGED
        return builders.QueryVariable(name).datasource(_DATASOURCE).query(query).refresh(refresh)

    return [
        builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus"),
        choose("job", "label_values(insession_build_info, job)").label("Job"),
        choose("instance", 'label_values(insession_build_info{job="$job"}, instance)')
        .label("Worker")
        .multi(True)
        .include_all(True)
        .all_value(".*"),
    ]


def _panel(panel: Panel) -> stat.Panel | timeseries.Panel:
    made = _stat() if panel.kind == "stat" else _timeseries(panel)
    made.title(panel.title).description(f"{panel.description}\n\nRunbook: {RUNBOOK}#{panel.runbook}")
    made.datasource(_DATASOURCE).unit(panel.unit)
    made.span(panel.width).height(_HEIGHTS[panel.kind]).thresholds(_thresholds(panel)).min(0)
    if panel.maximum is not None:
        made.max(panel.maximum)
    for letter, query in zip(ascii_uppercase, panel.queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query.expr).legend_format(query.legend)
        made.with_target(target.datasource(_DATASOURCE))
    return made


def _stat() -> stat.Panel:
    last = common.ReduceDataOptions().calcs(["lastNotNull"])
    return stat.Panel().reduce_options(last).graph_mode(common_model.BigValueGraphMode.AREA)


def _timeseries(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel().fill_opacity(30 if panel.stacked else 8).line_width(1)
    made.tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI))
    made.legend(common.VizLegendOptions().placement(common_model.LegendPlacement.BOTTOM).show_legend(True))
    if panel.stacked:
        made.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL))
    if panel.warn_at is not None or panel.alarm_at is not None:
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(common_model.GraphThresholdsStyleMode.DASHED))
    return made


def _thresholds(panel: Panel) -> builders.ThresholdsConfig:
    steps: Sequence[tuple[float | None, str]]
    if panel.falling:
        steps = [(None, "red"), (panel.alarm_at, "orange"), (panel.warn_at, "green")]
    else:
        steps = [(None, "green"), (panel.warn_at, "orange"), (panel.alarm_at, "red")]
    given = [model.Threshold(value=value, color=color) for value, color in steps[:1]]
    given += [model.Threshold(value=value, color=color) for value, color in steps[1:] if value is not None]
    return builders.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(given)


if __name__ == "__main__":
    write_dashboards()
