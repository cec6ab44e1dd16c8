"""`insession worker`: run one worker on a real broker."""

from pathlib import Path
from typing import Any

import click
import mode.loop


@click.command(epilog="Example: insession worker --brokers 127.0.0.1:9092 --serving 127.0.0.1:8500 --models models")
@click.option("--brokers", help="host:port of the brokers, comma separated.  [default: 127.0.0.1:9092]")
@click.option("--serving", help="host:port of TF Serving's gRPC API.  [default: 127.0.0.1:8500]")
@click.option(
    "--models", type=click.Path(path_type=Path), help="Directory with session_gru/<version>/.  [default: models]"
)
@click.option("--prefix", help="Prefix of topics, group and changelogs.")
@click.option("--partitions", type=click.IntRange(min=1), help="Partitions of the topics.  [default: 8]")
@click.option("--replication", type=click.IntRange(min=1), help="Replicas of the topics; 1 on a single node.")
@click.option("--datadir", type=click.Path(path_type=Path), help="Local state; one a worker, never shared.")
@click.option("--web-port", type=click.IntRange(1, 65535), help="/metrics, /healthz, /readyz.  [default: 6066]")
@click.option("--config", type=click.Path(path_type=Path), help="TOML settings file; options win over it.")
@click.option("--log-level", default="INFO", show_default=True, type=click.Choice(["DEBUG", "INFO", "WARNING"]))
def command(config: Path | None, log_level: str, **options: Any) -> None:
    """Consume clicks, keep sessions, answer, until SIGTERM or Ctrl-C.

    Settings are read from --config, then from the environment (INSESSION_KAFKA__BROKERS, ...), then from the options.
    """
    mode.loop.use("uvloop")  # before anything makes a loop
    import faust  # noqa: PLC0415 - after the loop is chosen

    from agents.logs import configure_logs  # noqa: PLC0415
    from agents.settings import load_settings, report_settings  # noqa: PLC0415
    from agents.worker import build_worker  # noqa: PLC0415

    configure_logs(log_level)
    settings = load_settings(_overrides(options), file=config)
    report_settings(settings)
    app = build_worker(settings)
    faust.Worker(app, loglevel=log_level.lower(), override_logging=False, quiet=True).execute_from_commandline()


def _overrides(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Sort the given options into their settings sections."""
    overrides: dict[str, dict[str, Any]] = {"kafka": {}, "topics": {}, "serving": {}}
    for name, (section, key) in _SETTINGS.items():
        if (value := options.get(name)) is not None:
            overrides[section][key] = str(value) if isinstance(value, Path) else value
    replication = overrides["topics"].get("replication")
    if replication is not None:
        overrides["topics"]["min_insync_replicas"] = max(1, replication - 1)
    return overrides


_SETTINGS = {
    "brokers": ("kafka", "brokers"),
    "serving": ("serving", "address"),
    "models": ("serving", "models_directory"),
    "prefix": ("topics", "prefix"),
    "partitions": ("topics", "partitions"),
    "replication": ("topics", "replication"),
    "datadir": ("kafka", "datadir"),
    "web_port": ("kafka", "web_port"),
}
