"""The one error of the model server: a gRPC status on its way to the caller or to a version's state."""

import grpc

MAX_MESSAGE_CHARACTERS = 1024
"""TensorFlow Serving cuts status texts there: model_servers/grpc_status_util.cc."""


class StatusError(Exception):
    """A call or a load ends with `code`; `message` is what the client reads."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        self.code = code
        self.message = message[:MAX_MESSAGE_CHARACTERS]
        super().__init__(self.message)


def invalid_argument(message: str) -> StatusError:
    """Build the status of a request that can never succeed."""
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> StatusError:
    """Build the status of a model or version that is not served."""
    return StatusError(grpc.StatusCode.NOT_FOUND, message)
