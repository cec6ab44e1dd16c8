"""`insession release`: verify, sign and publish releases."""

from pathlib import Path

import click

from schemas.release_signature import read_key
from schemas.servable import DEFAULT_MODEL_NAME

_RELEASE = click.Path(exists=True, file_okay=False, path_type=Path)
_KEY = click.Path(exists=True, dir_okay=False, path_type=Path)
_KEY_VARIABLE = "INSESSION_SERVING__RELEASE_KEY_FILE"


@click.group()
def command() -> None:
    """Verify, sign and publish releases: the folders MODELS/<serving.model_name>/<version>/."""


@command.command(epilog="Example: insession release verify models/session_gru/7 --key-file release.key")
@click.argument("release", type=_RELEASE)
@click.option("--key-file", type=_KEY, envvar=_KEY_VARIABLE, help="Ask for a signature with the key in this file.")
def verify(release: Path, key_file: Path | None) -> None:
    """Tell whether a worker would take RELEASE up: whole, readable, and signed where there is a key."""
    from session_model.release.copies import load_release

    manifest = load_release(release, None if key_file is None else read_key(key_file)).manifest
    signed = "" if key_file is None else " and signed"
    click.echo(f"version {manifest.version} is whole{signed}: {len(manifest.files)} files, made {manifest.created_at}")


@command.command(epilog="Example: insession release sign models/session_gru/7 --key-file release.key")
@click.argument("release", type=_RELEASE)
@click.option("--key-file", type=_KEY, envvar=_KEY_VARIABLE, required=True, help="File with the key.")
def sign(release: Path, key_file: Path) -> None:
    """Sign RELEASE, which is whole, in place; one of an earlier insession gets the sizes of its files, too."""
    from session_model.release.publishing import sign_release

    sign_release(release, read_key(key_file))
    click.echo(f"{release} is signed")


@command.command(epilog="Example: insession release publish /mnt/new/session_gru/7 --out models")
@click.argument("release", type=_RELEASE)
@click.option("--out", "models", type=click.Path(path_type=Path), required=True, help="Directory of the models.")
@click.option(
    "--model-name",
    default=DEFAULT_MODEL_NAME,
    envvar="INSESSION_SERVING__MODEL_NAME",
    show_default=True,
    help="Folder in OUT; serving.model_name of the workers.",
)
@click.option("--key-file", type=_KEY, envvar=_KEY_VARIABLE, help="Ask for a signature with the key in this file.")
def publish(release: Path, models: Path, model_name: str, key_file: Path | None) -> None:
    """Copy RELEASE to OUT/MODEL_NAME under its own number, all at once, and only if a worker would take it up.

    A version that is there already is not replaced.
    """
    from session_model.release.publishing import publish_release

    key = None if key_file is None else read_key(key_file)
    click.echo(f"published {publish_release(release, models / model_name, key)}")
