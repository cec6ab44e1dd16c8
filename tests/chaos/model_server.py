"""A model server on the wire that can be told to be slow, to talk garbage or to score NaN."""

import time
from concurrent import futures
from typing import Any, Literal, Self

import grpc

from serving.client import GET_MODEL_STATUS, PREDICT
from serving.protos import insession_predict_pb2 as pb

Fault = Literal["slow", "garbage", "NaN"]
SLOW_SECONDS = 3.0
_WORKERS = 8


class FaultyServer:
    """Hands every call on to a real server behind it, and spoils the answers of Predict while `fault` is set."""

    def __init__(self, behind: str) -> None:
        self.fault: Fault | None = None
        self._channel = grpc.insecure_channel(behind, options=[("grpc.max_reconnect_backoff_ms", 500)])
        self._server = grpc.server(futures.ThreadPoolExecutor(_WORKERS))
        self._server.add_generic_rpc_handlers((_Handler(self._predict, self._on(GET_MODEL_STATUS)),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()
        self._channel.close()

    def _on(self, path: str) -> Any:
        return self._channel.unary_unary(path)

    def _predict(self, request: bytes, *, timeout: float | None) -> bytes:
        response: bytes = self._on(PREDICT)(request, timeout=timeout)
        if self.fault == "slow":
            time.sleep(SLOW_SECONDS)
        elif self.fault == "garbage":
            return response[::-1]
        elif self.fault == "NaN":
            return _with_nan(response)
        return response


class _Handler(grpc.GenericRpcHandler):
    """The two methods that a worker calls, as bytes."""

    def __init__(self, predict: Any, status: Any) -> None:
        self._methods = {PREDICT: predict, GET_MODEL_STATUS: status}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        call = self._methods.get(details.method)
        if call is None:
            return None

        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                return call(request, timeout=context.time_remaining())  # type: ignore[no-any-return]
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
                raise

        return grpc.unary_unary_rpc_method_handler(handle)


def _with_nan(response: bytes) -> bytes:
    """Put NaN for every float of an answer."""
    message = pb.PredictResponse.FromString(response)
    nan = b"\x00\x00\xc0\x7f"
    for tensor in message.outputs.values():
        if tensor.dtype == pb.DT_FLOAT:
            tensor.tensor_content = nan * (len(tensor.tensor_content) // len(nan))
            tensor.float_val[:] = [float("nan")] * len(tensor.float_val)
    return message.SerializeToString()
