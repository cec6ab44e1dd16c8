from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from schemas.errors import InsessionError
from schemas.ids import ItemId, ItemIndex
from schemas.records import CatalogItem, SessionEvent
from schemas.servable import DEFAULT_MODEL_NAME
from session_model.networks.settings import Gru4RecSettings, GruSettings, TrainingSettings
from session_model.ranking.blend import MODEL_ONLY
from session_model.release.copies import load_release
from session_model.release.files import newest_release, trained_sessions
from session_model.runs.progress import EpochReport, NoProgress
from session_model.training.presets import GruRecipe, Preset
from session_model.training.train_release import TrainRequest, TrainResult, train_release

TINY = Preset(
    (
        GruRecipe(
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


@pytest.fixture(scope="module")
def result_(request_: TrainRequest) -> TrainResult:
    """Train it once."""
    return train_release(request_, NoProgress())


def test_a_release_has_the_name_that_it_is_served_under(request_: TrainRequest, tmp_path: Path) -> None:
    """In its folder and in its manifest; the first version of a name is 1, whatever others are there."""
    result = train_release(replace(request_, models_dir=tmp_path, model_name="mine"), NoProgress())
    assert result.directory == tmp_path / "mine" / "1"
    assert load_release(result.directory).manifest.model == "mine"


def test_a_release_is_complete_and_knows_where_it_comes_from(request_: TrainRequest, result_: TrainResult) -> None:
    """It loads, verifies, encodes events with its own vocabulary, and says what it was trained on and how well."""
    result = result_
    assert newest_release(request_.models_dir / DEFAULT_MODEL_NAME) == result.directory
    release = load_release(result.directory)
    assert (release.version, release.manifest.candidate_count, release.manifest.max_length) == (1, N_ITEMS, 4)
    assert release.manifest.metrics == result.metrics
    assert result.metrics["epochs"] in {1, 2}
    assert {"validation_blend_recall_at_20", "validation_gru_mrr_at_20", "validation_targets"} <= set(result.metrics)
    assert len(release.manifest.training_data_sha256) == 64
    assert not release.manifest.has_intent
    assert release.manifest.training_data_until is None, "sequences have no times"
    events = [SessionEvent("view", 0, item_id) for item_id in ("item-3", "unknown", "item-4")]  # type: ignore[arg-type]
    assert [release.item_id(ItemIndex(int(index))) for index in release.encode(events).items] == ["item-3", "item-4"]
    assert result.metrics["clicks_per_second"] > 0
    assert set(result.phase_seconds) == {"loading", "reading", "choosing", "tuning", "final training", "publishing"}
    assert trained_sessions(release) is not None
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


def test_item_vectors_are_part_of_the_release(request_: TrainRequest, tmp_path: Path) -> None:
    """Also without a catalog; an item of the file that nobody clicked waits for the catalog to name it."""
    ids = [*(f"item-{item}" for item in range(N_ITEMS)), "item-new"]
    angles = np.array([*range(N_ITEMS), 3.1]) * 2 * np.pi / N_ITEMS
    np.save(tmp_path / "looks.npy", np.stack([np.cos(angles), np.sin(angles)], axis=1))
    (tmp_path / "looks.ids.txt").write_text("\n".join(ids))
    request = replace(request_, item_vectors=tmp_path / "looks.npy", models_dir=tmp_path / "models")
    progress = Interrupting()
    result = train_release(request, progress)
    assert "item vectors: 10 of 10 clicked items have one, 1 others are kept" in progress.notes
    assert {"content_share", "discount_new", "validation_content_recall_at_20"} <= set(result.metrics)
    release = load_release(result.directory)
    assert release.index_of(ItemId("item-new")) is None
    told = release.with_catalog([CatalogItem(item_id=ItemId("item-new"))])
    encoded = told.encode([SessionEvent("view", 0, ItemId("item-new"))])
    assert [told.item_id(ItemIndex(int(index))) for index in encoded.items] == ["item-3"]


def test_a_spent_budget_leaves_the_final_training_out(request_: TrainRequest, tmp_path: Path) -> None:
    """The model that chose the epochs is released then: one epoch, nothing after it."""
    request = replace(request_, models_dir=tmp_path, time_budget_seconds=1e-3)
    result = train_release(request, NoProgress())
    assert [report.epoch for report in result.reports] == [1]
    assert result.reports[0].mrr_at_20 is not None
    assert result.left_out == ["epochs of recipe 1", "the final training on all sessions"]
    assert load_release(result.directory).version == 1


class Interrupting(NoProgress):
    """Interrupts in the middle of a phase, and remembers what was told."""

    def __init__(self, phase: str | None = None) -> None:
        self.phase = phase
        self.steps: dict[str, int] = {}
        self.notes: list[str] = []
        self._now = ""

    def started(self, phase: str, n_steps: int) -> None:
        """Note the phase; an epoch of it is done before the interruption, where it has epochs."""
        assert n_steps > 0
        self._now = phase
        self.steps[phase] = 0

    def stepped(self, clicks: int = 0) -> None:
        """Interrupt in the second step of a phase without epochs."""
        self.steps[self._now] += 1
        if self._now == self.phase and not clicks and self.steps[self._now] == 2:
            raise KeyboardInterrupt

    def epoch_ended(self, report: EpochReport) -> None:
        """Interrupt after the first epoch."""
        if self._now == self.phase and report.epoch == 1:
            raise KeyboardInterrupt

    def noted(self, text: str) -> None:
        """Remember it."""
        self.notes.append(text)


PHASES = ("recipe 1 of 1", "choosing kNN settings", "choosing the blend", "training on all sessions")


def test_a_run_that_is_interrupted_in_every_phase_gives_the_same_release(
    request_: TrainRequest, result_: TrainResult, tmp_path: Path
) -> None:
    """Each time the same request goes on; in the end parts and weights are those of an undisturbed run, to the bit."""
    undisturbed = load_release(result_.directory)
    request = replace(request_, models_dir=tmp_path / "interrupted")
    for phase in PHASES:
        with pytest.raises(KeyboardInterrupt):
            train_release(request, Interrupting(phase))
    last = Interrupting()
    result = train_release(request, last)
    assert result.run_directory == request.models_dir / "runs" / "1"
    assert "goes on with run 1" in last.notes[0]
    assert last.steps.get("recipe 1 of 1") == 0
    assert set(PHASES[1:3]).isdisjoint(last.steps)
    release = load_release(result.directory)
    files = undisturbed.manifest.files
    same = {name for name, digest in release.manifest.files.items() if files[name] == digest}
    assert all(name.startswith(("saved_model", "fingerprint", "variables/")) for name in set(files) - same)
    weights, expected = _weights(release.directory), _weights(undisturbed.directory)
    assert len(weights) >= 5
    assert all(np.array_equal(weights[name], expected[name]) for name in expected)
    timed = {"training_seconds", "clicks_per_second"}
    assert {name: figure for name, figure in result.metrics.items() if name not in timed} == {
        name: figure for name, figure in undisturbed.manifest.metrics.items() if name not in timed
    }


def test_a_run_that_goes_on_late_keeps_to_what_was_decided_in_time(request_: TrainRequest, tmp_path: Path) -> None:
    """Recipes that were tried stay, and a final training that fitted is made, however late it has become."""
    recipes = tuple(replace(TINY.recipes[0], gru=replace(TINY.recipes[0].gru, units=units)) for units in (4, 8))
    request = replace(request_, models_dir=tmp_path, preset=replace(TINY, recipes=recipes), time_budget_seconds=3600.0)
    with pytest.raises(KeyboardInterrupt):
        train_release(request, Interrupting("training on all sessions"))
    result = train_release(replace(request, loading_seconds=4000.0), Interrupting())
    assert result.left_out == []
    assert len(result.reports) == 3 * 2


def _weights(directory: Path) -> dict[str, NDArray[np.float32]]:
    """Read the variables; their files differ in names that Keras counts up."""
    reader = tf.train.load_checkpoint(str(directory / "variables" / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name: reader.get_tensor(name) for name in names}


def test_a_fresh_run_leaves_the_interrupted_one(request_: TrainRequest, tmp_path: Path) -> None:
    """Nothing is taken over from it."""
    request = replace(request_, models_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train_release(request, Interrupting("recipe 1 of 1"))
    progress = Interrupting("recipe 1 of 1")
    with pytest.raises(KeyboardInterrupt):
        train_release(replace(request, is_fresh=True), progress)
    assert progress.notes == []
    assert progress.steps["recipe 1 of 1"] > 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["1", "2"]


def test_too_few_sessions_for_a_choice_are_all_learned(request_: TrainRequest, tmp_path: Path) -> None:
    """A handful of sessions trains the planned epochs, without a validation slice, and that is told."""
    request = replace(request_, data=write_sequences(tmp_path / "few.txt", 30), models_dir=tmp_path / "models")
    progress = Interrupting()
    result = train_release(request, progress)
    assert [report.mrr_at_20 for report in result.reports] == [None, None]
    assert "validation_targets" not in result.metrics
    assert any("nothing is held out of 30 sessions" in note and "from 200" in note for note in progress.notes)


def test_latest_sessions_of_one_click_are_no_validation_slice(request_: TrainRequest, tmp_path: Path) -> None:
    """There is nothing to choose on, so the planned epochs are trained on all."""
    path = write_sequences(tmp_path / "late.txt", 270)
    path.write_text(path.read_text() + "item-1\n" * 30)
    result = train_release(replace(request_, data=path, models_dir=tmp_path / "models"), NoProgress())
    assert [report.mrr_at_20 for report in result.reports] == [None, None]


def test_sessions_of_one_click_teach_nothing(request_: TrainRequest, tmp_path: Path) -> None:
    """The error names the file and what is missing, and no version appears."""
    (tmp_path / "ones.txt").write_text("a\nb\n")
    request = replace(request_, data=tmp_path / "ones.txt", models_dir=tmp_path / "models")
    with pytest.raises(InsessionError, match=r"ones\.txt: no session has two view events"):
        train_release(request, NoProgress())
    assert not (tmp_path / "models").exists()


def test_gru4rec_becomes_a_release_of_its_model_alone(request_: TrainRequest, tmp_path: Path) -> None:
    """As published: a fixed number of epochs on all sessions, nothing is held out, and nothing is blended in."""
    published = Gru4RecSettings("cross-entropy", 8, 4, 0.1, 0.0, 0.5, negatives=4, epochs=2)
    request = replace(request_, models_dir=tmp_path, preset=replace(TINY, gru4rec=published))
    result = train_release(request, NoProgress())
    release = load_release(result.directory)
    assert [report.mrr_at_20 for report in result.reports] == [None, None]
    assert (release.parts.blend_weights, release.parts.reranker) == (MODEL_ONLY, None)
    assert (release.manifest.metrics["epochs"], release.manifest.max_length) == (2, published.max_length)
