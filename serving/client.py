"""The gRPC client: the one place where bytes leave for the model server and where gRPC's errors become ours."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import grpc

from schemas import tracing
from schemas.ids import ModelVersion
from schemas.ranking import ModelInput, ModelOutput
from schemas.servable import SIGNATURE
from schemas.tracing import TraceContext
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
from serving.tensors import FixedShape, decode_outputs, encode_inputs

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"

_CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),  # gRPC's own 4 MiB is little for a large batch
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    ("grpc.enable_retries", 0),  # the deadline is too short for retries that nobody counts
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),  # gRPC's own goes to two minutes: a server that is back would stand idle
)
_ERRORS: Mapping[grpc.StatusCode, type[PredictError]] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.NOT_FOUND: ModelNotFoundError,
    grpc.StatusCode.INVALID_ARGUMENT: BadRequestError,
    grpc.StatusCode.FAILED_PRECONDITION: BadRequestError,
    grpc.StatusCode.OUT_OF_RANGE: BadRequestError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ServerBusyError,
}
_MAX_DETAIL_LENGTH = 300


class PredictClient:
    """Asks one model of one server; the connection is made by the first call, inside its event loop. Close it.

    fixed_shape: pad every call to this shape (replay); None = to the longest row.
    """

    def __init__(self, settings: ServingSettings, *, fixed_shape: FixedShape | None = None) -> None:
        self._settings = settings
        self._fixed_shape = fixed_shape

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def predict(
        self,
        version: ModelVersion,
        batch: Sequence[ModelInput],
        deadline_seconds: float,
        traces: Sequence[TraceContext] = (),
    ) -> list[ModelOutput]:
        """Answer the rows of `batch` by `version`; see `Predictor`."""
        request = pb.PredictRequest(model_spec=self._spec(version), inputs=encode_inputs(batch, self._fixed_shape))
        timeout = None if math.isinf(deadline_seconds) else deadline_seconds
        trace = tracing.leading(traces)
        metadata = None if trace is None else trace.child(tracing.PREDICT).headers()
        response = await self._translated(
            lambda: self._predict(request, timeout=timeout, metadata=metadata), f"Predict by version {version}"
        )
        answered = response.model_spec.version.value
        if answered != version:
            raise BadResponseError(f"{self._where} answered by version {answered} when asked for {version}")
        rows = len(batch) if self._fixed_shape is None else self._fixed_shape.rows
        return decode_outputs(response.outputs, batch, answered_rows=rows)

    async def loaded_versions(self) -> frozenset[ModelVersion]:
        """Return the versions that the server reports as AVAILABLE; none where it does not know the model."""
        request = pb.GetModelStatusRequest(model_spec=pb.ModelSpec(name=self._settings.model_name))
        timeout = self._settings.status_timeout.total_seconds()
        try:
            response = await self._translated(
                lambda: self._get_model_status(request, timeout=timeout), "GetModelStatus"
            )
        except ModelNotFoundError:
            return frozenset()
        states = response.model_version_status
        return frozenset(
            ModelVersion(state.version) for state in states if state.state == pb.ModelVersionStatus.AVAILABLE
        )

    async def close(self) -> None:
        """Close the connection; calls under way end with ModelUnavailableError."""
        if "_channel" in vars(self):
            await self._channel.close()

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        tls = self._settings.tls
        if tls.ca_file is None:
            return grpc.aio.insecure_channel(self._settings.address, options=_CHANNEL_OPTIONS)
        options = [*_CHANNEL_OPTIONS]
        if tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", tls.server_name))
        return grpc.aio.secure_channel(self._settings.address, _credentials(tls), options=options)

    @cached_property
    def _predict(self) -> Any:
        return self._channel.unary_unary(
            PREDICT,
            request_serializer=pb.PredictRequest.SerializeToString,
            response_deserializer=pb.PredictResponse.FromString,
        )

    @cached_property
    def _get_model_status(self) -> Any:
        return self._channel.unary_unary(
            GET_MODEL_STATUS,
            request_serializer=pb.GetModelStatusRequest.SerializeToString,
            response_deserializer=pb.GetModelStatusResponse.FromString,
        )

    @property
    def _where(self) -> str:
        return f"model {self._settings.model_name} at {self._settings.address}"

    def _spec(self, version: ModelVersion) -> pb.ModelSpec:
        spec = pb.ModelSpec(name=self._settings.model_name, signature_name=SIGNATURE)
        spec.version.value = version
        return spec

    async def _translated(self, call: Callable[[], Awaitable[Any]], subject: str) -> Any:
        """Make and await `call`; whatever gRPC raises becomes a PredictError that names `subject`."""
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            kind = _ERRORS.get(error.code(), ModelUnavailableError)
            details = " ".join((error.details() or "").split())[:_MAX_DETAIL_LENGTH]
            raise kind(f"{self._where}: {subject} failed: {error.code().name}: {details}") from error
        except OSError as error:
            raise ModelUnavailableError(
                f"{self._where}: a file of serving.tls cannot be read any more: {error}"
            ) from error
        except grpc.aio.UsageError as error:
            raise ModelUnavailableError(
                f"{self._where}: {subject} was asked for after the client was closed"
            ) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Closing the channel cancels its calls; nobody cancelled the task that waits for one.
            raise ModelUnavailableError(f"{self._where}: the client was closed during {subject}") from error


def _credentials(tls: ServingTls) -> grpc.ChannelCredentials:
    files = (tls.ca_file, tls.key_file, tls.certificate_file)
    root, key, chain = (None if file is None else file.read_bytes() for file in files)
    return grpc.ssl_channel_credentials(root_certificates=root, private_key=key, certificate_chain=chain)
