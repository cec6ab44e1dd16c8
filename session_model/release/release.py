"""One release in use: what the worker asks its parts, and what an evaluation scores."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId, ItemIndex, ModelVersion
from schemas.ranking import NO_INTENT, Candidates, IntentProbabilities, ModelInput, Neighbours, SessionReading
from schemas.records import CatalogItem, SessionEvent, Trending
from schemas.release import ReleaseManifest
from schemas.release_folder import ReleaseError
from session_model.data.vocabulary import Vocabulary
from session_model.intent.categories import NO_CATEGORIES, Categories
from session_model.intent.model import IntentModel
from session_model.intent.prefix_features import prefix_features
from session_model.ranking.blend import SILENT, BlendWeights, blend
from session_model.ranking.cold_items import ColdItems
from session_model.ranking.cold_start import ColdStart
from session_model.ranking.content_voice import ContentVoice
from session_model.ranking.item_search import ItemSearch
from session_model.ranking.kept import anchors_of, places_of, with_kept
from session_model.ranking.knn import SessionKnn
from session_model.ranking.likeness import Likeness
from session_model.ranking.live_trends import LiveTrends
from session_model.ranking.popularity import Popularity
from session_model.ranking.reranker import CandidateSources, Reranker, rerank_many
from session_model.ranking.transitions import Transitions


@dataclass(frozen=True, slots=True)
class Parts:
    """All of a release but the SavedModel.

    intent: None where the training data had no times. reranker: None where the blend alone ranks better.
    cold_start: None where training saw neither catalog nor item vectors. categories: empty where no record in it named
    one. content_voice: None where content has no share of the blend. item_search: None where the SavedModel scores all
    items.
    """

    vocabulary: Vocabulary
    knn: SessionKnn
    transitions: Transitions
    popularity: Popularity
    blend_weights: BlendWeights
    intent: IntentModel | None
    reranker: Reranker | None = None
    cold_start: ColdStart | None = None
    categories: Categories = NO_CATEGORIES
    content_voice: ContentVoice | None = None
    item_search: ItemSearch | None = None


class Release:
    """One verified release without its SavedModel; implements serving.parts.ReleaseParts. Immutable: safe to share.

    live: what is viewed of late, None = the reranker reads what was clicked in training.
    """

    live: LiveTrends | None = None

    def __init__(self, directory: Path, manifest: ReleaseManifest, parts: Parts) -> None:
        self.directory = directory
        self.manifest = manifest
        self.parts = parts
        self._input_event_types = frozenset(manifest.input_event_types)
        self._popular = parts.popularity.candidates(manifest.candidate_count)
        cold = () if parts.cold_start is None else parts.cold_start.items.item_ids
        self._item_ids = parts.vocabulary.item_ids + cold  # without cold ones no copy

    @property
    def version(self) -> ModelVersion:
        """The version directory's number; named in every Predict."""
        return self.manifest.version

    @property
    def created_at(self) -> datetime:
        """When the release was made."""
        return self.manifest.created_at

    @property
    def trained_items(self) -> int:
        """Return how many items training knew: those with a higher `ItemIndex` have come since."""
        return len(self.parts.vocabulary)

    def encode(self, events: Sequence[SessionEvent]) -> ModelInput:
        """Turn a session's events, oldest first, into the model's input; `items` is empty when none is known.

        An item that training has not seen is read as the one most like it, if its content is known.
        """
        names = [
            event.item_id
            for event in events
            if event.item_id is not None and event.event_type in self._input_event_types
        ]
        read = [(index, is_known) for name in names for index, is_known in self._read(name)]
        read = read[-self.manifest.max_length :]
        is_by_content = bool(read) and not any(is_known for _, is_known in read)
        features = prefix_features(events, self.parts.categories)
        return ModelInput(np.array([index for index, _ in read], np.int32), features, is_by_content)

    def with_catalog(self, records: Iterable[CatalogItem]) -> "Release":
        """Return a release that knows what the whole catalog `records` says beyond training.

        Items of which training knew neither clicks nor content, and the category of those of which it knew none. Itself
        where there is no news. The records are read once and not kept.
        """
        cold, index_of = self.parts.cold_start, self.index_of
        if cold is None:
            return self
        records = list(records)
        new = [record for record in records if index_of(record.item_id) is None]
        counts, known = self.parts.popularity.counts, self.parts.vocabulary.index_of
        found = ColdItems.fit(Likeness(cold.content, cold.vectors, known, counts), new, known, counts)
        categories = self.parts.categories.extended(records)
        if found.item_ids:
            cold = replace(cold, items=cold.items.joined_by_new(found))
        elif categories is self.parts.categories:
            return self
        parts = replace(self.parts, cold_start=cold, categories=categories)
        extended = Release(self.directory, self.manifest, parts)
        extended.live = self.live
        return extended

    def with_trending(self, told: Trending | None) -> "Release":
        """Return a release that ranks by what is viewed of late everywhere, None = by the clicks of training alone.

        Itself where it does not look at that.
        """
        if self.parts.reranker is None:
            return self
        live = None if told is None else LiveTrends.of(self.parts.popularity, told, self.parts.vocabulary.index_of)
        if live is None and self.live is None:
            return self
        renewed = copy.copy(self)
        renewed.live = live
        return renewed

    @property
    def is_renewed(self) -> bool:
        """Return whether it ranks by what is viewed everywhere."""
        return self.live is not None

    def index_of(self, item_id: ItemId) -> ItemIndex | None:
        """Return the index under which an item is ranked; None for one of which neither clicks nor content is known."""
        index = self.parts.vocabulary.index_of(item_id)
        if index is None and self.parts.cold_start is not None:
            return self.parts.cold_start.items.index_of(item_id)
        return index

    def popularity(self) -> Popularity:
        """Return the clicks in training of all that may be ranked."""
        cold = self.parts.cold_start
        return self.parts.popularity.with_unclicked(0 if cold is None else len(cold.items.item_ids))

    def _read(self, item_id: ItemId) -> Iterator[tuple[ItemIndex, bool]]:
        """Return the index by which an item of the prefix is read, if any, and whether it is the item's own."""
        index, cold = self.parts.vocabulary.index_of(item_id), self.parts.cold_start
        if index is not None:
            yield index, True
        elif cold is not None and (stand_in := cold.items.stand_in(item_id)) is not None:
            yield stand_in, False

    def neighbours(self, items: NDArray[np.int32]) -> Neighbours:
        """Rank by session-kNN for the prefix `items` (length,) int32; may be empty."""
        return self.parts.knn.query(items, self.manifest.candidate_count)

    def because(self, item_ids: Sequence[ItemId], neighbours: Neighbours) -> list[ItemId | None]:
        """Return for each item the one of the prefix on which most of what past sessions say for it rests, if any."""
        causes = anchors_of(neighbours, self._indices_of(item_ids))
        return [None if cause is None else self.item_id(cause) for cause in causes]

    def with_kept(self, candidates: Candidates, item_ids: Sequence[ItemId], bonus: float) -> Candidates:
        """Add `bonus` to the log of the scores of these items, and order anew."""
        return with_kept(candidates, self._indices_of(item_ids), bonus)

    def scores_of(self, candidates: Candidates, item_ids: Sequence[ItemId]) -> dict[ItemId, float]:
        """Return the scores of those of these items that are among the candidates."""
        places = places_of(candidates.item_indices, self._indices_of(item_ids))
        pairs = zip(item_ids, places, strict=True)
        return {item_id: float(candidates.scores[place]) for item_id, place in pairs if place >= 0}

    def _indices_of(self, item_ids: Sequence[ItemId]) -> list[ItemIndex]:
        """Return the indices under which items are ranked; 0, which none has, where they are not known."""
        found = zip(item_ids, self.parts.vocabulary.indices_of(item_ids), strict=True)
        return [index or self.index_of(item_id) or ItemIndex(0) for item_id, index in found]

    def search(self, readings: Sequence[SessionReading], prefixes: Sequence[NDArray[np.int32]]) -> list[Candidates]:
        """Rank the catalogue for each of one or more rows; raises ReleaseError where the SavedModel does that."""
        search = self.parts.item_search
        if search is None or readings[0].vector.shape != search.arrays.vectors.shape[1:]:
            raise ReleaseError(
                f"release {self.directory} cannot search its catalogue by what the model answered: the model server "
                "serves another release under its version; copy the release again"
            )
        return search.rank(readings, prefixes, self.manifest.candidate_count)

    def blend(self, model: Candidates, neighbours: Candidates, items: NDArray[np.int32]) -> Candidates:
        """Join both rankings and the reminder of the prefix `items` (length,) int32, as was best in training.

        Items with no or few clicks are listed beside those that they are like.
        """
        (ranking,) = self.blend_many([model], [neighbours], [items])
        return ranking

    def blend_many(
        self, models: Sequence[Candidates], neighbours: Sequence[Candidates], prefixes: Sequence[NDArray[np.int32]]
    ) -> list[Candidates]:
        """Do that for each row of one or more, at once."""
        parts, k = self.parts, self.manifest.candidate_count
        voice = parts.content_voice
        alike = [SILENT if voice is None else voice.query(items, k) for items in prefixes]
        rows = [
            CandidateSources(model, near, items, parts.popularity, content, self.live)
            for model, near, items, content in zip(models, neighbours, prefixes, alike, strict=True)
        ]
        if parts.reranker is not None:
            rankings = rerank_many(parts.reranker, rows, k)
        else:
            weights = parts.blend_weights
            rankings = [blend(row.model, row.neighbours, row.items, weights, k, row.content) for row in rows]
        return list(map(self.with_cold_items, rankings))

    def with_cold_items(self, ranking: Candidates) -> Candidates:
        """List items with no or few clicks beside those that they are like."""
        cold = self.parts.cold_start
        return ranking if cold is None else cold.items.listed(ranking, self.manifest.candidate_count)

    def popular(self) -> Candidates:
        """Most popular items of the training data, best first."""
        return self._popular

    def intent(self, features: NDArray[np.float32]) -> IntentProbabilities:
        """Calibrated probabilities from the prefix features alone; what the training data could not teach is None."""
        return NO_INTENT if self.parts.intent is None else self.parts.intent.answer(features)

    def knows(self, item_id: ItemId) -> bool:
        """Return whether the item is one of the training data, or of the catalog that the release was told."""
        return self.index_of(item_id) is not None

    def item_id(self, index: ItemIndex) -> ItemId:
        """Return the item at `index`; raises IndexError where there is none."""
        if not 1 <= index <= len(self._item_ids):
            raise IndexError(f"item index {index} is outside 1..{len(self._item_ids)}")
        return self._item_ids[index - 1]
