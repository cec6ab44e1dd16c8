"""The claim of the results table, on the smallest of its logs and with the smallest preset."""

from pathlib import Path

import pytest

from session_model.data.formats import read_sessions
from session_model.evaluation.ranking import Evaluation, HeldOut, evaluate
from session_model.networks.exported_model import ExportedModel
from session_model.release.copies import load_release
from session_model.runs.progress import NoProgress
from session_model.training.presets import PRESETS
from session_model.training.train_release import TrainRequest, train_release
from tests.session_model.public_data import public_file

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Train on six days of clicks, and score the seventh."""
    train, test = (public_file(f"rsc15_100k/rsc15_100k_{part}.tsv.gz") for part in ("train_full", "test"))
    models = tmp_path_factory.mktemp("models")
    result = train_release(TrainRequest(train, "session-rec", models, PRESETS["small"]), NoProgress())
    release = load_release(result.directory)
    model = ExportedModel.of(release)
    return evaluate(release, model, HeldOut(Path(test).name, read_sessions(test, "session-rec")))


def test_the_blend_is_ahead_of_every_voice_at_95_percent(evaluation: Evaluation) -> None:
    """In Recall@20 and in MRR@20, paired by session."""
    assert evaluation.targets == 10_152
    for name, difference in evaluation.differences.items():
        assert difference["recall_at_20"].low > 0, name
        assert difference["mrr_at_20"].low > 0, name


def test_the_small_preset_is_near_the_table(evaluation: Evaluation) -> None:
    """The laptop's recipe stays above the GRU4Rec of the papers on the same log (.66 / .33)."""
    assert evaluation.models["blend"]["recall_at_20"] > 0.69
    assert evaluation.models["blend"]["mrr_at_20"] > 0.36
