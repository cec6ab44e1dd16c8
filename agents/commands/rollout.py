"""`insession release promote`, `rollback`, `shadow`, `canary`, `withdraw`, `show`: which releases serve."""

import getpass
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from agents.commands.models_option import ModelsUrlOrPath
from agents.commands.plain_text import rfc3339
from agents.commands.release_options import model_name_option, registry_option
from schemas.bus import ArtifactBus, BusUrl
from schemas.errors import InsessionError, UsageError
from schemas.events import unix_ms
from schemas.ids import ModelVersion
from schemas.rollout import Rollout
from schemas.servable import MAX_VERSION

if TYPE_CHECKING:
    from session_model.release.rollout import Moves

_Command = TypeVar("_Command", bound=Callable[..., Any])
_VERSION: Final = click.IntRange(1, MAX_VERSION)
_MAX_PERCENT: Final = 100.0


class _ShareType(click.ParamType):
    """A share of the visitors, as `5%` or `0.05`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it; refuse what is not above 0 and at most 1."""
        if isinstance(value, float):
            return value
        text = str(value)
        try:
            share = float(text.removesuffix("%")) / (_MAX_PERCENT if text.endswith("%") else 1)
        except ValueError:
            self.fail(f"{text!r} is no share, like 5% or 0.05", param, ctx)
        if not 0 < share <= 1:
            self.fail(f"{text!r} is not above 0 and at most 100%", param, ctx)
        return share


MODELS: Final = click.option(
    "--models",
    type=ModelsUrlOrPath(),
    default="models",
    show_default=True,
    help="Where the releases lie: a directory of models, or a Bus s3://BUCKET/PREFIX.",
)
_MODEL_NAME: Final = model_name_option("Folder of the releases there; serving.model_name of the workers.")


_UNCHECKED: Final = click.option(
    "--unchecked", "is_unchecked", is_flag=True, help="Whatever its checks say; give a --reason for the audit."
)


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in a container
        return "unknown"


def _rollout_options(function: _Command) -> _Command:
    """Take what every change needs: where the releases are, why, and whom to tell."""
    for option in (
        MODELS,
        _MODEL_NAME,
        registry_option("MLflow registry whose aliases follow", is_required=False),
        click.option("--reason", default="", help="Why, for the audit."),
        click.option("--by", default=_account, help="Who asks for it, for the audit.  [default: your account]"),
        click.option("--json", "as_json", is_flag=True, help="Print the record as JSON."),
    ):
        function = option(function)
    return function


@click.command(epilog="Example: insession release promote 8 --models s3://shop/releases --reason 'checks passed'")
@click.argument("version", type=_VERSION)
@_UNCHECKED
@_rollout_options
def promote(version: int, **options: Any) -> None:
    """Let release VERSION serve everybody, from the next look of fetchers and workers on; no restart is needed.

    Its report of `insession release check` must be there, without a failure, and against the champion. Until a first
    one is promoted workers use the newest release. From then on a new one waits until it is promoted.
    """
    _change(lambda moves: moves.promote(ModelVersion(version), options["reason"]), options, needs=version)


@click.command(epilog="Example: insession release rollback --models s3://shop-models/releases --reason 'carts fell'")
@_rollout_options
def rollback(**options: Any) -> None:
    """Go back to the champion before; the present one is rejected."""
    _change(lambda moves: moves.rollback(options["reason"]), options)


@click.command(epilog="Example: insession release shadow 9 --models s3://shop-models/releases")
@click.argument("version", type=_VERSION)
@click.option("--share", type=_ShareType(), default=1.0, show_default="100%", help="Of the visitors.")
@_rollout_options
def shadow(version: int, share: float, **options: Any) -> None:
    """Ask release VERSION, too, for each click: its answers go to `shadow-recommendations` and to metrics only."""
    _change(
        lambda moves: moves.trial(ModelVersion(version), "shadow", share, options["reason"]), options, needs=version
    )


@click.command(epilog="Example: insession release canary 9 --share 5% --models s3://shop-models/releases")
@click.argument("version", type=_VERSION)
@click.option("--share", type=_ShareType(), default=0.05, show_default="5%", help="Of the visitors; always the same.")
@_UNCHECKED
@_rollout_options
def canary(version: int, share: float, **options: Any) -> None:
    """Let release VERSION answer a share of the visitors; a larger share later keeps those who have it.

    It must have passed its checks, as for `promote`.
    """
    _change(
        lambda moves: moves.trial(ModelVersion(version), "canary", share, options["reason"]), options, needs=version
    )


@click.command(epilog="Example: insession release withdraw --models s3://shop-models/releases")
@_rollout_options
def withdraw(**options: Any) -> None:
    """End the trial, shadow or canary; its release is rejected."""
    _change(lambda moves: moves.withdraw(options["reason"]), options)


@click.command(epilog="Example: insession release show --models s3://shop-models/releases --audit")
@MODELS
@_MODEL_NAME
@click.option("--audit", "is_audit", is_flag=True, help="Show every change, the oldest first.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
def show(models: BusUrl, model_name: str, *, is_audit: bool, as_json: bool) -> None:
    """Show which releases serve, since when and why; with --audit, who served when."""
    from agents.artifact_bus import open_bus
    from session_model.release.rollout_log import RolloutLog

    log = RolloutLog(open_bus(str(models)), model_name)
    in_force = log.in_force()
    records = list(log.records()) if is_audit else [in_force] if in_force is not None else []
    if as_json:
        for record in records:
            click.echo(msgspec.json.encode(record))
    elif not records:
        click.echo(f"nothing of {model_name} was promoted yet: workers use the newest release")
    else:
        table = Table("since", "change", "champion", "previous", "on trial", "rejected", "by", "reason")
        for record in records:
            table.add_row(*_cells(record))
        Console().print(table)


def _cells(record: Rollout) -> list[str]:
    trial = record.candidate
    return [
        rfc3339(unix_ms(record.changed_at)),
        record.change,
        str(record.champion),
        "" if record.previous is None else str(record.previous),
        "" if trial is None else f"{trial.version}: {trial.stage} of {trial.share:.3g}",
        " ".join(map(str, record.rejected)),
        record.by,
        record.reason,
    ]


def _change(move: "Callable[[Moves], Rollout]", options: Mapping[str, Any], *, needs: int | None = None) -> None:
    """Write what `move` makes of the rollout in force; needs: the release that must be there for it."""
    from agents.artifact_bus import open_bus
    from session_model.release.rollout import Moves
    from session_model.release.rollout_log import RolloutLog

    models, model_name = options["models"], options["model_name"]
    bus = open_bus(str(models))
    log = RolloutLog(bus, model_name)
    in_force = log.in_force()
    if needs is not None:
        _check_is_there(bus, models, model_name, needs)
    record = move(Moves(in_force, datetime.now(UTC), options["by"]))
    if needs is not None and not options.get("is_unchecked", True):
        _check_is_admitted(bus, model_name, ModelVersion(needs), in_force)
    record = log.append(record)
    if options["as_json"]:
        click.echo(msgspec.json.encode(record))
    else:
        click.echo(f"revision {record.revision}: {_described(record)}")
    if options["registry"] is not None:
        _tell_registry(options["registry"], model_name, record)


def _described(record: Rollout) -> str:
    parts = [f"champion {record.champion}"]
    if record.previous is not None:
        parts.append(f"previous {record.previous}")
    if (trial := record.candidate) is not None:
        parts.append(f"{trial.stage} {trial.version} for {trial.share:.3g} of the visitors")
    return ", ".join(parts)


def _check_is_there(bus: ArtifactBus, models: BusUrl, model_name: str, version: int) -> None:
    from session_model.release.on_bus import released_versions

    there = released_versions(bus, model_name)
    if version not in there:
        newest = ", ".join(map(str, there[:5])) or "none"
        raise UsageError(f"{models} has no release {version} of {model_name}; the newest there: {newest}")


def _check_is_admitted(bus: ArtifactBus, model_name: str, version: ModelVersion, in_force: Rollout | None) -> None:
    from agents.reports.check_files import CheckReports
    from session_model.checks.admission import objection

    report = CheckReports(bus, model_name).of(version)
    why = objection(report, version, None if in_force is None else in_force.champion)
    if why is not None:
        raise InsessionError(f"{why}; or go on in spite of it by --unchecked --reason WHY")


def _tell_registry(registry: str, model_name: str, record: Rollout) -> None:
    """Let the aliases follow; the change stands where the registry does not answer."""
    from session_model.registry.mlflow_registry import MlflowRegistry

    try:
        MlflowRegistry(registry, model_name).follow(record)
    except InsessionError as error:
        click.echo(f"insession: the change stands, but the aliases do not follow: {error}", err=True)
