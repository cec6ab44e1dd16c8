"""The command line of the model server. TensorFlow is imported only once the arguments are known to be right."""

import json
import os
import signal
import sys
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import Any, NoReturn

import click
import structlog

from schemas.errors import InsessionError, UsageError
from schemas.servable import DEFAULT_MODEL_NAME
from serving.embedded.options import LOOPBACK, ServerOptions
from serving.embedded.policies import AllVersions, LatestVersions, SpecificVersions, VersionPolicy

GRACE_SECONDS = 1.0
MODEL_EXTRA = {"tensorflow", "tensorflow_serving", "grpc_health"}


@click.command("serve", epilog="Example: insession serve --models models --port 8500")
@click.option(
    "--models", type=click.Path(path_type=Path), required=True, help="Folder above the model's: MODELS/NAME/<version>/."
)
@click.option("--port", default=8500, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free one.")
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen on; there is no authentication.")
@click.option("--model-name", default=DEFAULT_MODEL_NAME, show_default=True, help="Model to serve.")
@click.option(
    "--num-versions", default=2, show_default=True, type=click.IntRange(min=1), help="Serve that many latest versions."
)
@click.option("--all-versions", is_flag=True, help="Serve every version instead.")
@click.option("--version", "versions", multiple=True, type=click.IntRange(min=0), help="Serve just this; repeatable.")
@click.option(
    "--poll-seconds",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.01),
    help="How often to look for versions.",
)
@click.option("--op-threads", type=click.IntRange(min=1), help="Threads of TensorFlow's ops; 1 makes sums repeatable.")
@click.option(
    "--max-concurrent-calls",
    default=256,
    show_default=True,
    type=click.IntRange(min=1),
    help="Calls beyond are refused.",
)
@click.option(
    "--release-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="INSESSION_SERVING__RELEASE_KEY_FILE",
    help="Serve only versions that are signed with the key in this file.",
)
@click.option("--stop-with-stdin", is_flag=True, help="Stop when standard input closes, so as to die with a parent.")
def command(
    num_versions: int, versions: tuple[int, ...], *, all_versions: bool, stop_with_stdin: bool, **settings: Any
) -> None:
    """Serve a model over TensorFlow Serving's gRPC API, from one process and without its binary.

    The port opens once a version is loaded. Then one line of JSON on standard output names the address; all else goes
    to standard error. SIGTERM and Ctrl-C drain the calls in flight and exit with 0.
    """
    policy = _policy(num_versions, versions, all_versions=all_versions)
    options = ServerOptions(policy=policy, **settings)
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(sys.stderr))
    stopping = Stopping()
    if stop_with_stdin:
        Thread(target=_stop_at_end_of_stdin, name="stdin-watch", daemon=True).start()
    serve(options, stopping)


class Stopping:
    """Waits for SIGTERM or SIGINT, and ends the process without waiting for native code that Python cannot stop.

    Until `drain` is called there is no call in flight, and a signal ends the process at once.
    """

    def __init__(self) -> None:
        self._event = Event()
        self._draining = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def drain(self) -> None:
        """From now on a signal ends `wait`."""
        self._draining = True

    def wait(self) -> None:
        """Return after a signal."""
        self._event.wait()

    def end(self) -> NoReturn:
        """Exit with 0; an interpreter's own exit would wait for calls that were cut off, and for a load under way."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._event.set()
        if not self._draining:
            self.end()


def serve(options: ServerOptions, stopping: Stopping) -> NoReturn:
    """Serve until stopped, then end the process.

    Raises InsessionError when TensorFlow is missing or the server cannot start.
    """
    try:
        from serving.embedded.server import ModelServer, limit_op_threads  # noqa: PLC0415 - imports TensorFlow
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in MODEL_EXTRA:
            raise
        raise InsessionError(
            "serving a model here needs TensorFlow, which is not installed: pip install 'insession[model]'"
        ) from None
    if options.op_threads is not None:
        limit_op_threads(options.op_threads)
    server = ModelServer(options)
    server.start()
    stopping.drain()
    versions = server.available_versions()
    click.echo(f"serving {options.model_name} {versions} at {server.address}; stop with Ctrl-C", err=True)
    click.echo(json.dumps({"address": server.address, "model": options.model_name, "versions": versions}))
    stopping.wait()
    server.stop(GRACE_SECONDS)
    stopping.end()


def _policy(num_versions: int, versions: tuple[int, ...], *, all_versions: bool) -> VersionPolicy:
    if all_versions and versions:
        raise UsageError("--all-versions and --version exclude each other: leave one away")
    if all_versions:
        return AllVersions()
    return SpecificVersions(frozenset(versions)) if versions else LatestVersions(num_versions)


def _stop_at_end_of_stdin() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
