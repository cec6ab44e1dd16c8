"""The first import of TensorFlow, without what its C++ part prints before its own logging is set up."""

import os


def import_tensorflow() -> None:
    """Import TensorFlow with standard error closed meanwhile.

    `TF_CPP_MIN_LOG_LEVEL` is not read before these lines; a failing import still raises.
    """
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import tensorflow  # noqa: F401, ICN001, PLC0415 - workers load this room and have no TensorFlow
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
