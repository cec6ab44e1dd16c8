"""A SavedModel in process, behind the signature of a release."""

from pathlib import Path

import numpy as np
import pytest

from schemas.ranking import ModelInput
from schemas.release_folder import ReleaseError
from session_model.networks.exported_model import ExportedModel


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export a model that ranks the last item first, with the row's length and first feature as scores."""
    import tensorflow as tf

    module = tf.Module()

    def recommend(items: object, length: object, features: object) -> dict[str, object]:
        last = tf.gather(items, tf.maximum(length - 1, 0), axis=1, batch_dims=1)
        scores = tf.stack([tf.cast(length, tf.float32), features[:, 0]], axis=1)
        return {"items": tf.stack([last, last + 1], axis=1), "scores": scores, "intent": features[:, :1]}

    specs = {
        "items": tf.TensorSpec((None, None), tf.int32, "items"),
        "length": tf.TensorSpec((None,), tf.int32, "length"),
        "features": tf.TensorSpec((None, 2), tf.float32, "features"),
    }
    module.recommend = tf.function(recommend, autograph=False).get_concrete_function(**specs)
    path = tmp_path_factory.mktemp("model")
    tf.saved_model.save(module, str(path), signatures=module.recommend)
    return path


def test_rows_of_different_length_go_in_one_call(directory: Path) -> None:
    """Each row keeps its own length and features, whatever the padding; an empty row is allowed."""
    inputs = [
        ModelInput(np.array(items, np.int32), np.array([feature, 0.0], np.float32))
        for items, feature in (([5, 6, 7], 0.1), ([4], 0.2), ([], -0.3))
    ]
    rankings = ExportedModel(directory, max_length=4).rank(inputs)
    assert [ranking.item_indices[0] for ranking in rankings] == [7, 4, 0]
    assert [ranking.scores.tolist() for ranking in rankings] == pytest.approx(
        [pytest.approx([3.0, 0.1]), pytest.approx([1.0, 0.2]), pytest.approx([0.0, -0.3])]
    )


def test_intent_comes_with_the_ranking(directory: Path) -> None:
    """What the graph does not tell is None."""
    inputs = [ModelInput(np.array([4], np.int32), np.array([value, 0.0], np.float32)) for value in (0.25, np.nan)]
    outputs = ExportedModel(directory, max_length=4).predict(inputs)
    assert [output.intent.purchase for output in outputs] == [0.25, None]
    assert [output.candidates.item_indices.tolist() for output in outputs] == [[4, 5], [4, 5]]


def test_a_directory_without_a_model_is_one_line(tmp_path: Path) -> None:
    """The error names the directory and the remedy."""
    with pytest.raises(ReleaseError, match="holds no SavedModel"):
        ExportedModel(tmp_path, max_length=4)
