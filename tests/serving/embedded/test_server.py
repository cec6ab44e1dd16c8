import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from schemas.errors import InsessionError
from serving.embedded.options import ServerOptions
from serving.embedded.server import ModelServer
from tests.serving import rec_model

Code = grpc.StatusCode
TIMEOUT_SECONDS = 30.0


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out the fixture model once."""
    path = tmp_path_factory.mktemp("models")
    rec_model.lay_out(path)
    return path


@contextmanager
def serving(models: Path, **options: Any) -> Iterator[tuple[ModelServer, grpc.Channel]]:
    """Serve `rec` on a free port, and open a channel to it."""
    server = ModelServer(ServerOptions(models=models, model_name="rec", port=0, **options))
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        yield server, channel
    server.stop(grace_seconds=0)


def slow_call(server: ModelServer, channel: grpc.Channel) -> Any:
    """Start a call of some hundred milliseconds and return once the server runs it."""
    call = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict.future(
        rec_model.slow_request(rounds=400), timeout=TIMEOUT_SECONDS
    )
    waiting = threading.Event()
    while not server._versions._entries[2].calls and not call.done():
        waiting.wait(0.001)
    return call


def code_of(call: Callable[[], Any]) -> grpc.StatusCode:
    """Expect `call` to fail; return its code."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code()


def test_it_listens_on_loopback(models: Path) -> None:
    """By default nobody else on the network reaches the server."""
    with serving(models) as (server, _):
        assert server.address.startswith("127.0.0.1:")
        assert server.available_versions() == [1, 2]


def test_health_says_serving(models: Path) -> None:
    """The health service answers for the server and both services."""
    with serving(models) as (_, channel):
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "ModelService", "PredictionService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT_SECONDS)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_what_is_not_served_says_so(models: Path) -> None:
    """Reload by config and the other inference calls are UNIMPLEMENTED."""
    with serving(models) as (_, channel):
        reload = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest
        classify = prediction_service_pb2_grpc.PredictionServiceStub(channel).Classify
        assert code_of(lambda: reload(model_management_pb2.ReloadConfigRequest())) is Code.UNIMPLEMENTED
        assert code_of(lambda: classify(classification_pb2.ClassificationRequest())) is Code.UNIMPLEMENTED


def test_calls_beyond_the_limit_are_refused_at_once(models: Path) -> None:
    """A full server answers RESOURCE_EXHAUSTED instead of queueing, and the call in flight is not harmed."""
    with serving(models, max_concurrent_calls=1) as (server, channel):
        call = slow_call(server, channel)
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        assert code_of(lambda: predict(rec_model.recommend_request())) is Code.RESOURCE_EXHAUSTED
        assert call.result().model_spec.version.value == 2


def test_calls_in_flight_are_drained(models: Path) -> None:
    """A call that runs when the server stops is answered within the grace."""
    with serving(models) as (server, channel):
        call = slow_call(server, channel)
        server.stop(grace_seconds=TIMEOUT_SECONDS)
        assert call.result().model_spec.version.value == 2


def test_a_taken_port_is_named(models: Path) -> None:
    """Two servers never share a port in silence."""
    with serving(models) as (server, _):
        port = int(server.address.rpartition(":")[2])
        second = ModelServer(ServerOptions(models=models, model_name="rec", port=port))
        with pytest.raises(InsessionError, match=f"cannot listen on 127.0.0.1:{port}"):
            second.start()


def test_only_broken_versions_end_the_start(tmp_path: Path) -> None:
    """A server that can never serve says what is wrong instead of waiting."""
    (tmp_path / "rec" / "1").mkdir(parents=True)
    server = ModelServer(ServerOptions(models=tmp_path, model_name="rec", port=0))
    with pytest.raises(InsessionError, match=r"no version in .*rec can be served; the latest, 1, failed with"):
        server.start()


def test_a_server_without_a_version_can_be_stopped(tmp_path: Path) -> None:
    """Waiting for a first version ends when the server is stopped."""
    server = ModelServer(ServerOptions(models=tmp_path, model_name="rec", port=0))
    starting = threading.Thread(target=server.start)
    starting.start()
    server.stop(grace_seconds=0)
    starting.join(TIMEOUT_SECONDS)
    assert not starting.is_alive()
    assert server.address == ""
