from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import InsessionError
from schemas.ids import ItemId, ItemIndex
from schemas.records import SessionEvent
from session_model.datasets import read_sessions
from session_model.gru import GruSettings
from session_model.item_sequences import ItemSequences
from session_model.presets import Preset, Recipe
from session_model.release import load_release, newest_release
from session_model.train_release import TrainRequest, popular_first, split_later, train_release
from session_model.training import TrainingSettings
from session_model.training_progress import NoProgress

TINY = Preset(
    (
        Recipe(
            GruSettings(units=8, dimension=8, max_length=4), TrainingSettings(epochs=2, batch_targets=64, negatives=64)
        ),
    ),
    knn_examples=40,
    blend_examples=40,
    knn_trials=4,
)
N_ITEMS = 10


def write_sequences(path: Path, n_sessions: int) -> Path:
    """Make sessions that walk in a circle, one a line."""
    rng = np.random.default_rng(0)
    rows = ((first + np.arange(4)) % N_ITEMS for first in rng.integers(0, N_ITEMS, n_sessions))
    path.write_text("".join(" ".join(f"item-{item}" for item in row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> TrainRequest:
    """Ask for a tiny release."""
    folder = tmp_path_factory.mktemp("train")
    return TrainRequest(write_sequences(folder / "data.txt", 300), "sequences", folder / "models", TINY)


def test_a_release_is_complete_and_knows_where_it_comes_from(request_: TrainRequest) -> None:
    """It loads, verifies, encodes events with its own vocabulary, and says what it was trained on and how well."""
    result = train_release(request_, NoProgress())
    assert newest_release(request_.models_dir) == result.directory
    release = load_release(result.directory)
    assert (release.version, release.manifest.candidate_count, release.manifest.max_length) == (1, N_ITEMS, 4)
    assert release.manifest.metrics == result.metrics
    assert result.metrics["epochs"] in {1, 2}
    assert {"validation_blend_recall_at_20", "validation_gru_mrr_at_20", "validation_targets"} <= set(result.metrics)
    assert len(release.manifest.training_data_sha256) == 64
    assert not release.manifest.has_intent
    events = [SessionEvent("view", 0, item_id) for item_id in ("item-3", "unknown", "item-4")]  # type: ignore[arg-type]
    assert [release.item_id(ItemIndex(int(index))) for index in release.encode(events).items] == ["item-3", "item-4"]
    assert any(name.endswith("saved_model.pb") for name in release.manifest.files)
    assert any(name.endswith("tf_serving_warmup_requests") for name in release.manifest.files)


def test_a_catalog_makes_room_for_items_without_clicks(request_: TrainRequest, tmp_path: Path) -> None:
    """An item of the catalog that nobody clicked can be read and ranked; how boldly is among the metrics."""
    titles = {f"item-{item}": "left" if item < 5 else "right" for item in range(N_ITEMS)} | {"item-new": "left"}
    catalog = tmp_path / "catalog.jsonl"
    catalog.write_text("".join(f'{{"item_id":"{item}","title":"{title}"}}\n' for item, title in titles.items()))
    result = train_release(replace(request_, catalog=catalog, models_dir=tmp_path / "models"), NoProgress())
    release = load_release(result.directory)
    encoded = release.encode([SessionEvent("view", 0, ItemId("item-new"))])
    (like_it,) = (release.item_id(ItemIndex(int(index))) for index in encoded.items)
    assert titles[like_it] == "left"
    assert release.index_of(ItemId("item-new")) == N_ITEMS + 1
    assert 0 <= result.metrics["discount_new"] <= 1


def test_a_spent_budget_leaves_the_final_training_out(request_: TrainRequest, tmp_path: Path) -> None:
    """The model that chose the epochs is released then: one epoch, nothing after it."""
    request = replace(request_, models_dir=tmp_path, time_budget_seconds=1e-3)
    result = train_release(request, NoProgress())
    assert [report.epoch for report in result.reports] == [1]
    assert result.reports[0].mrr_at_20 is not None
    assert load_release(result.directory).version == 1


def test_too_few_sessions_for_a_choice_are_all_learned(request_: TrainRequest, tmp_path: Path) -> None:
    """A handful of sessions trains the planned epochs, without a validation slice."""
    request = replace(request_, data=write_sequences(tmp_path / "few.txt", 30), models_dir=tmp_path / "models")
    result = train_release(request, NoProgress())
    assert [report.mrr_at_20 for report in result.reports] == [None, None]
    assert "validation_targets" not in result.metrics


def test_sessions_of_one_click_teach_nothing(request_: TrainRequest, tmp_path: Path) -> None:
    """The error names the file and what is missing, and no version appears."""
    (tmp_path / "ones.txt").write_text("a\nb\n")
    request = replace(request_, data=tmp_path / "ones.txt", models_dir=tmp_path / "models")
    with pytest.raises(InsessionError, match=r"ones\.txt: no session has two view events"):
        train_release(request, NoProgress())
    assert not (tmp_path / "models").exists()


def test_the_vocabulary_has_the_popular_first(tmp_path: Path) -> None:
    """Items are numbered by falling count, ties in order of appearance; other event types do not count."""
    (tmp_path / "a.txt").write_text("c b\na b\n")
    sessions = read_sessions(tmp_path / "a.txt", "sequences")
    assert popular_first(sessions, {"view"}).item_ids == ("b", "c", "a")
    assert len(popular_first(sessions, {"cart"})) == 0


def test_the_later_sessions_are_held_out() -> None:
    """The split is by time, loses nothing, and both parts start at 0."""
    sequences = ItemSequences(np.array([0, 2, 3, 6]), np.arange(1, 7, dtype=np.int32))
    earlier, later = split_later(sequences, 1)
    assert (earlier.starts.tolist(), earlier.items.tolist()) == ([0, 2, 3], [1, 2, 3])
    assert (later.starts.tolist(), later.items.tolist()) == ([0, 3], [4, 5, 6])
