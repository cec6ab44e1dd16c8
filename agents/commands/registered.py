"""`insession release register`: a release in MLflow's registry."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agents.commands.plain_text import rfc3339
from agents.commands.release_options import KEY, KEY_VARIABLE, RELEASE, model_name_option, registry_option
from schemas.release_signature import read_key

if TYPE_CHECKING:
    from session_model.registry.mlflow_registry import RegisteredRelease


@click.command(epilog="Example: insession release register models/session_gru/7 --registry sqlite:///mlflow.db")
@click.argument("release", type=RELEASE)
@registry_option("MLflow registry", is_required=True)
@model_name_option("Name of the registered model; serving.model_name of the workers.")
@click.option("--candidate", "is_candidate", is_flag=True, help="Let the alias `candidate` name it.")
@click.option("--key-file", type=KEY, envvar=KEY_VARIABLE, help="Ask for a signature with the key in this file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def register(
    release: Path, registry: str, model_name: str, key_file: Path | None, *, is_candidate: bool, as_json: bool
) -> None:
    """Log the training of RELEASE as a run in MLflow, and make RELEASE a version of the registered model.

    Parameters, curve, metrics and pictures come from the run's folder in MODELS/runs. Once is enough: again, it says
    what is there.
    """
    from session_model.registry.mlflow_registry import MlflowRegistry

    models = MlflowRegistry(registry, model_name)
    registered = models.register(release, None if key_file is None else read_key(key_file))
    if is_candidate:
        models.name_candidate(registered.number)
    if as_json:
        click.echo(json.dumps(_facts(registered)))
    else:
        click.echo(f"release {registered.version} is version {registered.number} of {model_name}")


def _facts(one: "RegisteredRelease") -> dict[str, object]:
    return {
        "version": one.version,
        "alias": ", ".join(one.aliases),
        "registered_at": rfc3339(one.registered_at_ms),
        "data": one.training_data_sha256[:12],
        "number": one.number,
        "run_id": one.run_id,
        "source": one.source,
    }
