"""The gRPC services over one model: PredictionService and ModelService of TensorFlow Serving.

Not served, so UNIMPLEMENTED by gRPC itself: Classify, Regress, MultiInference and HandleReloadConfigRequest.
Labels come by config only, so no label is ever assigned here.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import grpc
import structlog
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from schemas.tracing import read_trace
from serving.embedded.errors import StatusError, invalid_argument, not_found
from serving.embedded.predict import run_predict
from serving.embedded.servable import Servable
from serving.embedded.versions import ModelVersions, VersionStatus

SIGNATURE_DEF = "signature_def"

log = structlog.get_logger(__name__)


class ModelService:
    """Answers requests about one model; every method raises StatusError."""

    def __init__(self, versions: ModelVersions[Servable]) -> None:
        self._versions = versions

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Build the handlers to register with a server."""
        metadata, status = get_model_metadata_pb2, get_model_status_pb2
        prediction = {
            "Predict": _handler(self.predict, predict_pb2.PredictRequest),
            "GetModelMetadata": _handler(self.get_model_metadata, metadata.GetModelMetadataRequest),
        }
        model = {"GetModelStatus": _handler(self.get_model_status, status.GetModelStatusRequest)}
        return [
            grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", prediction),
            grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", model),
        ]

    def predict(self, request: Any) -> Any:
        """Run a signature of one version."""
        _check_model_spec(request)
        with self._lease(request.model_spec) as (version, servable):
            return run_predict(servable, version, request)

    def get_model_metadata(self, request: Any) -> Any:
        """Describe the signatures of one version."""
        _check_model_spec(request)
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise invalid_argument(f"Metadata field {field} is not supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self._lease(request.model_spec) as (version, servable):
            response.model_spec.name = self._versions.name
            response.model_spec.version.value = version
            signature_map = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in servable.signature_defs.items():
                signature_map.signature_def[name].CopyFrom(signature)
        response.metadata[SIGNATURE_DEF].Pack(signature_map)
        return response

    def get_model_status(self, request: Any) -> Any:
        """List the states of one version or of all, highest first; labels are ignored."""
        _check_model_spec(request)
        spec = request.model_spec
        statuses = self._versions.statuses() if spec.name == self._versions.name else []
        if spec.HasField("version"):
            statuses = [status for status in statuses if status.version == spec.version.value]
            if not statuses:
                raise not_found(f"Could not find version {spec.version.value} of model {spec.name}")
        if not statuses:
            raise not_found(f"Could not find any versions of model {spec.name}")
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=map(_status_proto, statuses))

    def _lease(self, spec: Any) -> AbstractContextManager[tuple[int, Servable]]:
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        if spec.HasField("version_label"):
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        version = spec.version.value if spec.HasField("version") else None
        if spec.name != self._versions.name:
            wanted = f"Latest({spec.name})" if version is None else f"Specific({spec.name}, {version})"
            raise not_found(f"Servable not found for request: {wanted}")
        return self._versions.lease(version)


def _check_model_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")


def _status_proto(status: VersionStatus) -> Any:
    proto = get_model_status_pb2.ModelVersionStatus(version=status.version, state=int(status.state))
    proto.status.error_code = 0 if status.error is None else status.error.code.value[0]
    proto.status.error_message = "" if status.error is None else status.error.message
    return proto


def _handler(method: Callable[[Any], Any], request_type: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        if not context.is_active():  # it waited for a thread until its deadline, or its client left
            context.abort(grpc.StatusCode.CANCELLED, "the call ended before it ran")
        _log_trace(request, context)
        try:
            return method(request)
        except StatusError as error:
            context.abort(error.code, error.message)

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=request_type.FromString, response_serializer=_serialize
    )


def _log_trace(request: Any, context: grpc.ServicerContext) -> None:
    """Leave a line for each call of a sampled trace: so one can be followed to here."""
    headers = (
        (name, value.encode() if isinstance(value, str) else value) for name, value in context.invocation_metadata()
    )
    trace, _ = read_trace(headers)
    if trace is not None and trace.is_sampled:
        log.info("traced_call", request=type(request).__name__, trace_id=trace.trace_id, span_id=trace.span_id)


def _serialize(message: Any) -> bytes:
    serialized = message.SerializeToString()
    assert isinstance(serialized, bytes)
    return serialized
