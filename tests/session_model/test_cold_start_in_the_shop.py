"""What content is worth, on the generated shop: some of its items are kept from training, clicks and records."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.shop.catalog import build_shelf
from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from schemas import wire
from schemas.ids import ItemId, ModelVersion
from schemas.ranking import Candidates, ModelInput
from schemas.records import CatalogItem
from schemas.release import ReleaseManifest
from session_model.data.formats import read_sessions
from session_model.data.item_sequences import item_sequences
from session_model.data.prefixes import draw_prefixes
from session_model.data.sessions import Sessions
from session_model.data.training_data import popular_first, split_later
from session_model.data.vector_files import VectorFile
from session_model.evaluation.ranking import Evaluation, HeldOut, evaluate
from session_model.fitting.cold_start import Described
from session_model.fitting.content_voice import choose_voice
from session_model.fitting.item_vectors import fit_item_vectors
from session_model.ranking.blend import BlendWeights
from session_model.ranking.knn import SessionKnn
from session_model.ranking.popularity import Popularity
from session_model.release.release import Release
from session_model.runs.progress import NoProgress
from tests.builders.releases import release_parts

SHOP = ShopSettings(n_items=400)
N_TRAINING, N_TEST = 16_000, 4_000
NEW_SHARE = 0.05
CANDIDATES = 100


class Silent:
    """A model that says nothing: kNN alone decides."""

    def rank(self, inputs: Sequence[ModelInput]) -> list[Candidates]:
        """Rank nothing."""
        return [Candidates.none() for _ in inputs]


@dataclass(frozen=True)
class Split:
    """Clicks and catalog without the new items, later clicks of all, the whole catalog, and vectors of all."""

    training: Sessions
    catalog: list[CatalogItem]
    later: HeldOut
    full_catalog: list[CatalogItem]
    looks: VectorFile


def split_shop(folder: Path) -> Split:
    """Draw the new items, and write the logs."""
    shelf = build_shelf(SHOP)
    records, tastes = shelf.records, np.array(shelf.clusters)
    is_new = np.random.default_rng(5).random(len(records)) < NEW_SHARE
    new = {record.item_id for record, drawn in zip(records, is_new.tolist(), strict=True) if drawn}
    clicks = [event.click for event in islice(generate_events(SHOP), N_TRAINING + N_TEST)]
    old = [click for click in clicks[:N_TRAINING] if click.item_id not in new]
    logs = []
    for name, written in (("training", old), ("later", clicks[N_TRAINING:])):
        (folder / name).write_bytes(b"".join(wire.encode(click) + b"\n" for click in written))
        logs.append(read_sessions(folder / name, "jsonl"))
    known = [record for record in records if record.item_id not in new]
    return Split(logs[0], known, HeldOut("later", logs[1]), records, looks_of(records, tastes))


def looks_of(records: Sequence[CatalogItem], tastes: NDArray[np.int64]) -> VectorFile:
    """Let items of one taste, which no record names, look alike, each with as much of its own."""
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(tastes.max() + 1, 100))[tastes] + rng.normal(size=(len(records), 100))
    return VectorFile([record.item_id for record in records], vectors.astype(np.float32))


def release_of(split: Split, *, by_looks: bool = False) -> Release:
    """Learn kNN, the discounts and what is alike, as training does: by the catalog, or by vectors alone."""
    vocabulary = popular_first(split.training, ("view",))
    sequences, n_items = item_sequences(split.training, vocabulary, ("view",)), len(vocabulary)
    earlier, later = split_later(sequences, len(sequences) // 5)
    knn = SessionKnn.fit(earlier.starts, earlier.items, n_items)
    prefixes = draw_prefixes(later, 20, 1_000)
    ranked = [(knn.query(prefix.items, CANDIDATES), prefix.target) for prefix in prefixes]
    described = Described(split.catalog, vocabulary)
    if by_looks:
        described = Described([], vocabulary, fit_item_vectors(split.looks, vocabulary, [], NoProgress()))
    counts = Popularity.fit(earlier.items[: earlier.starts[-1]], n_items).counts
    content = choose_voice(described, counts, prefixes, NoProgress())
    assert content is not None
    described = described.with_vector_share(content.vector_share)
    discounts = described.choose_discounts(counts, ranked, NoProgress())
    popularity = Popularity.fit(sequences.items, n_items)
    parts = release_parts(
        vocabulary.item_ids,
        sequences.starts,
        sequences.items,
        blend_weights=BlendWeights(1.0, 0.0),
        cold_start=described.cold_start(popularity.counts, discounts),
    )
    return Release(Path(), MANIFEST, parts)


MANIFEST = ReleaseManifest(
    format=2,
    model="session_gru",
    version=ModelVersion(1),
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    code_version="0",
    training_data_sha256="",
    max_length=20,
    candidate_count=CANDIDATES,
    feature_names=[],
    input_event_types=["view"],
    has_intent=False,
    metrics={},
    files={},
)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Part the shop once."""
    return split_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def results(split: Split) -> tuple[Evaluation, Evaluation]:
    """Evaluate without a catalog, and with one that describes the new items after training."""
    release = release_of(split)
    bare = Release(release.directory, release.manifest, replace(release.parts, cold_start=None))
    told = release.with_catalog(split.full_catalog)
    assert told.index_of(ItemId("item-000000")) is not None
    return evaluate(bare, Silent(), split.later), evaluate(told, Silent(), split.later)


def recall(result: Evaluation, kind: str, part: str) -> float:
    """Return the blend's Recall@20 in a slice."""
    return result.slices[kind][part].models["blend"]["recall_at_20"]


def test_new_items_are_found_by_their_content(results: tuple[Evaluation, Evaluation]) -> None:
    """Of the clicks on items that training knew nothing of, none was foretold before, and now a tenth and more is."""
    bare, told = results
    assert recall(bare, "item clicks in training", "0, unknown") == 0
    assert told.slices["item clicks in training"]["0, by content"].targets > 100
    assert recall(told, "item clicks in training", "0, by content") > 0.1


def test_without_a_word_items_are_found_by_their_vectors(split: Split, results: tuple[Evaluation, Evaluation]) -> None:
    """The catalog says that the shop has them, and no more; all in all nothing is lost."""
    named = [CatalogItem(item_id=record.item_id) for record in split.full_catalog]
    looked_at = evaluate(release_of(split, by_looks=True).with_catalog(named), Silent(), split.later)
    assert recall(looked_at, "item clicks in training", "0, by content") > 0.3
    for metric in ("recall_at_20", "mrr_at_20"):
        assert looked_at.models["blend"][metric] > results[0].models["blend"][metric] - 0.002


def test_a_first_click_on_a_new_item_is_understood(results: tuple[Evaluation, Evaluation]) -> None:
    """What is like the item says more of the next click than what is popular."""
    bare, told = results
    assert recall(told, "prefix", "by content") > 1.5 * recall(bare, "prefix", "nothing known")


@pytest.mark.parametrize("metric", ["recall_at_20", "mrr_at_20"])
def test_all_in_all_nothing_is_lost(results: tuple[Evaluation, Evaluation], metric: str) -> None:
    """Known items give places away, and no more than new ones gain."""
    bare, told = (result.models["blend"][metric] for result in results)
    assert told > bare - 0.002
