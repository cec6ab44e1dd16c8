from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from schemas.servable import WARMUP_PATH
from session_model.intent.calibration import Calibration
from session_model.intent.head import CalibratedModel, IntentHead
from session_model.intent.model import IntentModel
from session_model.intent.prefix_features import CART_PRESENT, FEATURE_NAMES
from session_model.networks.export import WARMUP_BATCH_SIZES, Servable, ServableParts, export_servable
from session_model.networks.gru import SessionGru, unit_rows
from session_model.networks.gru4rec import Gru4Rec
from session_model.networks.settings import Gru4RecSettings, GruSettings
from tests.session_model.intents import N_FEATURES, constant, head, purchase_only, random_network

N_ITEMS = 30
K = 7
FEATURES = np.random.default_rng(0).normal(0, 3, (2, N_FEATURES)).astype(np.float32)
INTENT = IntentModel(FEATURE_NAMES, *(head(random_network(seed)) for seed in (1, 2, 3)))
ALLOWED_OPS = """
    AddV2 AssignVariableOp BatchMatMulV2 BiasAdd BroadcastTo Cast ConcatV2 Const DisableCopyOnRead Equal Exp
    ExpandDims Fill FloorMod GatherV2 Greater GreaterEqual Identity Less LogicalAnd MatMul MatrixBandPart Max
    Maximum MergeV2Checkpoints Minimum Mul NoOp OnesLike Pack Pad Placeholder Prod Range ReadVariableOp RealDiv
    Reshape ResourceGather RestoreV2 Rsqrt SaveV2 Select SelectV2 Shape ShardedFilename Sigmoid Softmax Split Square
    Squeeze StatefulPartitionedCall StaticRegexFullMatch StridedSlice StringJoin Sub Sum Tanh TensorListFromTensor
    TensorListGetItem TensorListReserve TensorListSetItem TensorListStack TensorScatterAdd TopKV2 Transpose
    VarHandleOp VarIsInitializedOp While
"""
Answer = dict[str, np.ndarray]
Recommend = Callable[[list[list[int]], list[int]], Answer]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "attention"])
def model(request: pytest.FixtureRequest) -> SessionGru:
    """Give an untrained model of each shape: its scores are as good as any."""
    settings = GruSettings(units=8, dimension=6, max_length=5, has_attention=request.param)
    untrained = SessionGru(N_ITEMS, settings, seed=1)
    untrained.returns.bias.assign([1.0, 2.0, -3.0])  # at first it is zero and would test nothing
    return untrained


@pytest.fixture(scope="module")
def directory(model: SessionGru, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export once."""
    path = tmp_path_factory.mktemp("servable")
    export_servable(ServableParts(model, INTENT, N_FEATURES, K), path)
    return path


@pytest.fixture(scope="module")
def recommend(directory: Path) -> Recommend:
    """Call the signature as it was saved."""
    loaded = tf.saved_model.load(str(directory))
    assert set(loaded.signatures) == {"recommend", "serving_default"}

    def call(items: list[list[int]], length: list[int]) -> Answer:
        features = np.resize(FEATURES, (len(length), N_FEATURES)).astype(np.float32)
        answer = loaded.signatures["recommend"](
            items=tf.constant(items, tf.int32, (len(length), len(items[0]) if items else 4)),
            length=tf.constant(length, tf.int32),
            features=tf.constant(features),
        )
        return {name: tensor.numpy() for name, tensor in answer.items()}

    call.loaded = loaded  # type: ignore[attr-defined] # variables live as long as the object that was loaded
    return call


def test_the_served_scores_are_those_of_the_model(model: SessionGru, recommend: Recommend) -> None:
    """Items and scores equal a full softmax over the catalogue, computed from the Keras layers."""
    answer = recommend([[3, 9, 4], [7, 0, 0]], [3, 1])
    vectors = unit_rows(model.item_table)
    items = np.array([[3, 9, 4], [7, 0, 0]])
    session, returns = (tensor.numpy() for tensor in model.read(tf.gather(vectors, items), tf.constant([2, 3])))
    logits = 16.0 * (session @ vectors.numpy()[1:].T)
    for row, place in ((0, 0), (0, 1), (0, 2), (1, 0)):
        logits[row, items[row, place] - 1] += returns[row, place]
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :K]
    assert np.array_equal(answer["items"], best + 1)
    assert answer["scores"] == pytest.approx(np.take_along_axis(probabilities, best, axis=1), rel=1e-4)


def test_types_and_shapes_are_the_contract(recommend: Recommend) -> None:
    """Int32 items, float32 scores and intent, whatever the batch."""
    answer = recommend([[1], [2], [3]], [1, 1, 1])
    kinds = {name: (array.dtype, array.shape) for name, array in answer.items()}
    assert kinds == {"items": (np.int32, (3, K)), "scores": (np.float32, (3, K)), "intent": (np.float32, (3, 3))}
    assert answer["items"].min() >= 1


@pytest.mark.parametrize("padding", [0, 5, -3, N_ITEMS + 99])
def test_padding_changes_nothing(recommend: Recommend, padding: int) -> None:
    """Neither the padded length nor what stands in the padding, be it no item at all, is looked at."""
    bare = recommend([[3, 9]], [2])
    padded = recommend([[3, 9, *[padding] * 20]], [2])
    assert np.array_equal(bare["items"], padded["items"])
    assert padded["scores"] == pytest.approx(bare["scores"], rel=1e-5)


def test_rows_do_not_see_each_other(recommend: Recommend) -> None:
    """A row's answer is the same alone and beside longer ones."""
    alone, batch = recommend([[3]], [1]), recommend([[3, 0, 0, 0], [1, 2, 3, 4]], [1, 4])
    assert np.array_equal(alone["items"][0], batch["items"][0])
    assert batch["scores"][0] == pytest.approx(alone["scores"][0], rel=1e-5)


@pytest.mark.parametrize("items", [[[]], [[0, 0]], [[4, 4]]])
def test_length_zero_is_answered(recommend: Recommend, items: list[list[int]]) -> None:
    """An empty session gets finite scores instead of a crash."""
    assert np.isfinite(recommend(items, [0])["scores"]).all()


def test_an_empty_batch_is_answered(recommend: Recommend) -> None:
    """No row in, no row out."""
    assert recommend([], [])["items"].shape == (0, K)


def test_a_length_beyond_the_padded_one_counts_as_all(recommend: Recommend) -> None:
    """A wrong length cannot read outside its row."""
    assert np.array_equal(recommend([[3, 9]], [99])["items"], recommend([[3, 9]], [2])["items"])


def test_an_item_outside_the_table_is_an_error(recommend: Recommend) -> None:
    """A client with another vocabulary is told instead of answered."""
    with pytest.raises(tf.errors.InvalidArgumentError, match="is not in"):
        recommend([[N_ITEMS + 1]], [1])


def test_equal_scores_are_ordered_by_index(model: SessionGru) -> None:
    """With one vector for all items the answer is 1, 2, 3, ..."""
    twin = SessionGru(N_ITEMS, model.settings, seed=2)
    twin.item_table.assign(tf.ones_like(twin.item_table))
    servable = Servable(ServableParts(twin, None, N_FEATURES, K))
    answer = servable.recommend(np.array([[5]], np.int32), np.array([1], np.int32), FEATURES[:1])
    assert answer["items"].numpy().tolist() == [list(range(1, K + 1))]


def test_the_answer_is_never_longer_than_the_catalogue(model: SessionGru) -> None:
    """A catalogue smaller than the candidate count is answered whole."""
    servable = Servable(ServableParts(model, None, N_FEATURES, 10 * N_ITEMS))
    answer = servable.recommend(np.array([[5]], np.int32), np.array([1], np.int32), FEATURES[:1])
    assert sorted(answer["items"].numpy()[0]) == list(range(1, N_ITEMS + 1))
    assert answer["scores"].numpy().sum() == pytest.approx(1.0, abs=1e-5)


KNOTS = ((-1.0, 0.1), (0.0, 0.3), (1.0, 0.9))


@pytest.mark.parametrize("calibration", [Calibration(), Calibration(1.5, -0.4), Calibration(knots=KNOTS)])
def test_intent_in_the_graph_is_intent_in_numpy(model: SessionGru, calibration: Calibration) -> None:
    """Served and fallback probabilities agree for networks, a regression and each kind of calibration, NaN alike.

    Beyond the outer knots, too; the cart is asked in some of the rows.
    """
    heads = [
        IntentHead(CalibratedModel(one, calibration), CalibratedModel(one))
        for one in (random_network(1), constant(-1.0), random_network(2))
    ]
    intent = IntentModel(FEATURE_NAMES, *heads)
    features = np.random.default_rng(0).normal(0, 3, (50, N_FEATURES)).astype(np.float32)
    features[:, CART_PRESENT] = np.arange(50) % 2
    servable = Servable(ServableParts(model, intent, N_FEATURES, K))
    answer = servable.recommend(np.ones((50, 1), np.int32), np.ones(50, np.int32), features)
    assert answer["intent"].numpy() == pytest.approx(intent.probabilities(features), abs=1e-5, nan_ok=True)
    assert np.isnan(answer["intent"].numpy()).sum(axis=0).tolist() == [0, 0, 25]


def test_what_was_not_learned_is_nan_in_its_column(model: SessionGru) -> None:
    """The columns keep their order: purchase, leave, cart_abandonment."""
    servable = Servable(ServableParts(model, purchase_only(0.0), N_FEATURES, K))
    answer = servable.recommend(np.array([[5]], np.int32), np.array([1], np.int32), FEATURES[:1])
    assert answer["intent"].numpy()[0].tolist() == pytest.approx([0.5, np.nan, np.nan], nan_ok=True)


def test_without_labels_intent_is_nan(model: SessionGru) -> None:
    """A release without purchases claims no probability."""
    servable = Servable(ServableParts(model, None, N_FEATURES, K))
    answer = servable.recommend(np.array([[5]], np.int32), np.array([1], np.int32), FEATURES[:1])
    assert np.isnan(answer["intent"].numpy()).all()


def test_only_operations_that_older_servers_know(directory: Path) -> None:
    """The newest server is older than the TensorFlow that exports; its operations have been there for years."""
    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    (meta_graph,) = saved.meta_graphs
    graph = meta_graph.graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert {node.op for node in nodes} - set(ALLOWED_OPS.split()) == set()
    assert graph.versions.min_consumer <= 12


def test_warm_up_requests_are_answered(directory: Path, recommend: Recommend) -> None:
    """A record that fails would keep a server from loading the version."""
    records = [bytes(record.numpy()) for record in tf.data.TFRecordDataset(str(directory / WARMUP_PATH))]
    assert len(records) == 2 * len(WARMUP_BATCH_SIZES)
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert (request.model_spec.name, request.model_spec.signature_name) == ("session_gru", "recommend")
        inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        assert inputs["features"].shape == (len(inputs["length"]), N_FEATURES)
        assert len(recommend(inputs["items"].tolist(), inputs["length"].tolist())["items"]) == len(inputs["length"])


def test_gru4rec_is_served_by_the_same_signature(tmp_path: Path) -> None:
    """Its scores have a bias and no bound, and still come back as a softmax over the catalogue."""
    gru = Gru4Rec(N_ITEMS, Gru4RecSettings("cross-entropy", 8, 4, 0.1, 0.0, 0.5, max_length=5))
    gru.item_table[1:, -1].assign(np.linspace(150.0, 200.0, N_ITEMS, dtype=np.float32))
    export_servable(ServableParts(gru, None, N_FEATURES, K), tmp_path)
    saved = tf.saved_model.load(str(tmp_path))
    items, length = tf.constant([[3, 9, 4], [7, 0, 0]]), tf.constant([3, 1])
    answer = saved.signatures["recommend"](items=items, length=length, features=tf.constant(FEATURES))
    sessions = gru.read(tf.gather(gru.item_vectors(), items), tf.constant([2, 3])).vectors
    scores = sessions.numpy().astype(np.float64) @ gru.item_matrix()
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    assert np.array_equal(answer["items"].numpy(), best + 1)
    assert answer["scores"].numpy() == pytest.approx(np.take_along_axis(probabilities, best, axis=1), rel=1e-3)
