"""`insession release list`: the releases beside each other, with their part, figures and checks."""

import json
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from agents.commands.plain_text import rfc3339
from agents.commands.release_options import model_name_option, registry_option
from agents.commands.rollout import MODELS
from schemas.bus import BusUrl
from schemas.errors import InsessionError
from schemas.events import unix_ms
from schemas.ids import ModelVersion
from schemas.rollout import Rollout

if TYPE_CHECKING:
    from schemas.check_report import CheckReport
    from schemas.release import ReleaseManifest


@click.command(
    "list",
    epilog="""\b
Examples:
  insession release list --models s3://shop-models/releases
  insession release list --models s3://shop-models/releases --registry http://mlflow:5000 --json
""",
)
@MODELS
@model_name_option("Folder of the releases there; serving.model_name of the workers.")
@registry_option("MLflow registry whose numbers are shown, too", is_required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(models: BusUrl, model_name: str, registry: str | None, *, as_json: bool) -> None:
    """List the releases, the newest first: which part each has, what it is worth, what its checks say."""
    from agents.artifact_bus import open_bus
    from agents.reports.check_files import CheckReports
    from session_model.release.on_bus import read_manifest, released_versions
    from session_model.release.rollout_log import RolloutLog

    bus = open_bus(str(models))
    rollout, reports = RolloutLog(bus, model_name).in_force(), CheckReports(bus, model_name)
    numbers = {} if registry is None else _numbers(registry, model_name)
    rows = [
        _facts(read_manifest(bus, model_name, version), reports.of(version), rollout) | _registered(version, numbers)
        for version in released_versions(bus, model_name)
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    table = Table("release", "state", "made", "recall@20", "checks", *(["in the registry"] if registry else []))
    for row in rows:
        table.add_row(*_cells(row))
    Console().print(table)


def _facts(manifest: "ReleaseManifest", report: "CheckReport | None", rollout: Rollout | None) -> dict[str, Any]:
    results = {} if report is None else report.checks
    return {
        "version": manifest.version,
        "state": _state(manifest.version, rollout),
        "alias": _alias(manifest.version, rollout),
        "created_at": rfc3339(unix_ms(manifest.created_at)),
        "training_data_sha256": manifest.training_data_sha256,
        "metrics": manifest.metrics,
        "checks": {name: {"passed": result.passed, "reason": result.reason} for name, result in results.items()},
    }


def _state(version: ModelVersion, rollout: Rollout | None) -> str:
    """Say in a word what becomes of a release; `waiting`: nothing was decided of it."""
    if rollout is None:
        return "waiting"
    if rollout.candidate is not None and rollout.candidate.version == version:
        return rollout.candidate.stage
    return _alias(version, rollout) or ("rejected" if version in rollout.rejected else "waiting")


def _alias(version: ModelVersion, rollout: Rollout | None) -> str | None:
    if rollout is None:
        return None
    candidate = None if rollout.candidate is None else rollout.candidate.version
    named = {candidate: "candidate", rollout.previous: "previous", rollout.champion: "champion"}
    return named.get(version)


def _cells(row: dict[str, Any]) -> list[str]:
    recall = row["metrics"].get("validation_blend_recall_at_20")
    failed = [name for name, result in row["checks"].items() if result["passed"] is False]
    return [
        str(row["version"]),
        row["state"],
        row["created_at"],
        "" if recall is None else f"{recall:.3f}",
        ("fails " + ", ".join(failed)) if failed else "passed" if row["checks"] else "none",
        *([str(row["number"] or "")] if "number" in row else []),
    ]


def _numbers(registry: str, model_name: str) -> dict[ModelVersion, int]:
    """Ask for the registry's own numbers; where it does not answer, the list goes without."""
    from session_model.registry.mlflow_registry import MlflowRegistry

    try:
        return MlflowRegistry(registry, model_name).numbers()
    except InsessionError as error:
        click.echo(f"insession: {error}", err=True)
        return {}


def _registered(version: ModelVersion, numbers: dict[ModelVersion, int]) -> dict[str, int | None]:
    return {"number": numbers.get(version)} if numbers else {}
