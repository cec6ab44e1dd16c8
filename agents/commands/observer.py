"""`insession observer`: count what is viewed where, and publish what is trending."""

import signal
import threading
from types import FrameType

import click

from agents.commands.connection import Connection, connection_options


@click.command(
    epilog="""\b
Example:
  insession observer --brokers kafka:9092 --web-port 6069

Run two: one counts, the other waits for its turn.
"""
)
@click.option("--web-port", type=click.IntRange(1, 65535), help="/metrics, /healthz, /readyz.  [default: 6069]")
@connection_options
@click.option("--log-level", default="INFO", show_default=True, type=click.Choice(["DEBUG", "INFO", "WARNING"]))
def command(connection: Connection, *, web_port: int | None, log_level: str) -> None:
    """Count views by place from `recommendations`, write what is trending, until SIGTERM or Ctrl-C.

    It waits for topics and brokers that are not there. What it has counted lies in the topic `observer-state`.
    """
    stopping = _end_on_signals()
    from agents.logs import configure_logs
    from agents.observer.process import run_observer
    from agents.settings import report_settings

    configure_logs(log_level)
    settings = connection.settings({"trending": {"web_port": web_port}})
    report_settings(settings)
    run_observer(settings, stopping)


def _end_on_signals() -> threading.Event:
    """Have the first signal end the work in order, and the next one the process."""
    stopping = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        stopping.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopping
