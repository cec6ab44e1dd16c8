"""Warm-up: the requests in a version's `assets.extra/` run before it serves, so they double as its smoke test.

Source: servables/tensorflow/saved_model_warmup_util.cc.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from schemas.servable import WARMUP_PATH
from serving.embedded.errors import StatusError, invalid_argument
from serving.embedded.predict import run_predict
from serving.embedded.servable import Servable

MAX_WARMUP_RECORDS = 1000


def warm_up(servable: Servable, path: Path) -> None:
    """Run the warm-up records of the version in `path`, if it has any. Raises StatusError on the first that fails."""
    for position, log in enumerate(_read_logs(path / WARMUP_PATH)):
        if position == MAX_WARMUP_RECORDS:
            raise invalid_argument(f"Number of warmup records exceeds the maximum ({MAX_WARMUP_RECORDS})")
        if log.WhichOneof("log_type") != "predict_log":
            raise invalid_argument(f"warmup record {position} is no Predict request; this server runs no other")
        try:
            run_predict(servable, int(path.name), log.predict_log.request)
        except StatusError as error:
            raise StatusError(error.code, f"warmup record {position} failed: {error.message}") from error


def _read_logs(path: Path) -> Iterator[Any]:
    if not path.exists():
        return
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            yield prediction_log_pb2.PredictionLog.FromString(record)
    except (tf.errors.OpError, DecodeError) as error:
        raise invalid_argument(f"Failed to read warmup records from {path}: {error}") from error
