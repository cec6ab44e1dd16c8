"""A model server in this process that answers over gRPC as a test says."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from schemas.ranking import ModelInput
from serving.client import GET_MODEL_STATUS, PREDICT
from serving.protos import insession_predict_pb2 as pb
from serving.tensors import to_array, to_proto


def row(*items: int) -> ModelInput:
    """Return a row with one feature."""
    return ModelInput(np.array(items, np.int32), np.array([0.5], np.float32))


def echo(request: pb.PredictRequest, candidates: int = 2) -> pb.PredictResponse:
    """Answer each row with its last item and the ones after it."""
    items = to_array(request.inputs["items"])
    lengths = np.frombuffer(request.inputs["length"].tensor_content, "<i4")
    last = items[np.arange(len(items)), lengths - 1]
    answered = last[:, None] + np.arange(candidates, dtype=np.int32)
    scores = np.broadcast_to(np.linspace(1, 0.5, candidates, dtype=np.float32), answered.shape)
    response = pb.PredictResponse(model_spec=request.model_spec)
    response.outputs["items"].CopyFrom(to_proto(answered.astype(np.int32)))
    response.outputs["scores"].CopyFrom(to_proto(scores))
    response.outputs["intent"].CopyFrom(to_proto(np.full((len(items), 3), 0.5, np.float32)))
    return response


@dataclass
class Server:
    """A gRPC server in this process; a test says how it answers."""

    answer: Callable[[pb.PredictRequest], pb.PredictResponse] = echo
    refuse: tuple[grpc.StatusCode, str] | None = None
    hang: bool = False
    states: Sequence[tuple[int, int]] = ((6, pb.ModelVersionStatus.END), (7, pb.ModelVersionStatus.AVAILABLE))
    requests: list[pb.PredictRequest] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    metadata: dict[str, str] = field(default_factory=dict)
    address: str = ""

    async def predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:
        """Answer a Predict."""
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        self.called.set()
        await self._refuse_or_hang(context)
        return self.answer(request)

    async def get_model_status(self, request: pb.GetModelStatusRequest, context: Any) -> pb.GetModelStatusResponse:
        """Answer a GetModelStatus."""
        assert request.model_spec.name == "session_gru"
        await self._refuse_or_hang(context)
        return pb.GetModelStatusResponse(
            model_version_status=[
                pb.ModelVersionStatus(version=version, state=state)  # type: ignore[arg-type]
                for version, state in self.states
            ]
        )

    async def _refuse_or_hang(self, context: Any) -> None:
        if self.refuse is not None:
            await context.abort(*self.refuse)
        if self.hang:
            await asyncio.Event().wait()

    async def start(self, add_port: Callable[[grpc.aio.Server], int] | None = None) -> grpc.aio.Server:
        """Listen on a free loopback port."""
        server = grpc.aio.server()
        for method, handler, request_type in (
            (PREDICT, self.predict, pb.PredictRequest),
            (GET_MODEL_STATUS, self.get_model_status, pb.GetModelStatusRequest),
        ):
            _, service, name = method.split("/")
            rpc = grpc.unary_unary_rpc_method_handler(
                handler, request_type.FromString, lambda response: response.SerializeToString()
            )
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: rpc}),))
        port = server.add_insecure_port("127.0.0.1:0") if add_port is None else add_port(server)
        self.address = f"localhost:{port}"
        await server.start()
        return server
