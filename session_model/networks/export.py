"""The SavedModel that a server answers from: one signature, `recommend`, which is also `serving_default`.

Inputs: `items` (batch, length) int32 `ItemIndex`, oldest first; `length` (batch,) int32, how many of them count, what
lies behind is never looked at, nor what lies before the latest `max_length`; `features` (batch, n_features) float32.
Outputs, k the candidate count: `items` (batch, k) int32 `ItemIndex`, best first, ties by index; `scores` (batch, k)
float32, softmax probabilities over the whole catalogue; `intent` (batch, 3) float32, calibrated probabilities in the
order of schemas.ranking.IntentProbabilities: purchase, leave, cart_abandonment; NaN where the training data could not
teach one, and in the last where nothing lies in the cart.
Where the catalogue is searched (session_model.ranking.item_search), instead of items and scores: `vectors` (batch,
width) and `returns` (batch, longest row read), float32, of schemas.ranking.SessionReading.
"""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from schemas.ranking import IntentProbabilities
from schemas.servable import DEFAULT_MODEL_NAME, DEFAULT_SIGNATURE, SIGNATURE, WARMUP_PATH
from session_model.intent.calibration import Calibration
from session_model.intent.head import CalibratedModel
from session_model.intent.model import IntentModel
from session_model.intent.prefix_features import CART_PRESENT
from session_model.networks.next_item import NextItemNetwork, Reading, with_returns

DEFAULT_CANDIDATES = 100
WARMUP_BATCH_SIZES = (1, 2, 8, 32)


@dataclass(frozen=True, slots=True)
class ServableParts:
    """What the servable is made of; `intent` None: the training data had no times.

    is_searched: it answers readings, and whoever asks searches the catalogue.
    """

    network: NextItemNetwork
    intent: IntentModel | None
    n_features: int
    candidate_count: int = DEFAULT_CANDIDATES
    model_name: str = DEFAULT_MODEL_NAME
    is_searched: bool = False


def export_servable(parts: ServableParts, directory: Path) -> None:
    """Write SavedModel and warm-up requests into `directory`, which exists."""
    servable = Servable(parts)
    tf.saved_model.save(
        servable, str(directory), signatures=dict.fromkeys((SIGNATURE, DEFAULT_SIGNATURE), servable.recommend)
    )
    warmup = directory / WARMUP_PATH
    warmup.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(warmup)) as writer:
        for batch_size, length in product(WARMUP_BATCH_SIZES, (1, parts.network.max_length)):
            writer.write(_warmup_record(parts, batch_size, length))


class Servable(tf.Module):  # type: ignore[misc] # TensorFlow has no types
    """The graph, ready to be called or saved.

    The item matrix lies transposed beside the table: scoring reads it twice as fast that way. It holds the network's
    variables, not its Keras layers: of those a SavedModel restores copies that the graph does not read.
    """

    def __init__(self, parts: ServableParts) -> None:
        super().__init__(name="servable")
        self._weights = parts.network.dense_variables
        self._read = parts.network.read
        self._max_length = parts.network.max_length
        self._item_vectors = tf.Variable(parts.network.item_vectors(), trainable=False, name="item_vectors")
        self._candidate_count = min(parts.candidate_count, parts.network.n_items)
        self._item_matrix = None
        if not parts.is_searched:
            self._item_matrix = tf.Variable(parts.network.item_matrix(), trainable=False, name="item_matrix")
        self._intent = None if parts.intent is None else _IntentHeads(parts.intent)
        self.recommend = tf.function(
            self._graph,
            autograph=False,
            input_signature=[
                tf.TensorSpec((None, None), tf.int32, name="items"),
                tf.TensorSpec((None,), tf.int32, name="length"),
                tf.TensorSpec((None, parts.n_features), tf.float32, name="features"),
            ],
        )

    def _graph(self, items: tf.Tensor, length: tf.Tensor, features: tf.Tensor) -> dict[str, tf.Tensor]:
        no_intent = tf.fill([tf.shape(features)[0], len(IntentProbabilities._fields)], np.float32("nan"))
        intent = no_intent if self._intent is None else self._intent.probabilities(features)
        items, reading = self._reading(items, length)
        if self._item_matrix is None:
            return {"vectors": reading.vectors, "returns": reading.returns, "intent": intent}
        logits = with_returns(tf.matmul(reading.vectors, self._item_matrix), reading.returns, items - 1)
        best, places = tf.math.top_k(logits, self._candidate_count)
        # Below the best one, so that no exponential overflows: GRU4Rec's scores have no bound.
        total = tf.reduce_sum(tf.exp(logits - best[:, :1]), axis=1, keepdims=True)
        return {"items": places + 1, "scores": tf.exp(best - best[:, :1]) / total, "intent": intent}

    def _reading(self, items: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, Reading]:
        """Read each row after its last item, from its latest `max_length` ones; those come first, zeros behind."""
        padded = tf.shape(items)[1]
        length = tf.clip_by_value(length, 0, padded)
        n_read = tf.minimum(length, self._max_length)
        steps = tf.maximum(tf.reduce_max(n_read), 1)
        place = tf.range(steps)
        places = tf.where(place < n_read[:, tf.newaxis], (length - n_read)[:, tf.newaxis] + place, -1)
        items = tf.pad(items, [[0, 0], [0, tf.maximum(1 - padded, 0)]])
        items = tf.where(places < 0, 0, tf.gather(items, tf.maximum(places, 0), batch_dims=1))
        last = tf.range(tf.shape(items)[0]) * steps + tf.maximum(n_read - 1, 0)
        return items, self._read(tf.gather(self._item_vectors, items), last)


class _IntentHeads:
    """The heads of session_model.intent.model as graph operations, (n, n_features) -> (n, 3)."""

    def __init__(self, model: IntentModel) -> None:
        self._heads = {name: _IntentHead(head.served) for name, head in model.heads.items()}

    def probabilities(self, features: tf.Tensor) -> tf.Tensor:
        """Return the columns of `IntentProbabilities`."""
        unknown = tf.fill([tf.shape(features)[0], 1], np.float32("nan"))
        columns = {name: head.probabilities(features) for name, head in self._heads.items()}
        if "cart_abandonment" in columns:
            has_cart = features[:, CART_PRESENT : CART_PRESENT + 1] > 0
            columns["cart_abandonment"] = tf.where(has_cart, columns["cart_abandonment"], unknown)
        return tf.concat([columns.get(name, unknown) for name in IntentProbabilities._fields], axis=1)


class _IntentHead:
    """One calibrated model as graph operations, (n, n_features) -> (n, 1)."""

    def __init__(self, calibrated: CalibratedModel) -> None:
        layers = calibrated.model.layers
        self._weights = layers.weights.astype(np.float32)[:, np.newaxis]
        self._bias = np.float32(layers.bias)
        self._hidden_weights, self._hidden_biases, self._outputs = (
            array.astype(np.float32)
            for array in (layers.hidden_weights, layers.hidden_biases, layers.outputs[:, np.newaxis])
        )
        self._calibration = calibrated.calibration

    def probabilities(self, features: tf.Tensor) -> tf.Tensor:
        """Return the probability of each row."""
        logits = tf.matmul(features, self._weights) + self._bias
        if len(self._outputs):
            hidden = tf.tanh(tf.matmul(features, self._hidden_weights) + self._hidden_biases)
            logits += tf.matmul(hidden, self._outputs)
        if self._calibration.knots:
            return _interpolate(logits, self._calibration)
        return tf.sigmoid(self._calibration.slope * logits + self._calibration.intercept)


def _interpolate(logits: tf.Tensor, calibration: Calibration) -> tf.Tensor:
    """Follow the knots as np.interp does: the first probability plus the rise of each segment passed so far."""
    knots: NDArray[np.float32] = np.array(calibration.knots, np.float32)
    widths, rises = np.diff(knots[:, 0]), np.diff(knots[:, 1])
    passed = tf.clip_by_value(logits - knots[:-1, 0], 0.0, widths)
    return knots[0, 1] + tf.reduce_sum(passed * (rises / widths), axis=1, keepdims=True)


def _warmup_record(parts: ServableParts, batch_size: int, length: int) -> bytes:
    inputs = {
        "items": np.ones((batch_size, length), np.int32),
        "length": np.full(batch_size, length, np.int32),
        "features": np.zeros((batch_size, parts.n_features), np.float32),
    }
    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name=parts.model_name, signature_name=SIGNATURE),
        inputs={name: tf.make_tensor_proto(array) for name, array in inputs.items()},
    )
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    return bytes(log.SerializeToString())
