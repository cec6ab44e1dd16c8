"""What every network keeps, whatever reads the session: see session_model.networks.next_item."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from schemas.ranking import ModelInput
from schemas.release_folder import ReleaseError
from schemas.servable import WARMUP_PATH
from session_model.data.item_sequences import ItemSequences
from session_model.fitting import item_search
from session_model.intent.model import IntentModel
from session_model.intent.prefix_features import FEATURE_NAMES
from session_model.networks.build import build_network
from session_model.networks.export import WARMUP_BATCH_SIZES, ServableParts, export_servable
from session_model.networks.exported_model import ExportedModel
from session_model.networks.gru4rec import Gru4Rec
from session_model.networks.gru4rec_training import _TrainingRun as PublishedRun
from session_model.networks.next_item import NextItemNetwork, Reading
from session_model.networks.settings import (
    AttentionSettings,
    Gru4RecSettings,
    GruSettings,
    NetworkSettings,
    TrainingSettings,
)
from session_model.networks.training_run import TrainingRun
from session_model.networks.training_task import TrainingTask
from session_model.release.copies import load_release
from session_model.release.release import Release
from session_model.runs.progress import NoProgress
from session_model.training.presets import AttentionRecipe, GruRecipe, Preset
from session_model.training.train_release import TrainRequest, train_release
from tests.session_model.intents import N_FEATURES, head, random_network

N_ITEMS, MAX_LENGTH, K = 30, 5, 7
FEATURES = np.random.default_rng(0).normal(0, 3, (2, N_FEATURES)).astype(np.float32)
INTENT = IntentModel(FEATURE_NAMES, *(head(random_network(seed)) for seed in (1, 2, 3)))
GRU = GruSettings(units=8, dimension=6, item_dropout=0.0, state_dropout=0.0, max_length=MAX_LENGTH)
GRU_WITH_ATTENTION = GruSettings(8, 6, item_dropout=0.0, state_dropout=0.0, max_length=MAX_LENGTH, has_attention=True)
ATTENTION = AttentionSettings(dimension=6, dropout=0.0, max_length=MAX_LENGTH)
GRU4REC = Gru4RecSettings("cross-entropy", 8, 4, 0.1, 0.0, 0.5, negatives=N_ITEMS, epochs=2, max_length=MAX_LENGTH)
TRAINING = TrainingSettings(epochs=2, batch_targets=64, negatives=N_ITEMS)
Answer = dict[str, np.ndarray]
Recommend = Callable[[list[list[int]], list[int]], Answer]


def own(settings: NetworkSettings, n_items: int = N_ITEMS, seed: int = 1) -> NextItemNetwork:
    """Make a network whose every weight is moved: at first some are zero and would test nothing."""
    network, rng = build_network(n_items, settings, seed=seed), np.random.default_rng(seed)
    for variable in network.dense_variables:
        variable.assign_add(rng.normal(0, 0.3, variable.shape).astype(np.float32))
    return network


def published(n_items: int = N_ITEMS, seed: int = 1) -> NextItemNetwork:
    """Make GRU4Rec with scores that have no bound."""
    network = Gru4Rec(n_items, Gru4RecSettings("cross-entropy", 8, 4, 0.1, 0.0, 0.5, max_length=MAX_LENGTH, seed=seed))
    network.item_table[1:, -1].assign(np.linspace(150.0, 200.0, n_items, dtype=np.float32))
    return network


def own_losses(settings: NetworkSettings, sequences: ItemSequences) -> Iterator[float]:
    """Train on one batch again and again; give the loss before each step."""
    run = TrainingRun(TrainingTask(sequences, N_ITEMS), settings, TRAINING)
    batch = next(run.plan.epoch(np.random.default_rng(0)))
    while True:
        yield run.train(batch)


def published_losses(sequences: ItemSequences) -> Iterator[float]:
    """Do the same with GRU4Rec."""
    run = PublishedRun(TrainingTask(sequences, N_ITEMS), GRU4REC)
    step = next(run.batches.epoch())
    while True:
        yield run.train(step)


@dataclass(frozen=True)
class Kind:
    """An implementation: how it is made, trained and released.

    more_ops: what its graph needs beyond `OPS`.
    """

    make: Callable[..., NextItemNetwork]
    losses: Callable[[ItemSequences], Iterator[float]]
    preset: Preset
    more_ops: str = ""


def preset(*recipes: GruRecipe | AttentionRecipe, gru4rec: Gru4RecSettings | None = None) -> Preset:
    """Try little."""
    return Preset(recipes, knn_trials=2, knn_examples=20, blend_examples=20, gru4rec=gru4rec)


KINDS = {
    "gru": Kind(lambda *given: own(GRU, *given), lambda rows: own_losses(GRU, rows), preset(GruRecipe(GRU, TRAINING))),
    "gru with attention": Kind(
        lambda *given: own(GRU_WITH_ATTENTION, *given),
        lambda rows: own_losses(GRU_WITH_ATTENTION, rows),
        preset(GruRecipe(GRU_WITH_ATTENTION, TRAINING)),
    ),
    "attention": Kind(
        lambda *given: own(ATTENTION, *given),
        lambda rows: own_losses(ATTENTION, rows),
        preset(AttentionRecipe(ATTENTION, TRAINING)),
        more_ops="Mean Neg Relu SquaredDifference StopGradient",
    ),
    "gru4rec": Kind(published, published_losses, preset(gru4rec=GRU4REC)),
}
OPS = """
    AddV2 AssignVariableOp BatchMatMulV2 BiasAdd BroadcastTo Cast ConcatV2 Const DisableCopyOnRead Equal Exp
    ExpandDims Fill FloorMod GatherV2 Greater GreaterEqual Identity Less LogicalAnd MatMul MatrixBandPart Max
    Maximum MergeV2Checkpoints Minimum Mul NoOp OnesLike Pack Pad Placeholder Prod Range ReadVariableOp RealDiv
    Reshape ResourceGather RestoreV2 Rsqrt SaveV2 Select SelectV2 Shape ShardedFilename Sigmoid Softmax Split Square
    Squeeze StatefulPartitionedCall StaticRegexFullMatch StridedSlice StringJoin Sub Sum Tanh TensorListFromTensor
    TensorListGetItem TensorListReserve TensorListSetItem TensorListStack TensorScatterAdd TopKV2 Transpose
    VarHandleOp VarIsInitializedOp While
"""


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Return each implementation in turn."""
    return KINDS[request.param]


@pytest.fixture(scope="module")
def network(kind: Kind) -> NextItemNetwork:
    """Make one without training: its scores are as good as any."""
    return kind.make()


@pytest.fixture(scope="module")
def directory(network: NextItemNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export once."""
    path = tmp_path_factory.mktemp("servable")
    export_servable(ServableParts(network, INTENT, N_FEATURES, K), path)
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


@contextmanager
def in_a_session(directory: Path) -> Iterator[Recommend]:
    """Call the signature as TensorFlow Serving does: by a session that ran the graph's own restore operation."""
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session() as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], str(directory)).signature_def["recommend"]
        outputs = {name: one.name for name, one in signature.outputs.items()}

        def call(items: list[list[int]], length: list[int]) -> Answer:
            given = {"items": items, "length": length, "features": np.resize(FEATURES, (len(length), N_FEATURES))}
            return session.run(outputs, {signature.inputs[name].name: value for name, value in given.items()})

        yield call


def read(network: NextItemNetwork, items: list[list[int]], positions: list[int]) -> Reading:
    """Read rows of items as the servable does."""
    reading = network.read(tf.gather(network.item_vectors(), items), tf.constant(positions))
    return Reading(*(tensor.numpy() for tensor in reading))


def logits_of(network: NextItemNetwork, items: list[list[int]], positions: list[int]) -> np.ndarray:
    """Score the catalogue behind each position, by hand."""
    reading = read(network, items, positions)
    logits = reading.vectors.astype(np.float64) @ network.item_matrix()
    for row, position in zip(range(len(positions)), positions, strict=True):
        for place, item in enumerate(items[position // len(items[0])]):
            if item:
                logits[row, item - 1] += reading.returns[row, place]
    return logits


# --- the network -----------------------------------------------------------------------------------------------------


def test_shapes_and_types_are_the_contract(network: NextItemNetwork) -> None:
    """Vectors of items and sessions fit each other, and padding is zero."""
    assert (network.n_items, network.max_length) == (N_ITEMS, MAX_LENGTH)
    vectors, matrix, reading = network.item_vectors(), network.item_matrix(), read(network, [[3, 9, 4]], [2, 0])
    assert (vectors.dtype, matrix.dtype) == (np.float32, np.float32)
    assert (len(vectors), matrix.shape[1]) == (N_ITEMS + 1, N_ITEMS)
    assert not vectors[0].any()
    assert (reading.vectors.dtype, reading.vectors.shape) == (np.float32, (2, len(matrix)))
    assert (reading.returns.dtype, reading.returns.shape) == (np.float32, (2, 3))


def test_no_state_is_carried_to_the_next_session(network: NextItemNetwork) -> None:
    """A session's vector is the same whatever was asked before and whatever stands beside it."""
    alone = read(network, [[2, 5]], [1])
    read(network, [[8, 8]], [1])
    beside = read(network, [[7, 7], [2, 5]], [1, 3])
    assert beside.vectors[1] == pytest.approx(alone.vectors[0], abs=1e-6)
    assert beside.returns[1] == pytest.approx(alone.returns[0], abs=1e-6)


def test_padding_and_later_items_do_not_reach_a_position(network: NextItemNetwork) -> None:
    """What stands behind a position has no say in its vector, and is never returned to."""
    short = read(network, [[2, 5]], [1])
    longer = read(network, [[2, 5, 0, 0], [2, 5, 9, 1]], [1, 5])
    assert longer.vectors == pytest.approx(np.repeat(short.vectors, 2, axis=0), abs=1e-6)
    assert longer.returns[:, :2] == pytest.approx(np.repeat(short.returns, 2, axis=0), abs=1e-6)
    assert not longer.returns[:, 2:].any()


def test_earlier_items_and_their_order_reach_a_position(network: NextItemNetwork) -> None:
    """The vector is of the session and not of its last item alone."""
    reading = read(network, [[2, 3, 5], [3, 2, 5], [7, 3, 5]], [2, 5, 8])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not np.allclose(reading.vectors[one], reading.vectors[other], atol=1e-4)


def test_one_table_is_input_and_output(kind: Kind) -> None:
    """Moving an item's row moves how it is read and how it is scored; no other weight is as large as the catalogue."""
    network = kind.make(1_000)
    before = network.item_vectors()[5].copy(), network.item_matrix()[:, 4].copy()
    network.item_table[5].assign(tf.reverse(network.item_table[5], [0]) + 0.3)
    assert not np.allclose(before[0], network.item_vectors()[5])
    assert not np.allclose(before[1], network.item_matrix()[:, 4])
    assert network.item_table.shape[0] == 1_001
    assert all({1_000, 1_001}.isdisjoint(variable.shape) for variable in network.dense_variables)


def test_a_seed_decides_the_first_weights(kind: Kind) -> None:
    """To the bit; another one gives others."""
    one, same, other = (logits_of(kind.make(N_ITEMS, seed), [[1, 2]], [1]) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


# --- trained ---------------------------------------------------------------------------------------------------------


def test_a_training_step_lowers_the_loss(kind: Kind) -> None:
    """On the batch that it was made on."""
    losses = kind.losses(ItemSequences(np.arange(0, 17, 4), np.arange(1, 17, dtype=np.int32)))
    before, after = next(losses), next(losses)
    assert after < before
    assert before == pytest.approx(
        next(kind.losses(ItemSequences(np.arange(0, 17, 4), np.arange(1, 17, dtype=np.int32))))
    )


def released(kind: Kind, folder: Path) -> Release:
    """Train on a catalogue that goes round, publish, and load what was published."""
    rng = np.random.default_rng(0)
    rows = ((first + np.arange(4)) % N_ITEMS for first in rng.integers(0, N_ITEMS, 250))
    folder.mkdir()
    (folder / "data.txt").write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))
    request = TrainRequest(folder / "data.txt", "sequences", folder / "models", kind.preset)
    return load_release(train_release(request, NoProgress()).directory)


def asked(*prefixes: list[int]) -> list[ModelInput]:
    """Ask with some sessions."""
    return [ModelInput(np.array(items, np.int32), np.zeros(N_FEATURES, np.float32)) for items in prefixes]


def test_a_release_of_it_is_loaded_and_asked(kind: Kind, tmp_path: Path) -> None:
    """The same steps train, export and publish it, and what is published answers in process."""
    release = released(kind, tmp_path / "whole")
    assert (release.manifest.max_length, release.manifest.candidate_count) == (MAX_LENGTH, N_ITEMS)
    (ranking,) = ExportedModel.of(release).rank(asked([1, 2]))
    assert sorted(ranking.item_indices) == list(range(1, N_ITEMS + 1))
    assert ranking.scores.sum() == pytest.approx(1.0, abs=1e-4)


def test_a_searched_catalogue_is_ranked_as_one_that_is_scored_whole(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release of the same weights, whose SavedModel holds no item matrix; its recall is in the manifest."""
    expected = ExportedModel.of(released(kind, tmp_path / "whole")).rank(asked(*SESSIONS))
    monkeypatch.setattr(item_search, "SEARCHED_ITEMS", N_ITEMS)
    monkeypatch.setattr(item_search, "RECALLED", 5)
    release = released(kind, tmp_path / "searched")
    assert release.manifest.metrics["search_recall_at_100"] == 1.0
    assert "item_matrix" not in str(tf.train.list_variables(str(release.directory / "variables/variables")))
    found = ExportedModel.of(release).rank(asked(*SESSIONS))
    for one, other in zip(found, expected, strict=True):
        assert one.item_indices.tolist() == other.item_indices.tolist()
        assert one.scores == pytest.approx(other.scores, abs=1e-5)
    with pytest.raises(ReleaseError, match="give the whole release"):
        ExportedModel(release.directory, MAX_LENGTH).rank(asked([1]))


SESSIONS = ([1, 2], [7, 8, 9, 10, 11], [4, 4, 3], [30])


# --- exported --------------------------------------------------------------------------------------------------------


def test_the_served_scores_are_those_of_the_network(network: NextItemNetwork, recommend: Recommend) -> None:
    """Items and scores equal a full softmax over the catalogue, computed from what the network reads."""
    answer = recommend([[3, 9, 4], [7, 0, 0]], [3, 1])
    logits = logits_of(network, [[3, 9, 4], [7, 0, 0]], [2, 3])
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :K]
    assert np.array_equal(answer["items"], best + 1)
    assert answer["scores"] == pytest.approx(np.take_along_axis(probabilities, best, axis=1), rel=1e-3)


def test_a_server_without_python_restores_every_weight(directory: Path, recommend: Recommend) -> None:
    """TensorFlow Serving knows no objects: what its restore operation leaves out has no value there."""
    asked = [[3, 9, 4], [7, 0, 0]], [3, 1]
    expected = recommend(*asked)
    with in_a_session(directory) as served:
        answer = served(*asked)
    assert np.array_equal(answer["items"], expected["items"])
    assert answer["scores"] == pytest.approx(expected["scores"], abs=1e-6)
    assert answer["intent"] == pytest.approx(expected["intent"], abs=1e-6, nan_ok=True)


def test_answers_have_the_types_and_shapes_of_the_signature(recommend: Recommend) -> None:
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


def test_of_a_long_row_the_latest_items_are_read(recommend: Recommend) -> None:
    """A client that sends more than the release reads is answered, as if it had sent no more, and costs no more."""
    latest = recommend([[4, 5, 6, 7, 8], [1, 2, 3, 0, 0]], [5, 3])
    longer = recommend([[1, 2, 3, 4, 5, 6, 7, 8, 0], [1, 2, 3, 0, 0, 0, 0, 0, 0]], [8, 3])
    assert np.array_equal(longer["items"], latest["items"])
    assert longer["scores"] == pytest.approx(latest["scores"], rel=1e-5)


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


def test_only_operations_that_older_servers_know(kind: Kind, directory: Path) -> None:
    """The newest server is older than the TensorFlow that exports; its operations have been there for years."""
    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    (meta_graph,) = saved.meta_graphs
    graph = meta_graph.graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert {node.op for node in nodes} - set(OPS.split()) == set(kind.more_ops.split())
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
