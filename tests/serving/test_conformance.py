r"""One contract for every model server: the embedded one by default, any other by `--serving-address HOST:PORT`.

    python tests/serving/rec_model.py MODELS
    docker run -p 8500:8500 -v MODELS:/models -v $PWD/tests/serving/conformance.config:/conformance.config \
        tensorflow/serving:2.20.0 --model_config_file=/conformance.config --max_num_load_retries=0
    pytest tests/serving/test_conformance.py --serving-address 127.0.0.1:8500 --serving-models MODELS

The last tests publish versions of `rec_latest` into MODELS, so lay it out afresh for each run. Left out, since the
embedded server has neither: assigned labels, reload by config, server-side batching.
"""

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.embedded.options import ServerOptions
from serving.embedded.policies import AllVersions, LatestVersions
from serving.embedded.server import ModelServer
from tests.serving import rec_model
from tests.serving.rec_model import ITEM_COUNT, LENGTH, STATE_SIZE, recommend_request, slow_request

Code = grpc.StatusCode
State = get_model_status_pb2.ModelVersionStatus
POLL_SECONDS = 0.05
TIMEOUT_SECONDS = 30.0


class Client:
    """The official stubs on one channel."""

    def __init__(self, address: str) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(address, options)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Call Predict."""
        return self.prediction.Predict(request, timeout=TIMEOUT_SECONDS)

    def refused(self, request: predict_pb2.PredictRequest, code: grpc.StatusCode) -> str:
        """Expect Predict to end with `code`; return its text."""
        return failure(lambda: self.predict(request), code)

    def status(self, name: str, version: int | None = None) -> list[Any]:
        """Ask for the status of one version, or of all."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        if version is not None:
            request.model_spec.version.value = version
        return list(self.model.GetModelStatus(request, timeout=TIMEOUT_SECONDS).model_version_status)

    def state(self, name: str, version: int) -> int | None:
        """Ask for a version's state; None while the server has not seen it."""
        return next((status.state for status in self.status(name) if status.version == version), None)

    def wait_for(self, name: str, version: int, state: int) -> Any:
        """Ask again and again, without hurry, until the version is in the state."""
        waiting = threading.Event()
        for _ in range(int(TIMEOUT_SECONDS / POLL_SECONDS)):
            if self.state(name, version) == state:
                return self.status(name, version)[0]
            waiting.wait(POLL_SECONDS)
        raise AssertionError(f"version {version} of {name} is {self.state(name, version)}, not {state}")


def with_client(address: str, ask: Callable[[Client], Any]) -> Any:
    """Ask over a channel of its own: one that was refused before waits a second until it tries again."""
    client = Client(address)
    try:
        return ask(client)
    finally:
        client.channel.close()


@dataclass(frozen=True)
class Served:
    """A server's two models: clients and, where the tests may publish, the folder of versions."""

    rec: Client
    rec_latest: Client
    latest_path: Path


@pytest.fixture(scope="session")
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Start the embedded server with the fixture models, or find the server of the command line."""
    address, models = (request.config.getoption(name) for name in ("--serving-address", "--serving-models"))
    servers: list[ModelServer] = []
    addresses = [address, address]
    if address is None:
        models = tmp_path_factory.mktemp("models")
        rec_model.lay_out(models)
        for name, policy in (("rec", AllVersions()), ("rec_latest", LatestVersions(1))):
            options = ServerOptions(models=models, model_name=name, port=0, policy=policy, poll_seconds=POLL_SECONDS)
            servers.append(ModelServer(options))
            servers[-1].start()
        addresses = [server.address for server in servers]
    clients = [Client(address) for address in addresses]
    yield Served(clients[0], clients[1], Path(models or "models-not-given") / "rec_latest")
    for client in clients:
        client.channel.close()
    for server in servers:
        server.stop(grace_seconds=0)


@pytest.fixture(scope="session")
def rec(served: Served) -> Client:
    """Take the client for `rec`, whose versions 1 and 2 stay as they are."""
    return served.rec


@pytest.fixture
def publish(served: Served) -> Callable[[int], Path]:
    """Return a function that makes an unpublished copy of version 1 under a temporary name."""
    if not served.latest_path.is_dir():
        pytest.skip("needs --serving-models, the folder from which the server under test loads")

    def copy(version: int) -> Path:
        temporary = served.latest_path / f".tmp-{version}"
        shutil.copytree(served.latest_path / "1", temporary)
        return temporary

    return copy


def failure(call: Callable[[], Any], code: grpc.StatusCode) -> str:
    """Expect `call` to end with `code`; return its text."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is code, caught.value.details()
    return str(caught.value.details())


def step_request(*, items: tuple[int, int] = (1, LENGTH), state: tuple[int, int] = (1, STATE_SIZE)) -> Any:
    """Build a request for `step` with tensors of these shapes."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "rec"
    request.model_spec.signature_name = "step"
    request.inputs["items"].CopyFrom(tf.make_tensor_proto(np.ones(items, np.int32)))
    request.inputs["state"].CopyFrom(tf.make_tensor_proto(np.zeros(state, np.float32)))
    return request


def test_no_version_and_no_signature_mean_the_highest_and_the_default(rec: Client) -> None:
    """Without a version the highest answers, without a signature `serving_default`, with every output (row 1)."""
    response = rec.predict(recommend_request())
    assert response.model_spec.version.value == 2
    assert response.model_spec.signature_name == "serving_default"
    assert set(response.outputs) == {"items", "scores"}


def test_a_named_version_and_signature_answer(rec: Client) -> None:
    """The response names the model, version and signature that were asked for (row 2)."""
    request = step_request()
    request.model_spec.version.value = 1
    response = rec.predict(request)
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("rec", 1, "step")
    assert set(response.outputs) == {"state"}


def test_versions_differ(rec: Client) -> None:
    """Version 1 and version 2 answer from their own weights (row 1, 2)."""
    request = recommend_request()
    second = rec.predict(request)
    request.model_spec.version.value = 1
    first = rec.predict(request)
    assert first.outputs["scores"].float_val != second.outputs["scores"].float_val


def test_a_request_needs_a_model_spec(rec: Client) -> None:
    """A request without model_spec is refused (row 3)."""
    assert "Missing ModelSpec" in rec.refused(predict_pb2.PredictRequest(), Code.INVALID_ARGUMENT)


def test_a_request_needs_a_model_name(rec: Client) -> None:
    """A model_spec without a name is refused (row 3)."""
    assert "no name specified" in rec.refused(recommend_request(""), Code.INVALID_ARGUMENT)


def test_an_unknown_model_is_not_found(rec: Client) -> None:
    """A model that is not served is named in the error (row 4)."""
    assert "for request: Latest(nope)" in rec.refused(recommend_request("nope"), Code.NOT_FOUND)


def test_an_unknown_version_is_not_found(rec: Client) -> None:
    """A version that is not served is named in the error (row 4)."""
    request = recommend_request()
    request.model_spec.version.value = 99
    assert "for request: Specific(rec, 99)" in rec.refused(request, Code.NOT_FOUND)


@pytest.mark.parametrize("name", ["rec", "nope"])
def test_an_unassigned_label_is_refused(rec: Client, name: str) -> None:
    """A label that was never assigned is refused, whatever the model (row 6)."""
    request = recommend_request(name)
    request.model_spec.version_label = "canary"
    assert "Unrecognized servable version label: canary" in rec.refused(request, Code.INVALID_ARGUMENT)


def test_an_unknown_signature_is_a_failed_precondition(rec: Client) -> None:
    """A signature that the version lacks is named in the error (row 8)."""
    request = recommend_request()
    request.model_spec.signature_name = "zzz"
    assert 'Serving signature key "zzz" not found' in rec.refused(request, Code.FAILED_PRECONDITION)


def test_a_missing_input_is_named(rec: Client) -> None:
    """Too few inputs: the error lists what is missing (row 9)."""
    request = recommend_request()
    del request.inputs["length"]
    assert "Missing but required: {length}" in rec.refused(request, Code.INVALID_ARGUMENT)


def test_an_extra_input_is_named(rec: Client) -> None:
    """Too many inputs: the error lists what is too much (row 9)."""
    request = recommend_request()
    request.inputs["foo"].CopyFrom(request.inputs["length"])
    assert "Sent extra: {foo}" in rec.refused(request, Code.INVALID_ARGUMENT)


def test_a_misnamed_input_is_named(rec: Client) -> None:
    """As many inputs as the signature has, one of them misnamed: the error names the one not found (row 10)."""
    request = recommend_request()
    request.inputs["len"].CopyFrom(request.inputs["length"])
    del request.inputs["length"]
    assert "Signature input alias: length" in rec.refused(request, Code.INVALID_ARGUMENT)


def test_content_of_the_wrong_size_is_refused(rec: Client) -> None:
    """tensor_content must have exactly the bytes that shape and type ask for (row 11)."""
    request = recommend_request()
    request.inputs["items"].tensor_content = b"\0" * 4
    assert "tensor parsing error: items" in rec.refused(request, Code.INVALID_ARGUMENT)


def test_a_wrong_dtype_is_refused(rec: Client) -> None:
    """int64 is never cast to int32 in silence (row 12)."""
    request = recommend_request()
    request.inputs["items"].CopyFrom(tf.make_tensor_proto(np.ones((1, LENGTH), np.int64)))
    assert "int32 but int64 is provided" in rec.refused(request, Code.INVALID_ARGUMENT)


def test_shapes_that_do_not_fit_the_ops_are_refused(rec: Client) -> None:
    """An op that cannot work with the shapes fails the call (row 13)."""
    assert "ncompatible shapes" in rec.refused(step_request(state=(1, 3)), Code.INVALID_ARGUMENT)


def test_declared_shapes_are_not_enforced(rec: Client) -> None:
    """A session of 7 items runs in a signature that declares 20 (row 14)."""
    assert rec.predict(step_request(items=(1, 7))).model_spec.version.value == 2


def test_an_item_beyond_the_table_is_refused(rec: Client) -> None:
    """A gather out of range fails the call (row 15)."""
    request = recommend_request()
    request.inputs["items"].CopyFrom(tf.make_tensor_proto(np.full((1, LENGTH), ITEM_COUNT, np.int32)))
    assert "is not in [0," in rec.refused(request, Code.INVALID_ARGUMENT)


def test_an_output_filter_chooses_outputs(rec: Client) -> None:
    """Only the outputs in output_filter come back (row 16)."""
    request = recommend_request()
    request.output_filter.append("scores")
    assert set(rec.predict(request).outputs) == {"scores"}


@pytest.mark.parametrize(
    ("output_filter", "text"),
    [(["bogus"], "alias not found in signature"), (["scores", "scores"], "duplicate output")],
)
def test_a_wrong_output_filter_is_refused(rec: Client, output_filter: list[str], text: str) -> None:
    """An unknown output, or one named twice, fails the call (row 17)."""
    request = recommend_request()
    request.output_filter.extend(output_filter)
    assert text in rec.refused(request, Code.INVALID_ARGUMENT)


def test_a_short_value_field_repeats_its_last_value(rec: Client) -> None:
    """One int_val for four rows reads as four times that value (row 18)."""
    spelled_out = recommend_request(rows=4)
    short = recommend_request(rows=4)
    short.inputs["length"].Clear()
    short.inputs["length"].dtype = tf.int32.as_datatype_enum
    short.inputs["length"].tensor_shape.dim.add(size=4)
    short.inputs["length"].int_val.append(LENGTH)
    assert rec.predict(short).outputs["scores"] == rec.predict(spelled_out).outputs["scores"]


def test_outputs_come_as_value_fields(rec: Client) -> None:
    """Outputs travel in `*_val`, with shape and type (row 1)."""
    scores = rec.predict(recommend_request(rows=3)).outputs["scores"]
    assert [dim.size for dim in scores.tensor_shape.dim] == [3, 5]
    assert len(scores.float_val) == 15
    assert not scores.tensor_content


def test_a_call_ends_at_its_deadline(rec: Client) -> None:
    """A call that takes longer than its deadline ends with DEADLINE_EXCEEDED, and the next one is served (row 19)."""
    failure(lambda: rec.prediction.Predict(slow_request(rounds=300), timeout=0.001), Code.DEADLINE_EXCEEDED)
    assert rec.predict(recommend_request()).model_spec.version.value == 2


def test_a_call_can_be_cancelled(rec: Client) -> None:
    """A cancelled call ends with CANCELLED, and the next one is served (row 19)."""
    call = rec.prediction.Predict.future(slow_request(rounds=300), timeout=TIMEOUT_SECONDS)
    assert call.cancel()
    assert call.code() is Code.CANCELLED
    assert rec.predict(recommend_request()).model_spec.version.value == 2


def test_a_large_request_is_taken(rec: Client) -> None:
    """A request beyond gRPC's default limit of 4 MiB is served (row 21)."""
    rows = 5 * 1024 * 1024 // (4 * LENGTH)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "rec"
    request.inputs["items"].CopyFrom(tf.make_tensor_proto(np.ones((rows, LENGTH), np.int32)))
    request.inputs["length"].CopyFrom(tf.make_tensor_proto(np.zeros(rows, np.int32)))
    assert request.ByteSize() > 5_000_000
    assert len(rec.predict(request).outputs["items"].int_val) == rows * 5


def metadata_request(*fields: str) -> Any:
    """Build a GetModelMetadata request for `rec`."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = "rec"
    return request


def test_metadata_describes_the_signatures(rec: Client) -> None:
    """GetModelMetadata names the version and lists its signatures, the initialiser's too (row 22)."""
    response = rec.prediction.GetModelMetadata(metadata_request("signature_def"), timeout=TIMEOUT_SECONDS)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert response.model_spec.version.value == 2
    assert set(signatures.signature_def) == {"serving_default", "step", "slow", "__saved_model_init_op"}
    assert set(signatures.signature_def["step"].inputs) == {"items", "state"}


@pytest.mark.parametrize(("fields", "text"), [(["x"], "x is not supported"), ([], "at least one metadata_field")])
def test_other_metadata_is_refused(rec: Client, fields: list[str], text: str) -> None:
    """GetModelMetadata knows one field, and wants it named (row 22)."""
    request = metadata_request(*fields)
    assert text in failure(
        lambda: rec.prediction.GetModelMetadata(request, timeout=TIMEOUT_SECONDS), Code.INVALID_ARGUMENT
    )


def test_status_lists_the_versions(rec: Client) -> None:
    """GetModelStatus lists the versions with state and error (row 23)."""
    statuses = {status.version: (status.state, status.status.error_code) for status in rec.status("rec")}
    assert statuses == {1: (State.AVAILABLE, 0), 2: (State.AVAILABLE, 0)}


@pytest.mark.parametrize(
    ("name", "version", "text"), [("nope", None, "any versions of model nope"), ("rec", 99, "version 99")]
)
def test_status_of_the_unknown_is_not_found(rec: Client, name: str, version: int | None, text: str) -> None:
    """GetModelStatus names the model or version that it does not know (row 24)."""
    assert text in failure(lambda: rec.status(name, version), Code.NOT_FOUND)


def test_a_published_version_takes_over_without_a_failed_call(served: Served, publish: Callable[[int], Path]) -> None:
    """A version renamed into place becomes AVAILABLE, then the old one ENDs, and no call fails meanwhile (row 25)."""
    client = served.rec_latest
    publish(3).rename(served.latest_path / "3")
    answered = set()
    while client.state("rec_latest", 1) != State.END:
        answered.add(client.predict(recommend_request("rec_latest")).model_spec.version.value)
    assert answered <= {1, 3}
    assert client.state("rec_latest", 3) == State.AVAILABLE
    assert client.predict(recommend_request("rec_latest")).model_spec.version.value == 3


def test_broken_versions_leave_the_good_one_serving(served: Served, publish: Callable[[int], Path]) -> None:
    """A damaged version, and one that fails its own warm-up, END with their error; the good one stays (rows 5, 26)."""
    client = served.rec_latest
    before = client.predict(recommend_request("rec_latest")).model_spec.version.value
    damaged = publish(4)
    (damaged / "saved_model.pb").write_bytes(b"no graph")
    damaged.rename(served.latest_path / "4")
    assert client.wait_for("rec_latest", 4, State.END).status.error_code != 0
    for_the_broken = recommend_request("rec_latest")
    for_the_broken.model_spec.version.value = 4
    assert "Specific(rec_latest, 4)" in client.refused(for_the_broken, Code.NOT_FOUND)
    cold = publish(5)
    bad = recommend_request("rec_latest")
    bad.inputs["items"].CopyFrom(tf.make_tensor_proto(np.full((1, LENGTH), ITEM_COUNT, np.int32)))
    rec_model.write_warmup(cold, bad)
    cold.rename(served.latest_path / "5")
    assert "is not in [0," in client.wait_for("rec_latest", 5, State.END).status.error_message
    assert client.predict(recommend_request("rec_latest")).model_spec.version.value == before


def test_other_folders_are_no_versions(served: Served, publish: Callable[[int], Path]) -> None:
    """A child whose name is no number is never listed, while a number that came after it is (row 27)."""
    client = served.rec_latest
    publish(6)
    shutil.copytree(served.latest_path / "1", served.latest_path / "abc")
    publish(7).rename(served.latest_path / "7")
    client.wait_for("rec_latest", 7, State.AVAILABLE)
    failure(lambda: client.status("rec_latest", 6), Code.NOT_FOUND)


def test_the_port_is_closed_before_the_first_load(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Without a loaded version clients see UNAVAILABLE, and a first version opens the port (row 31)."""
    if request.config.getoption("--serving-address"):
        pytest.skip("needs a server of its own")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "rec").mkdir()
    server = ModelServer(ServerOptions(models=tmp_path, model_name="rec", port=port, poll_seconds=POLL_SECONDS))
    starting = threading.Thread(target=server.start)
    starting.start()
    with_client(f"127.0.0.1:{port}", lambda client: client.refused(recommend_request(), Code.UNAVAILABLE))
    rec_model.export(tmp_path / "rec" / "1")
    starting.join(TIMEOUT_SECONDS)
    assert with_client(server.address, lambda client: client.state("rec", 1)) == State.AVAILABLE
    server.stop(grace_seconds=0)
