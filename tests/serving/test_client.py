import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from schemas.ids import ModelVersion
from schemas.tracing import TraceContext
from serving.client import PredictClient
from serving.errors import (
    BadRequestError,
    BadResponseError,
    DeadlineExceededError,
    ModelNotFoundError,
    ModelUnavailableError,
    PredictError,
    ServerBusyError,
)
from serving.protos import insession_predict_pb2 as pb
from serving.settings import ServingSettings, ServingTls
from serving.tensors import FixedShape, to_array
from tests.serving.grpc_server import Server, echo, row

V7 = ModelVersion(7)
FAR = 60.0


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Run a server."""
    served = Server()
    running = await served.start()
    yield served
    await running.stop(None)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[PredictClient]:
    """Connect to the server."""
    async with PredictClient(ServingSettings(address=server.address)) as connected:
        yield connected


async def test_rows_come_back_in_order(client: PredictClient, server: Server) -> None:
    """Each row gets its own answer; the request names model, version and signature."""
    outputs = await client.predict(V7, [row(1, 2, 3), row(9)], FAR)
    assert [output.candidates.item_indices.tolist() for output in outputs] == [[3, 4], [9, 10]]
    assert [output.intent.purchase for output in outputs] == [0.5, 0.5]
    spec = server.requests[0].model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("session_gru", 7, "recommend")


async def test_a_fixed_shape_hides_the_size_of_the_batch(server: Server) -> None:
    """In replay every request has one shape and the answer only the rows asked for."""
    settings = ServingSettings(address=server.address)
    async with PredictClient(settings, fixed_shape=FixedShape(rows=4, length=10)) as client:
        outputs = await client.predict(V7, [row(1), row(2)], float("inf"))
    assert [output.candidates.item_indices[0] for output in outputs] == [1, 2]
    assert to_array(server.requests[0].inputs["items"]).shape == (4, 10)


async def test_answers_beyond_four_mebibytes_are_read(client: PredictClient, server: Server) -> None:
    """The limit that gRPC sets on what a client receives is lifted."""
    server.answer = lambda request: echo(request, candidates=10_000)
    outputs = await client.predict(V7, [row(1)] * 64, FAR)
    assert sum(len(output.candidates) for output in outputs) == 640_000


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, ModelUnavailableError),
        (grpc.StatusCode.INTERNAL, ModelUnavailableError),
        (grpc.StatusCode.UNKNOWN, ModelUnavailableError),
        (grpc.StatusCode.CANCELLED, ModelUnavailableError),
        (grpc.StatusCode.UNIMPLEMENTED, ModelUnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceededError),
        (grpc.StatusCode.NOT_FOUND, ModelNotFoundError),
        (grpc.StatusCode.INVALID_ARGUMENT, BadRequestError),
        (grpc.StatusCode.FAILED_PRECONDITION, BadRequestError),
        (grpc.StatusCode.OUT_OF_RANGE, BadRequestError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ServerBusyError),
    ],
)
async def test_grpc_errors_become_ours(
    client: PredictClient, server: Server, code: grpc.StatusCode, kind: type[PredictError]
) -> None:
    """Each status becomes one error, whose message says which server, what and why."""
    server.refuse = (code, "because")
    with pytest.raises(
        PredictError, match=rf"session_gru at {server.address}: Predict by version 7 failed: {code.name}: because"
    ) as caught:
        await client.predict(V7, [row(1)], FAR)
    assert type(caught.value) is kind


async def test_long_details_are_cut(client: PredictClient, server: Server) -> None:
    """What a server says is one line of bounded length before it reaches a log."""
    server.refuse = (grpc.StatusCode.INTERNAL, "Graph\n\n  error " + "x" * 5000)
    with pytest.raises(ModelUnavailableError, match="Graph error xxx") as caught:
        await client.predict(V7, [row(1)], FAR)
    assert len(str(caught.value)) < 500


async def test_a_call_ends_at_its_deadline(client: PredictClient, server: Server) -> None:
    """A server that hangs costs the deadline."""
    server.hang = True
    with pytest.raises(DeadlineExceededError):
        await client.predict(V7, [row(1)], 0.05)


async def test_a_server_that_is_not_there_is_said_at_once() -> None:
    """Nobody listens: no waiting for the deadline."""
    async with PredictClient(ServingSettings(address="127.0.0.1:1")) as client:
        with pytest.raises(ModelUnavailableError, match=r"127\.0\.0\.1:1"):
            await client.predict(V7, [row(1)], FAR)
        with pytest.raises(ModelUnavailableError, match="GetModelStatus failed"):
            await client.loaded_versions()


async def test_another_version_in_the_answer_is_refused(client: PredictClient, server: Server) -> None:
    """An answer of another version would be read with the wrong vocabulary."""

    def answer(request: pb.PredictRequest) -> pb.PredictResponse:
        response = echo(request)
        response.model_spec.version.value = 8
        return response

    server.answer = answer
    with pytest.raises(BadResponseError, match="version 8 when asked for 7"):
        await client.predict(V7, [row(1)], FAR)


async def test_only_available_versions_are_named(client: PredictClient, server: Server) -> None:
    """Loading, unloading and ended versions do not answer."""
    server.states = tuple((state, state) for state in (0, 10, 20, 30, 40, 50))
    assert await client.loaded_versions() == {30}


async def test_an_unknown_model_has_no_versions(client: PredictClient, server: Server) -> None:
    """A server without the model is a server with nothing available."""
    server.refuse = (grpc.StatusCode.NOT_FOUND, "no such model")
    assert await client.loaded_versions() == frozenset()


async def test_a_status_that_fails_is_an_error(server: Server) -> None:
    """A server that hangs does not look like one without versions."""
    server.hang = True
    async with PredictClient(
        ServingSettings(address=server.address, status_timeout=timedelta(milliseconds=50))
    ) as client:
        with pytest.raises(DeadlineExceededError):
            await client.loaded_versions()


async def test_closing_ends_calls_under_way(client: PredictClient, server: Server) -> None:
    """Who waits for a call when the client is closed gets an error, not a cancellation; so does who comes later."""
    server.hang = True
    call = asyncio.create_task(client.predict(V7, [row(1)], FAR))
    await server.called.wait()
    await client.close()
    with pytest.raises(ModelUnavailableError, match="closed"):
        await call
    with pytest.raises(ModelUnavailableError, match="closed"):
        await client.predict(V7, [row(1)], FAR)


async def test_cancelling_a_call_is_a_cancellation(client: PredictClient, server: Server) -> None:
    """A task that is cancelled while it waits is cancelled."""
    server.hang = True
    call: asyncio.Task[Any] = asyncio.create_task(client.predict(V7, [row(1)], FAR))
    await server.called.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@dataclass(frozen=True)
class Pki:
    """A certificate authority in a folder: ca.pem, client.pem, and other-ca.pem that signed nothing."""

    folder: Path
    authority: trustme.CA

    def tls(self, **changed: Any) -> ServingTls:
        """Return the settings of a client that may come in, some of them changed."""
        own = {"ca_file": "ca.pem", "certificate_file": "client.pem", "key_file": "client.pem"}
        files = {key: self.folder / name for key, name in own.items()}
        return ServingTls(**{**files, **changed})

    def server_credentials(self, name: str) -> grpc.ServerCredentials:
        """Make those of a server that is called `name` and asks for a client certificate."""
        certificate = self.authority.issue_cert(name)
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        pair = (certificate.private_key_pem.bytes(), chain)
        return grpc.ssl_server_credentials([pair], self.authority.cert_pem.bytes(), require_client_auth=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Make the authority and its files."""
    made = Pki(tmp_path_factory.mktemp("pki"), trustme.CA())
    made.authority.cert_pem.write_to_path(made.folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(made.folder / "other-ca.pem")
    made.authority.issue_cert("worker@insession").private_key_and_cert_chain_pem.write_to_path(
        made.folder / "client.pem"
    )
    return made


@asynccontextmanager
async def tls_server(pki: Pki, name: str) -> AsyncIterator[str]:
    """Run a server whose certificate is for `name`, and give its address."""
    served = Server()
    running = await served.start(lambda server: server.add_secure_port("127.0.0.1:0", pki.server_credentials(name)))
    yield served.address
    await running.stop(None)


@pytest.mark.parametrize(("server", "server_name"), [("localhost", None), ("models.internal", "models.internal")])
async def test_tls_carries_predict_and_status(pki: Pki, server: str, server_name: str | None) -> None:
    """With root and client certificate both calls work, under another name too where the settings give it."""
    async with tls_server(pki, server) as address:
        settings = ServingSettings(address=address, tls=pki.tls(server_name=server_name))
        async with PredictClient(settings) as client:
            assert len(await client.predict(V7, [row(1)], FAR)) == 1
            assert await client.loaded_versions() == {V7}


@pytest.fixture
def tls_without_its_file(pki: Pki, tmp_path: Path) -> ServingTls:
    """Make settings whose certificate is deleted after they were checked."""
    ca_file = Path(shutil.copy(pki.folder / "ca.pem", tmp_path))
    tls = ServingTls(ca_file=ca_file)
    ca_file.unlink()
    return tls


async def test_a_certificate_that_went_away_is_a_model_that_is(tls_without_its_file: ServingTls) -> None:
    """The files are read at the first call; one that is gone by then leaves the answer to a lower tier."""
    async with PredictClient(ServingSettings(tls=tls_without_its_file)) as client:
        with pytest.raises(ModelUnavailableError, match=r"serving\.tls .*ca"):
            await client.loaded_versions()


@pytest.mark.parametrize("wrong", ["root", "no-client-certificate", "name", "no-tls"])
async def test_tls_lets_nothing_else_through(pki: Pki, wrong: str) -> None:
    """Another root, no certificate of the client's own, another name, or no TLS: the server is not to be had."""
    tls = {
        "root": pki.tls(ca_file=pki.folder / "other-ca.pem"),
        "no-client-certificate": pki.tls(certificate_file=None, key_file=None),
        "name": pki.tls(server_name="models.internal"),
        "no-tls": ServingTls(),
    }[wrong]
    async with (
        tls_server(pki, "localhost") as address,
        PredictClient(ServingSettings(address=address, tls=tls)) as client,
    ):
        with pytest.raises(ModelUnavailableError):
            await client.predict(V7, [row(1)], FAR)
        with pytest.raises(ModelUnavailableError):
            await client.loaded_versions()


async def test_a_call_carries_the_trace_of_its_rows(client: PredictClient, server: Server) -> None:
    """The metadata name the call's own span, in the first sampled trace of the batch; without a trace there is none."""
    unsampled, sampled = TraceContext("12" * 16, "34" * 8, 0), TraceContext("ab" * 16, "cd" * 8, 1, "shop=1")
    await client.predict(V7, [row(1)] * 3, FAR, [unsampled, sampled])
    assert server.metadata["traceparent"] == sampled.child("predict").traceparent
    assert server.metadata["tracestate"] == "shop=1"
    await client.predict(V7, [row(1)], FAR)
    assert "traceparent" not in server.metadata
