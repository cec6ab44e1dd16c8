"""The model server: polls the model's folder and, once a version is loaded, answers on a port."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread

import grpc
import structlog
import tensorflow as tf
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from schemas.errors import InsessionError
from serving.embedded.options import ServerOptions
from serving.embedded.release_check import ReleaseCheck
from serving.embedded.servable import Servable, load_servable
from serving.embedded.services import ModelService
from serving.embedded.versions import ModelVersions, VersionState
from serving.embedded.warmup import warm_up

WORKER_THREADS = 8
HEALTH_NAMES = ("", "ModelService", "PredictionService")
"""As TensorFlow Serving registers them with --enable_grpc_healthcheck_service: model_servers/server.cc."""
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # else a second server would share the port in silence
)

log = structlog.get_logger(__name__)


class ModelServer:
    """Serves one model. Use `start`, then `stop`; a server does not start twice."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._check = ReleaseCheck(options)
        self._versions = ModelVersions(options.base_path, options.policy, self._load)
        self._health = health.HealthServicer()
        self._stopping = Event()
        self._poller = Thread(target=self._poll_until_stopped, name="version-poller", daemon=True)
        self._server: grpc.Server | None = None
        self.address = ""

    def start(self) -> None:
        """Wait for a first version, without limit while there is none on disk; then open the port.

        Raises InsessionError when every version on disk is broken, or when the port is taken.
        """
        self._wait_for_first_version()
        if self._stopping.is_set():
            return
        self._server = self._build_server()
        self._server.start()
        self._poller.start()

    def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, give those in flight `grace_seconds` to end, then cut them off."""
        self._stopping.set()
        if self._server is not None:
            self._health.enter_graceful_shutdown()
            self._server.stop(grace_seconds).wait()
            self._poller.join(
                grace_seconds
            )  # a load under way in native code cannot be cut off; the thread is a daemon

    def available_versions(self) -> list[int]:
        """List the versions that answer calls, lowest first."""
        return self._versions.available()

    def _load(self, path: Path) -> Servable:
        self._check.check(path)
        return load_and_warm_up(path)

    def _wait_for_first_version(self) -> None:
        log.info("waiting_for_first_version", model=self._versions.name, path=str(self._options.base_path))
        self._versions.poll()
        while not self._versions.available() and not self._stopping.is_set():
            failed = [status for status in self._versions.statuses() if status.state is VersionState.END]
            if failed:
                status = failed[0]
                raise InsessionError(
                    f"no version in {self._options.base_path} can be served; the latest, {status.version}, failed "
                    f"with: {status.error}. Publish a good version or remove the broken one"
                )
            self._stopping.wait(self._options.poll_seconds)
            self._versions.poll()

    def _build_server(self) -> grpc.Server:
        executor = ThreadPoolExecutor(WORKER_THREADS, thread_name_prefix="model-server")
        limit = self._options.max_concurrent_calls
        server = grpc.server(executor, options=CHANNEL_OPTIONS, maximum_concurrent_rpcs=limit)
        server.add_generic_rpc_handlers(ModelService(self._versions).handlers())
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        for name in HEALTH_NAMES:
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self.address = _bind(server, self._options)
        return server

    def _poll_until_stopped(self) -> None:
        while not self._stopping.wait(self._options.poll_seconds):
            self._versions.poll()


def load_and_warm_up(path: Path) -> Servable:
    """Load a version and run its warm-up requests. Raises StatusError: a version that fails its own must not serve."""
    servable = load_servable(path)
    warm_up(servable, path)
    return servable


def limit_op_threads(threads: int) -> None:
    """Set the threads within and across ops, once, before the first op of the process runs."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def _bind(server: grpc.Server, options: ServerOptions) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    try:
        port = server.add_insecure_port(f"{host}:{options.port}")
    except RuntimeError:
        raise InsessionError(
            f"cannot listen on {host}:{options.port}: is another server running there? Choose another --port, or 0"
        ) from None
    return f"{host}:{port}"
