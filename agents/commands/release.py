"""`insession release`: verify, sign, publish and fetch releases; `registered` has those of the registry."""

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agents.commands.registered import register
from agents.commands.release_check import check
from agents.commands.release_list import list_
from agents.commands.release_options import KEY, KEY_VARIABLE, RELEASE, model_name_option
from agents.commands.rollout import canary, promote, rollback, shadow, show, withdraw
from agents.commands.rollout_guard import guard
from agents.durations import DurationType
from agents.interruption import Interruption
from schemas.bus import FolderUrl, parse_bus_url
from schemas.errors import InsessionError
from schemas.release_signature import read_key
from session_model.release.fetching import DEFAULT_KEPT

if TYPE_CHECKING:
    from session_model.release.fetching import Fetched, ReleaseFetcher


@click.group()
def command() -> None:
    """Verify, sign, publish, fetch and register releases: the folders MODELS/<serving.model_name>/<version>/."""


for _further in (register, list_, check, promote, rollback, shadow, canary, withdraw, show, guard):
    command.add_command(_further)


@command.command(epilog="Example: insession release verify models/session_gru/7 --key-file release.key")
@click.argument("release", type=RELEASE)
@click.option("--key-file", type=KEY, envvar=KEY_VARIABLE, help="Ask for a signature with the key in this file.")
def verify(release: Path, key_file: Path | None) -> None:
    """Tell whether a worker would take RELEASE up: whole, readable, and signed where there is a key."""
    from session_model.release.copies import load_release

    manifest = load_release(release, None if key_file is None else read_key(key_file)).manifest
    signed = "" if key_file is None else " and signed"
    click.echo(f"version {manifest.version} is whole{signed}: {len(manifest.files)} files, made {manifest.created_at}")


@command.command(epilog="Example: insession release sign models/session_gru/7 --key-file release.key")
@click.argument("release", type=RELEASE)
@click.option("--key-file", type=KEY, envvar=KEY_VARIABLE, required=True, help="File with the key.")
def sign(release: Path, key_file: Path) -> None:
    """Sign RELEASE, which is whole, in place; one of an earlier insession gets the sizes of its files, too."""
    from session_model.release.publishing import sign_release

    sign_release(release, read_key(key_file))
    click.echo(f"{release} is signed")


@command.command(
    epilog="""\b
Examples:
  insession release publish /mnt/new/session_gru/7 --out models
  insession release publish models/session_gru/7 --out s3://shop-models/releases
"""
)
@click.argument("release", type=RELEASE)
@click.option("--out", "out", required=True, help="Directory of the models, or a Bus: file:PATH, s3://BUCKET/PREFIX.")
@model_name_option("Folder in OUT; serving.model_name of the workers.")
@click.option("--key-file", type=KEY, envvar=KEY_VARIABLE, help="Ask for a signature with the key in this file.")
def publish(release: Path, out: str, model_name: str, key_file: Path | None) -> None:
    """Copy RELEASE to OUT/MODEL_NAME under its own number, all at once, and only if a worker would take it up.

    A version that is there already is not replaced; to publish the same one again is no error. On S3 the manifest is
    written last: without it there is no release.
    """
    from session_model.release.on_bus import publish_on_bus
    from session_model.release.publishing import publish_release

    key = None if key_file is None else read_key(key_file)
    match parse_bus_url(out):
        case FolderUrl(models):
            click.echo(f"published {publish_release(release, models / model_name, key)}")
        case url:
            from agents.artifact_bus import open_bus

            click.echo(f"published {url}/{publish_on_bus(release, open_bus(out), model_name, key)}")


@command.command(
    epilog="""\b
Examples:
  insession release fetch s3://shop-models/releases models
  insession release fetch s3://shop-models/releases /models --follow --every 30s --key-file release.key
"""
)
@click.argument("source", metavar="FROM")
@click.argument("models", type=click.Path(file_okay=False, path_type=Path), metavar="TO")
@click.option("--follow", "is_following", is_flag=True, help="Go on looking, until SIGTERM or Ctrl-C.")
@click.option(
    "--every", type=DurationType(), metavar="DURATION", default="30s", show_default=True, help="Between two looks."
)
@click.option(
    "--keep",
    type=click.IntRange(2, 1000),
    default=DEFAULT_KEPT,
    show_default=True,
    help="Newest releases to have in TO.",
)
@model_name_option("Folder in FROM and TO; serving.model_name of the workers.")
@click.option("--key-file", type=KEY, envvar=KEY_VARIABLE, help="Ask for a signature with the key in this file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end; not with --follow.")
def fetch(*, source: str, models: Path, is_following: bool, every: timedelta, as_json: bool, **options: Any) -> None:
    """Mirror the newest releases of the Bus FROM to TO/MODEL_NAME, which the model server and the workers watch.

    Each is downloaded beside, verified as a worker does, and renamed into place. When the Bus is away, the disk is full
    or a release was changed, what is in TO goes on being served; the next look tries again.
    """
    from agents.artifact_bus import open_bus
    from agents.logs import configure_logs
    from session_model.release.fetching import ReleaseFetcher

    if is_following and as_json:
        raise click.UsageError("--json prints at the end, and --follow has none; read its log instead.")
    configure_logs("INFO" if is_following else "ERROR")  # once, the command tells what it did itself
    key = None if options["key_file"] is None else read_key(options["key_file"])
    model = options["model_name"]
    fetcher = ReleaseFetcher(open_bus(source), model, models / model, key=key, kept=options["keep"])
    with Interruption():
        try:
            if is_following:
                _follow(fetcher, every)
            _tell_fetched(fetcher.fetch(), models / model, as_json=as_json)
        except KeyboardInterrupt:
            click.echo("insession: ended; nothing is half-written", err=True)


def _follow(fetcher: "ReleaseFetcher", every: timedelta) -> None:
    """Look until interrupted; a look that failed is a log line, and the next one tries again."""
    import structlog

    log = structlog.get_logger(__name__)
    while True:
        try:
            fetcher.fetch()
        except InsessionError as error:
            log.warning("release_fetch_failed", reason=str(error), next_seconds=every.total_seconds())
        time.sleep(every.total_seconds())


def _tell_fetched(result: "Fetched", folder: Path, *, as_json: bool) -> None:
    if as_json:
        refused = {str(version): why for version, why in result.refused.items()}
        click.echo(json.dumps({"fetched": result.fetched, "removed": result.removed, "refused": refused}, indent=2))
    else:
        for version in result.fetched:
            click.echo(f"fetched {folder / str(version)}")
        for version in result.removed:
            click.echo(f"removed {folder / str(version)}, which is on the Bus")
        if not (result.fetched or result.removed or result.refused):
            click.echo(f"{folder} has the newest releases already")
    if result.refused:
        told = "; ".join(f"{version}: {why}" for version, why in result.refused.items())
        raise InsessionError(f"refused, and what was served stays: {told}")
