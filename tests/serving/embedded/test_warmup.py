from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.embedded import warmup
from serving.embedded.errors import StatusError
from serving.embedded.server import load_and_warm_up
from tests.serving import rec_model


@pytest.fixture
def version_path(tmp_path: Path) -> Path:
    """Export a version that nothing is wrong with."""
    rec_model.export(tmp_path / "1")
    return tmp_path / "1"


def test_good_requests_warm_up(version_path: Path) -> None:
    """A version whose warm-up requests succeed is loaded."""
    rec_model.write_warmup(version_path, *[rec_model.recommend_request()] * 2)
    assert "serving_default" in load_and_warm_up(version_path).signature_defs


def test_a_failing_request_fails_the_load(version_path: Path) -> None:
    """The error names the record and keeps the code and the cause."""
    bad = rec_model.recommend_request()
    bad.model_spec.signature_name = "zzz"
    rec_model.write_warmup(version_path, rec_model.recommend_request(), bad)
    with pytest.raises(StatusError, match=r'warmup record 1 failed: .*"zzz"') as caught:
        load_and_warm_up(version_path)
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_too_many_records_fail_the_load(version_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of warm-up records is bounded."""
    monkeypatch.setattr(warmup, "MAX_WARMUP_RECORDS", 2)
    rec_model.write_warmup(version_path, *[rec_model.recommend_request()] * 3)
    with pytest.raises(StatusError, match="exceeds the maximum"):
        load_and_warm_up(version_path)


def test_a_damaged_file_fails_the_load(version_path: Path) -> None:
    """Warm-up records are checksummed; a file that was cut is no warm-up."""
    rec_model.write_warmup(version_path, rec_model.recommend_request())
    path = version_path / warmup.WARMUP_PATH
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StatusError, match="Failed to read warmup records"):
        load_and_warm_up(version_path)


def test_other_kinds_of_record_fail_the_load(version_path: Path) -> None:
    """A record of an API that this server lacks is an error, not a silent skip."""
    path = version_path / warmup.WARMUP_PATH
    path.parent.mkdir()
    log = prediction_log_pb2.PredictionLog(classify_log=prediction_log_pb2.ClassifyLog())
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())
    with pytest.raises(StatusError, match="no Predict request"):
        load_and_warm_up(version_path)
