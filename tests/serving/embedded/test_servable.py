import shutil
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from serving.embedded.errors import StatusError
from serving.embedded.servable import load_servable
from tests.serving import rec_model


class Complex(tf.Module):
    """A signature of a type that the server does not carry."""

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.complex64, "z")])
    def conjugate(self, z: Any) -> dict[str, Any]:
        """Conjugate."""
        return {"z": tf.math.conj(z)}


def load_error(path: Path) -> StatusError:
    """Expect the load to fail; return how."""
    with pytest.raises(StatusError) as caught:
        load_servable(path)
    return caught.value


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    """A folder without saved_model.pb is NOT_FOUND, with its path."""
    error = load_error(tmp_path)
    assert error.code is grpc.StatusCode.NOT_FOUND
    assert str(tmp_path) in error.message


def test_a_model_without_variables_is_refused(tmp_path: Path) -> None:
    """A partial upload fails at the load, not at each call."""
    rec_model.export(tmp_path / "1")
    shutil.rmtree(tmp_path / "1" / "variables")
    assert "variables" in load_error(tmp_path / "1").message


def test_a_model_for_training_is_refused(tmp_path: Path) -> None:
    """A SavedModel without the tag `serve` is named as such."""
    saved_model = saved_model_pb2.SavedModel()
    saved_model.meta_graphs.add().meta_info_def.tags.append("train")
    (tmp_path / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    assert "no MetaGraphDef with the tags" in load_error(tmp_path).message


def test_a_type_that_is_not_carried_is_refused_at_the_load(tmp_path: Path) -> None:
    """A version whose every call would fail does not become AVAILABLE."""
    model = Complex()
    tf.saved_model.save(model, str(tmp_path / "1"), signatures={"serving_default": model.conjugate})
    error = load_error(tmp_path / "1")
    assert error.code is grpc.StatusCode.UNIMPLEMENTED
    assert "has z of type 8" in error.message
