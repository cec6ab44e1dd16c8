"""What the serving tier needs of a release's parts, so that it need not know the room that makes them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId, ItemIndex, ModelVersion
from schemas.ranking import Candidates, IntentProbabilities, ModelInput, Neighbours, SessionReading
from schemas.records import CatalogItem, SessionEvent, Trending


class ReleaseParts(Protocol):
    """The parts of one verified release, in process and without TensorFlow. Immutable: safe to share."""

    @property
    def version(self) -> ModelVersion:
        """The version directory's number; named in every Predict."""

    @property
    def created_at(self) -> datetime:
        """When the release was made."""

    @property
    def trained_items(self) -> int:
        """Return how many items training knew: those with a higher `ItemIndex` have come since."""

    def encode(self, events: Sequence[SessionEvent]) -> ModelInput:
        """Turn a session's events, oldest first, into the model's input; `items` is empty when none is known."""

    def with_catalog(self, records: Iterable[CatalogItem]) -> "ReleaseParts":
        """Return a release that knows what the whole catalog `records` says beyond training; itself if nothing."""

    def with_trending(self, told: Trending | None) -> "ReleaseParts":
        """Return a release that ranks by what is viewed everywhere, None = as training says; itself where it does."""

    @property
    def is_renewed(self) -> bool:
        """Return whether it ranks by what is viewed everywhere."""

    def neighbours(self, items: NDArray[np.int32]) -> Neighbours:
        """Rank by session-kNN for the prefix `items` (length,) int32; may be empty."""

    def because(self, item_ids: Sequence[ItemId], neighbours: Neighbours) -> list[ItemId | None]:
        """Return for each item the one of the prefix on which most of what past sessions say for it rests, if any."""

    def with_kept(self, candidates: Candidates, item_ids: Sequence[ItemId], bonus: float) -> Candidates:
        """Add `bonus` to the log of the scores of these items, and order anew; equal scores stay in their order."""

    def scores_of(self, candidates: Candidates, item_ids: Sequence[ItemId]) -> dict[ItemId, float]:
        """Return the scores of those of these items that are among the candidates."""

    def search(self, readings: Sequence[SessionReading], prefixes: Sequence[NDArray[np.int32]]) -> list[Candidates]:
        """Rank the catalogue by what the model read in each row; raises InsessionError where it needs no search."""

    def blend_many(
        self, models: Sequence[Candidates], neighbours: Sequence[Candidates], prefixes: Sequence[NDArray[np.int32]]
    ) -> list[Candidates]:
        """Join both rankings of each row, and the reminder of its prefix, with the release's weights."""

    def with_cold_items(self, ranking: Candidates) -> Candidates:
        """List items with no or few clicks beside those that they are like, as `blend_many` does."""

    def popular(self) -> Candidates:
        """Most popular items of the training data, best first."""

    def intent(self, features: NDArray[np.float32]) -> IntentProbabilities:
        """Calibrated probabilities from the prefix features alone; what the training data could not teach is None."""

    def knows(self, item_id: ItemId) -> bool:
        """Return whether the item is one of the training data, or of the catalog that the release was told."""

    def index_of(self, item_id: ItemId) -> ItemIndex | None:
        """Return the index under which an item is ranked; None where it is not known."""

    def item_id(self, index: ItemIndex) -> ItemId:
        """Return the item at `index`."""


@dataclass(frozen=True, slots=True)
class OneRelease:
    """Implements serving.chain.Releases with a release that stays; None = there is none."""

    current: ReleaseParts | None

    async def resolve_again(self, gone: ModelVersion) -> None:
        """Know no other."""
