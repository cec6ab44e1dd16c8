"""The releases behind the measured model: trained once on the generated shop, and kept."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agents.shop.settings import ShopSettings
from agents.shop.training_data import write_training_data
from schemas.errors import InsessionError
from schemas.ids import ItemId
from schemas.release_folder import ReleaseError
from schemas.servable import DEFAULT_MODEL_NAME, version_directories
from session_model.data.prefixes import draw_prefixes
from session_model.data.training_data import read_training_data
from session_model.data.vocabulary import Vocabulary
from session_model.intent.prefix_features import FEATURE_NAMES
from session_model.networks.settings import GruSettings
from session_model.ranking.item_search import SEARCHED_ITEMS
from session_model.ranking.knn import SessionKnn
from session_model.ranking.popularity import Popularity
from session_model.ranking.transitions import Transitions
from session_model.release.copies import load_release
from session_model.release.files import ReleaseFacts, newest_release, write_parts
from session_model.release.versions import draft_version
from session_model.runs.progress import NoProgress
from session_model.training.presets import DEFAULT_RECIPES

if TYPE_CHECKING:
    from session_model.networks.gru import SessionGru

SMALL = 2_000
"""Items of the generated shop."""
TRAINING_EVENTS = 60_000
TRAINING_DATA = "training.jsonl.gz"
EPOCHS = 2
MAX_MEMORY_BYTES = 4 << 30
"""Of a release's parts: more than the default of a worker, so that several million items are measured, too."""
DEPARTMENTS, ITEMS_A_CATEGORY = 20, 200
"""Of a wide release's items."""


def trained_models(cache: Path) -> Path:
    """Return the models folder in `cache`; train into it where it holds no release that loads."""
    models = cache / "models"
    try:
        load_release(newest_release(models / DEFAULT_MODEL_NAME))
    except ReleaseError:
        _train(cache, models, seed=1)
    return models


def trained_releases(cache: Path, number: int) -> list[Path]:
    """Return so many releases in `cache`, the oldest first; train those that are missing, each by another seed."""
    folder = trained_models(cache) / DEFAULT_MODEL_NAME
    while len(found := sorted(version_directories(folder).items())) < number:
        _train(cache, folder.parent, seed=len(found) + 1)
    return [path for _, path in found[:number]]


def models_of(cache: Path, n_items: int) -> Path:
    """Return the models folder of a release of so many items: of `SMALL` the trained one, else a wide one."""
    return trained_models(cache) if n_items == SMALL else wide_models(cache, n_items)


def wide_models(cache: Path, n_items: int) -> Path:
    """Return the models folder of a release of `n_items`; make it where there is none.

    It is the trained one, but for its network, which is not trained and has the size of the default preset, and for
    items that nobody clicks: what a catalogue of that size costs, with the shoppers of the small one.
    """
    models = cache / f"models-{n_items}"
    try:
        found = load_release(newest_release(models / DEFAULT_MODEL_NAME), max_memory_bytes=MAX_MEMORY_BYTES)
    except ReleaseError:
        found = None
    if found is None or (n_items >= SEARCHED_ITEMS and found.parts.item_search is None):
        _widen(cache, models, n_items)
    return models


def wide_network(n_items: int) -> "SessionGru":
    """Make a network whose items lie as those of a shop do, and which reads most of all the mean of a session's.

    So that a search of it finds what one of a trained network does: at 40,000 items a shortlist of 300 has a recall of
    .997, one of the 43,097 items of a network trained on Diginetica .994.
    """
    from session_model.networks.gru import SessionGru

    settings = DEFAULT_RECIPES[0].network
    assert isinstance(settings, GruSettings)
    network = SessionGru(n_items, settings, seed=1)
    network.item_table[1:].assign(_item_vectors(n_items, settings.dimension))
    kernel = network.readout.kernel.numpy() / 2
    last, attended = kernel[-2 * settings.dimension :].reshape(2, settings.dimension, settings.dimension)
    last += np.eye(settings.dimension) / 2
    attended *= 2
    network.readout.kernel.assign(kernel)
    return network


def _item_vectors(n_items: int, width: int) -> NDArray[np.float32]:
    """Draw vectors around those of categories, which lie around departments."""
    rng = np.random.default_rng(1)
    departments = rng.standard_normal((DEPARTMENTS, width), np.float32)
    n_categories = max(DEPARTMENTS, n_items // ITEMS_A_CATEGORY)
    categories = departments[rng.integers(DEPARTMENTS, size=n_categories)]
    categories += rng.standard_normal((n_categories, width), np.float32)
    vectors = rng.standard_normal((n_items, width), np.float32)
    vectors *= 1.2
    vectors += categories[rng.integers(n_categories, size=n_items)]
    return vectors


def _widen(cache: Path, models: Path, n_items: int) -> None:
    from session_model.fitting.item_search import RECALL_SESSIONS, fit_item_search
    from session_model.networks.export import ServableParts, export_servable

    trained = load_release(newest_release(trained_models(cache) / DEFAULT_MODEL_NAME))
    learned = read_training_data(cache / TRAINING_DATA, "jsonl", trained.manifest.input_event_types)
    more = (ItemId(f"unclicked-{number}") for number in range(n_items))
    vocabulary = Vocabulary(islice(chain(learned.vocabulary.item_ids, more), n_items))
    starts, items = learned.sequences.starts, learned.sequences.items
    parts = replace(
        trained.parts,
        vocabulary=vocabulary,
        knn=SessionKnn.fit(starts, items, n_items, trained.parts.knn.settings),
        transitions=Transitions.fit(starts, items, n_items),
        popularity=Popularity.fit(items, n_items),
        cold_start=None,
    )
    network = wide_network(n_items)
    drawn = draw_prefixes(learned.sequences, network.max_length, RECALL_SESSIONS)
    parts = replace(parts, item_search=fit_item_search(network, [prefix.items for prefix in drawn], NoProgress()))
    is_searched = parts.item_search is not None
    with draft_version(models / DEFAULT_MODEL_NAME) as draft:
        export_servable(
            ServableParts(network, parts.intent, len(FEATURE_NAMES), is_searched=is_searched), draft.directory
        )
        manifest = trained.manifest
        facts = ReleaseFacts(
            version=draft.version,
            created_at=datetime.now(UTC),
            code_version=manifest.code_version,
            training_data_sha256=manifest.training_data_sha256,
            max_length=network.max_length,
            candidate_count=manifest.candidate_count,
            input_event_types=tuple(manifest.input_event_types),
            metrics={},
        )
        write_parts(draft.directory, parts, facts)


def _train(cache: Path, models: Path, seed: int) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    data = cache / TRAINING_DATA
    write_training_data(ShopSettings(), data, TRAINING_EVENTS)
    executable = Path(sys.executable).with_name("insession")
    arguments = ["train", str(data), "--format=jsonl", f"--out={models}", "--preset=small", f"--epochs={EPOCHS}"]
    run = subprocess.run([executable, *arguments, f"--seed={seed}"], check=False)
    if run.returncode:
        raise InsessionError(f"training on {data} ended with exit code {run.returncode}; its reason is above")
