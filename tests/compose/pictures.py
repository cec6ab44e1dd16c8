"""The dashboards as pictures for the documents, drawn from what a Prometheus saw of a worker under load.

`make pictures`: trains a model of the generated shop where there is none yet, then runs for some minutes.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from agents.demo.source import ShopOptions, shop_source
from agents.shop.settings import ShopSettings
from bench.release import trained_models
from compose.grafana.build import DASHBOARDS
from compose.grafana.panels import Query
from compose.grafana.pictures import Line, draw, legend_of
from tests.compose.prometheus import Prometheus
from tests.compose.stage import Plan, staged

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "pictures"
CACHE = ROOT / ".bench"
SPEED = 6.0
VARIABLES = {"$job": "insession", "$instance": ".*", "$__rate_interval": "15s"}
SETTINGS = {"INSESSION_SESSIONS__INACTIVITY_GAP": "120"}
"""Sessions end by ticks, at the wall clock's pace: so that some do while this runs."""
WARM_UP_SECONDS = 20.0
POINTS = 120


def lines(prometheus: Prometheus, query: Query, begin: float, end: float) -> Sequence[Line]:
    """Ask for a query's series between two times (Unix seconds)."""
    expr = query.expr
    for variable, value in VARIABLES.items():
        expr = expr.replace(variable, value)
    series = prometheus.query_range(expr, begin, end, (end - begin) / POINTS)
    return [
        Line(
            legend_of(query.legend, {**one.labels, "instance": "worker-1"}),
            [at for at, _ in one.values],
            [value for _, value in one.values],
        )
        for one in series
    ]


@click.command()
@click.option("--seconds", default=400.0, show_default=True, help="How long to watch.")
def main(seconds: float) -> None:
    """Run worker, model server and Prometheus under load, and draw every dashboard."""
    program = shutil.which("prometheus")
    if program is None:
        sys.exit("there is no prometheus on PATH; Debian's package prometheus has it")
    models = trained_models(CACHE)
    source = shop_source(ShopOptions(settings=ShopSettings()), with_training=False)
    with (
        tempfile.TemporaryDirectory() as folder,
        staged(program, Path(folder), Plan(models=models, source=source, speed=SPEED, settings=SETTINGS)) as stage,
    ):
        time.sleep(WARM_UP_SECONDS + seconds)
        begin, end = stage.began + WARM_UP_SECONDS, time.time()
        for page in DASHBOARDS:
            path = FOLDER / f"dashboard-{page.uid.removeprefix('insession-')}.png"
            draw(page, lambda query: lines(stage.prometheus, query, begin, end), path)
            click.echo(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
