"""TensorFlow's errors of a cluster in words: the one place that reads them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

COLLECTIVE_TIMEOUT_SECONDS: Final = 120.0
"""More than a checkpoint takes, which the others wait for; less than a person does."""
_LOST: Final = ("UnavailableError", "AbortedError", "CancelledError")
_TOLD_BY: Final = ("Restart your program", "heartbeat", "Socket closed", "Connection reset", "failed to connect")
"""In the texts of errors of other classes: which one comes depends on who notices first."""
_NOT_LISTENING: Final = "Could not start gRPC server"
"""Another program has taken the port since it was found to be free."""


class OthersLostError(Exception):
    """This worker cannot go on: it and another one do not reach each other, gone, silent, or without a port."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise OthersLostError instead of what TensorFlow raises when a start of all may help."""
    import tensorflow as tf  # noqa: PLC0415 - its environment must be set before

    try:
        yield
    except tf.errors.DeadlineExceededError as error:
        raise OthersLostError(f"has waited {COLLECTIVE_TIMEOUT_SECONDS:.0f} s for another worker") from error
    except tf.errors.OpError as error:
        if _NOT_LISTENING in error.message:
            raise OthersLostError("cannot listen at its port, which another program has taken") from error
        if type(error).__name__ in _LOST or any(words in error.message for words in _TOLD_BY):
            raise OthersLostError("has lost the connection to another worker") from error
        raise
