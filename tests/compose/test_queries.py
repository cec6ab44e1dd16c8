"""Every expression of every panel and rule, asked of a Prometheus that watches a worker under load."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from agents.artifact_bus import open_bus
from agents.demo.source import ShopOptions, shop_source
from agents.shop.settings import ShopSettings
from compose.grafana.build import DASHBOARDS
from schemas.ids import ModelVersion
from schemas.servable import DEFAULT_MODEL_NAME
from session_model.release.rollout import Moves
from session_model.release.rollout_log import RolloutLog
from tests.compose.prometheus import Prometheus, require_tool
from tests.compose.release import write_untrained
from tests.compose.rules import Rule, rules
from tests.compose.stage import UNUSABLE, Plan, staged

pytestmark = pytest.mark.slow

SPEED = 20.0
VARIABLES = {"$job": "insession", "$instance": ".*", "$__rate_interval": "20s"}
INDEPENDENT_OF_SPEED = {
    "WorkerDown",
    "WorkerCrashLoops",
    "PartitionsUnassigned",
    "LeaseExpired",
    "StatesQuarantined",
    "PartitionsHealed",
    "AnswersReplayed",
    "ClicksDeletedUnread",
    "TopicChanged",
    "InputAwaitsSchema",
    "NoInput",
    "NothingForUs",
    "RebalanceStorm",
    "ReleaseRejected",
    "ReleaseTooOld",
    "CatalogIncomplete",
    "CatalogStale",
    "CatalogUnreadable",
    "RulesIncomplete",
    "RulesRefused",
    "ObserverAway",
    "ObserverLags",
    "UnavailableListed",
    "ListsUnchecked",
    "ObserverStateDamaged",
    "TrendingStale",
    "HitRateFell",
    "IntentMiscalibrated",
    "ChampionDataTooOld",
    "NoSuccessfulDay",
    "CandidateFailedChecks",
    "CandidateWaits",
    "SupplyUnseen",
}
PANEL_QUERIES = [
    pytest.param(query.expr, id=f"{page.uid}: {panel.title}: {query.legend}")
    for page in DASHBOARDS
    for panel in page.panels
    for query in panel.queries
]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Let a Prometheus watch a worker that answers the generated shop's clicks, with a release in the shadow."""
    program = require_tool("prometheus")
    folder = tmp_path_factory.mktemp("stage")
    source = shop_source(ShopOptions(settings=ShopSettings(n_items=200)), with_training=False)
    for version in (1, 2):
        write_untrained(folder / "models", [item.item_id for item in source.catalog], version)
    rollouts, now = RolloutLog(open_bus(str(folder / "models")), DEFAULT_MODEL_NAME), datetime.now(UTC)
    promoted = rollouts.append(Moves(None, now, "ana").promote(ModelVersion(1), ""))
    rollouts.append(Moves(promoted, now, "ana").trial(ModelVersion(2), "shadow", 1.0, ""))
    with staged(program, folder, Plan(models=folder / "models", source=source, speed=SPEED)) as stage:
        yield stage.prometheus


@pytest.mark.parametrize("expr", PANEL_QUERIES)
def test_every_panel_shows_something(prometheus: Prometheus, expr: str) -> None:
    """Each query soon gives at least one series with a number."""
    for variable, value in VARIABLES.items():
        expr = expr.replace(variable, value)
    prometheus.wait_for(expr)


def test_all_that_a_worker_and_an_observer_count_is_shown(prometheus: Prometheus) -> None:
    """Each of their own metrics stands on a dashboard."""
    prometheus.wait_for('insession_events_total{status="answered"} > 0')
    prometheus.wait_for('insession_observer_records_total{result="counted"} > 0')
    named = prometheus.query('group by (__name__) ({__name__=~"insession_.+"})')
    counted = {re.sub("_(total|created|bucket|sum|count)$", "", series.labels["__name__"]) for series in named}
    shown = " ".join(query.expr for page in DASHBOARDS for panel in page.panels for query in panel.queries)
    assert len(counted) > 50
    assert sorted(name for name in counted if name not in shown) == []


@pytest.mark.parametrize("rule", [pytest.param(rule, id=f"{rule.name}: {rule.expr[:40]}") for rule in rules()])
def test_every_rule_looks_at_series_that_exist(prometheus: Prometheus, rule: Rule) -> None:
    """With its comparisons as 0 or 1, each rule gives a number: what it waits for is counted before it happens."""
    prometheus.wait_for(rule.always)


def test_a_healthy_worker_alerts_nobody(prometheus: Prometheus) -> None:
    """None of the alerts that a slow machine cannot cause is on its way; that of a server without metrics is."""
    names = {series.labels["alertname"] for series in prometheus.query("ALERTS")}
    assert not names & INDEPENDENT_OF_SPEED
    assert "ModelServerDown" in names


def test_what_cannot_be_used_is_counted(prometheus: Prometheus) -> None:
    """The scraped numbers are the worker's: as many dead letters as unusable records were written."""
    (letters,) = prometheus.query("sum(insession_dead_letters_total)")
    assert letters.values[0][1] == len(UNUSABLE)
