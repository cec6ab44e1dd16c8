"""The model `rec` of the conformance tests: two signatures over a table of 50 items, and a slow one.

`python tests/serving/rec_model.py MODELS` lays it out for a server under test: `rec` with the versions 1 and 2, and
`rec_latest` with version 1.
"""

import sys
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from schemas.servable import WARMUP_PATH

ITEM_COUNT = 50
LENGTH = 20
STATE_SIZE = 64


class Rec(tf.Module):
    """Scores the items by the mean embedding of the session; every weight follows from the seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = tf.random.Generator.from_seed(seed)
        self.table = tf.Variable(generator.normal((ITEM_COUNT, STATE_SIZE)))

    @tf.function(
        input_signature=[tf.TensorSpec((None, LENGTH), tf.int32, "items"), tf.TensorSpec((None,), tf.int32, "length")]
    )
    def recommend(self, items: Any, length: Any) -> dict[str, Any]:
        """Rank the five best items for each row."""
        embedded = tf.gather(self.table, items)
        mask = tf.sequence_mask(length, tf.shape(items)[1], tf.float32)[:, :, tf.newaxis]
        mean = tf.reduce_sum(embedded * mask, 1) / tf.maximum(tf.reduce_sum(mask, 1), 1.0)
        scores, indices = tf.math.top_k(tf.matmul(mean, self.table, transpose_b=True), 5)
        return {"items": indices, "scores": scores}

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, LENGTH), tf.int32, "items"),
            tf.TensorSpec((None, STATE_SIZE), tf.float32, "state"),
        ]
    )
    def step(self, items: Any, state: Any) -> dict[str, Any]:
        """Add the session's embeddings to a state."""
        return {"state": state + tf.reduce_sum(tf.gather(self.table, items), 1)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32, "rounds")], autograph=False)
    def slow(self, rounds: Any) -> dict[str, Any]:
        """Multiply matrices for as many rounds as the first row says, about a millisecond each."""
        _, matrix = tf.while_loop(
            lambda done, _: done < rounds[0],
            lambda done, matrix: (done + 1, tf.matmul(matrix, matrix)),
            (0, tf.eye(256)),
        )
        return {"trace": tf.linalg.trace(matrix)[tf.newaxis]}


def export(version_path: Path, *, seed: int = 1) -> None:
    """Write a SavedModel by a temporary name and rename it into place, as a release is published."""
    model = Rec(seed)
    temporary = version_path.with_name(f".tmp-{version_path.name}")
    signatures = {"serving_default": model.recommend, "step": model.step, "slow": model.slow}
    tf.saved_model.save(model, str(temporary), signatures=signatures)
    temporary.rename(version_path)


def recommend_request(name: str = "rec", *, rows: int = 1) -> predict_pb2.PredictRequest:
    """Build a request that every version answers."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.inputs["items"].CopyFrom(tf.make_tensor_proto([list(range(1, LENGTH + 1))] * rows, tf.int32))
    request.inputs["length"].CopyFrom(tf.make_tensor_proto([LENGTH] * rows, tf.int32))
    return request


def slow_request(*, rounds: int) -> predict_pb2.PredictRequest:
    """Build a request that takes about `rounds` milliseconds."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "rec"
    request.model_spec.signature_name = "slow"
    request.inputs["rounds"].CopyFrom(tf.make_tensor_proto([rounds], tf.int32))
    return request


def write_warmup(version_path: Path, *requests: predict_pb2.PredictRequest) -> None:
    """Give a version warm-up requests."""
    path = version_path / WARMUP_PATH
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def lay_out(models: Path) -> None:
    """Write the models that the conformance tests expect a server to serve."""
    for path in (models / "rec" / "1", models / "rec" / "2", models / "rec_latest" / "1"):
        path.parent.mkdir(parents=True, exist_ok=True)
        export(path, seed=int(path.name))


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
