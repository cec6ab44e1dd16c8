"""`insession worker`: run one worker on a real broker."""

import faulthandler
import signal
from pathlib import Path
from typing import Any, NoReturn

import click
import mode.loop

from agents.commands.connection import Connection, connection_options


@click.command(epilog="Example: insession worker --brokers 127.0.0.1:9092 --serving 127.0.0.1:8500 --models models")
@click.option("--serving", help="host:port of TF Serving's gRPC API.  [default: 127.0.0.1:8500]")
@click.option(
    "--models",
    type=click.Path(path_type=Path),
    help="Models: <serving.model_name>/<version>/.  [default: models]",
)
@click.option("--partitions", type=click.IntRange(min=1), help="Partitions of the topics.  [default: 8]")
@click.option("--replication", type=click.IntRange(min=1), help="Replicas of the topics; 1 on a single node.")
@click.option("--datadir", type=click.Path(path_type=Path), help="Local state; one a worker, never shared.")
@click.option("--web-port", type=click.IntRange(1, 65535), help="/metrics, /healthz, /readyz.  [default: 6066]")
@connection_options
@click.option("--log-level", default="INFO", show_default=True, type=click.Choice(["DEBUG", "INFO", "WARNING"]))
def command(connection: Connection, log_level: str, **options: Any) -> None:
    """Consume clicks, keep sessions, answer, until SIGTERM or Ctrl-C.

    Settings are read from --config, then from the environment (INSESSION_KAFKA__BROKERS, ...), then from the options.
    """
    _end_on_signals()
    mode.loop.use("uvloop")  # before anything makes a loop
    from agents.logs import configure_logs  # after the loop is chosen
    from agents.settings import report_settings
    from agents.worker.process import WorkerProcess, raise_open_files_limit
    from agents.worker.root import build_worker

    configure_logs(log_level)
    faulthandler.enable()  # a crash in native code tells where
    raise_open_files_limit()
    settings = connection.settings(_by_section(**options))
    report_settings(settings)
    WorkerProcess(build_worker(settings), log_level).run()


def _end_on_signals() -> None:
    """Handle signals before the loop does, which would kill the process, or not reach it where it is process 1."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup has it ignored; a shell SIGINT in the background
        signal.signal(signal.SIGHUP, _end)


def _end(*_: object) -> NoReturn:
    raise SystemExit(0)  # nothing was taken in


def _by_section(
    *,
    serving: str | None,
    models: Path | None,
    partitions: int | None,
    replication: int | None,
    datadir: Path | None,
    web_port: int | None,
) -> dict[str, dict[str, Any]]:
    return {
        "kafka": {"datadir": datadir, "web_port": web_port},
        "topics": {"partitions": partitions, "replication": replication},
        "serving": {"address": serving, "models_directory": models},
    }
