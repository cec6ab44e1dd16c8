import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import psutil
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from schemas.errors import InsessionError
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from tests.serving import rec_model

PARENT = """
import sys
from pathlib import Path
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
options = ServerOptions(models=Path(sys.argv[1]), model_name="rec", port=0)
with EmbeddedServer(options, log_path=Path(sys.argv[1]) / "server.log") as server:
    print(server.pid, server.address, flush=True)
    sys.stdin.read()
"""
INSESSION = "from agents.cli import main; main()"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out the fixture model once."""
    path = tmp_path_factory.mktemp("models")
    rec_model.lay_out(path)
    return path


@contextmanager
def python(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python with pipes on standard input and output."""
    with subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def predicted_version(address: str) -> int:
    """Ask the server for its default version."""
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(rec_model.recommend_request(), timeout=10)
    return int(response.model_spec.version.value)


@pytest.mark.slow
def test_the_child_serves_and_dies_with_its_parent(models: Path) -> None:
    """The server answers at its address, its log is in the file, and killing the parent ends it."""
    with python("-c", PARENT, str(models)) as parent:
        assert parent.stdout is not None
        pid, address = parent.stdout.readline().split()
        assert predicted_version(address.decode()) == 2
        child = psutil.Process(int(pid))
        parent.kill()
        child.wait(timeout=10)
    assert "version_available" in (models / "server.log").read_text()


@pytest.mark.slow
def test_ctrl_c_ends_the_command_cleanly(models: Path) -> None:
    """`insession serve` prints one line of JSON when ready; Ctrl-C ends it with 0, long before a call that hangs."""
    arguments = ["serve", "--models", str(models), "--model-name", "rec", "--port", "0", "--op-threads", "1"]
    with python("-c", INSESSION, *arguments) as server:
        assert server.stdout is not None
        ready = json.loads(server.stdout.readline())
        assert predicted_version(ready["address"]) == 2
        assert ready["versions"] == [1, 2]
        with grpc.insecure_channel(ready["address"]) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            hanging = stub.Predict.future(rec_model.slow_request(rounds=100_000), wait_for_ready=True)
            assert predicted_version(ready["address"]) == 2
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=5) == 0
            assert hanging.exception() is not None
        assert server.stdout.read() == b""


def test_a_stop_before_it_is_ready_is_immediate(tmp_path: Path) -> None:
    """A parent that goes while the server still starts takes it along: exit code 0."""
    with python("-m", "serving.embedded", "--models", str(tmp_path), "--stop-with-stdin") as server:
        assert server.stdin is not None
        server.stdin.close()
        assert server.wait(timeout=10) == 0


def test_a_server_that_ends_at_once_is_explained(tmp_path: Path) -> None:
    """When the child ends before it is ready, the error gives its exit code and the end of its log."""
    options = ServerOptions(models=tmp_path, port=-1)
    log_path = tmp_path / "server.log"
    with pytest.raises(InsessionError, match=r"ended with exit code 2; its log .*'--port': -1"):
        EmbeddedServer(options, log_path=log_path).__enter__()


def test_a_silent_server_is_stopped(tmp_path: Path) -> None:
    """A child that is not ready in time is stopped, and the error says how long it was waited for."""
    server = EmbeddedServer(
        ServerOptions(models=tmp_path, port=0), log_path=tmp_path / "log", ready_timeout=timedelta(seconds=0)
    )
    with pytest.raises(InsessionError, match="is not ready after 0 s"):
        server.__enter__()
    assert server.pid is None
