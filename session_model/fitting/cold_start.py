"""Makes a release's knowledge of cold items from catalog and vectors, and chooses how boldly they are listed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemIndex
from schemas.ranking import Candidates
from schemas.records import CatalogItem
from session_model.data.vocabulary import Vocabulary
from session_model.metrics.ranking import LIST_CUT_OFF, gain, target_rank
from session_model.ranking.cold_items import NOT_LISTED, ColdItems, Discounts
from session_model.ranking.cold_start import ColdStart
from session_model.ranking.content import WELL_KNOWN_CLICKS, ContentIndex
from session_model.ranking.item_vectors import ItemVectors
from session_model.ranking.likeness import Likeness
from session_model.runs.progress import TrainingProgress

GRID: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
"""The discounts that are tried."""
DEFAULT_DISCOUNTS: Final = Discounts(new=0.4, unclicked=0.1, few_clicks=0.4)
"""Where there is too little to choose on."""
MIN_EVIDENCE: Final = 30
"""Targets of a kind of cold items; fewer tell nothing of how boldly to list that kind."""
MASKED_SHARE: Final = 0.1
"""Of the well-known items: they are made new to see how boldly new ones may be listed."""
Ranked = Sequence[tuple[Candidates, ItemIndex]]
"""Lists of the validation slice, each with its target."""


@dataclass(frozen=True, slots=True)
class Described:
    """The items of training and what is known of them beside clicks.

    records: empty where there is no catalog. vectors: of the shop's own model of texts or pictures, None without.
    """

    records: Sequence[CatalogItem]
    vocabulary: Vocabulary
    vectors: ItemVectors | None = None

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is known."""
        return not self.records and self.vectors is None

    def with_vector_share(self, share: float) -> "Described":
        """Return the same items, of whose likeness the vectors decide `share`."""
        return self if self.vectors is None else replace(self, vectors=self.vectors.with_share(share))

    def likeness(self, counts: NDArray[np.int64]) -> Likeness:
        """Compare with the items that are well known by `counts`, (n_items + 1,) int64 clicks in training."""
        content = ContentIndex.fit(self.records, self.vocabulary.index_of, counts)
        return Likeness(content, self.vectors, self.vocabulary.index_of, counts)

    def records_of(self, items: Iterable[int]) -> Iterator[tuple[ItemIndex, CatalogItem]]:
        """Return what the catalog says of items, `ItemIndex`; of one that it does not name, its id alone."""
        known = {record.item_id: record for record in self.records}
        for index in map(ItemIndex, items):
            item_id = self.vocabulary.item_id(index)
            yield index, known.get(item_id) or CatalogItem(item_id=item_id)

    def cold_start(self, counts: NDArray[np.int64], discounts: Discounts = NOT_LISTED) -> ColdStart | None:
        """Find what is cold by `counts`, (n_items + 1,) int64 clicks in training; None where nothing else is known.

        Of items that nobody clicked, those that the catalog names.
        """
        if self.is_empty:
            return None
        likeness, records = self.likeness(counts), list(self.records)
        if self.vectors is not None:
            named = {record.item_id for record in records}
            records += [CatalogItem(item_id=one) for one in self.vocabulary.item_ids if one not in named]
        items = ColdItems.fit(likeness, records, self.vocabulary.index_of, counts)
        return ColdStart(likeness.content, items.with_discounts(discounts), self.vectors)

    def choose_discounts(self, counts: NDArray[np.int64], ranked: Ranked, progress: TrainingProgress) -> Discounts:
        """Choose on the lists `ranked` of models that learned from `counts`, (n_items + 1,) int64 clicks.

        For the items that the catalog has in training: the largest discount that costs no more than noise, since
        clicks are the only way for them to show what they are worth. For new ones: the best where a tenth of the
        well-known items is masked, as if they were new. A kind that fewer than `MIN_EVIDENCE` targets tell of keeps its
        default.
        """
        cold = self.cold_start(counts)
        if cold is None or not ranked:
            return DEFAULT_DISCOUNTS
        targets = np.array([target for _, target in ranked], np.int64)
        evident = [name for name in ("unclicked", "few_clicks") if cold.items.n_of_kind(name, targets) >= MIN_EVIDENCE]
        masked = np.flatnonzero(counts >= WELL_KNOWN_CLICKS)
        masked = np.sort(np.random.default_rng(0).permutation(masked)[: int(MASKED_SHARE * len(masked))])
        is_new_evident = bool(np.isin(targets, masked).sum() >= MIN_EVIDENCE)
        if evident or is_new_evident:
            progress.started("placing cold items", (len(evident) + is_new_evident) * len(GRID))
        chosen = msgspec.structs.replace(DEFAULT_DISCOUNTS, **dict.fromkeys(evident, 0.0))
        for name in evident:
            tried = [msgspec.structs.replace(chosen, **{name: discount}) for discount in GRID]
            chosen = tried[_largest_within_noise(_gains(cold.items, tried, ranked, progress))]
        if not is_new_evident:
            return chosen
        as_new = counts.copy()
        as_new[masked] = -1
        cold = self.cold_start(as_new)
        assert cold is not None
        without = [(_without(ranking, masked), target) for ranking, target in ranked]
        tried = [msgspec.structs.replace(chosen, new=discount) for discount in GRID]
        return tried[int(np.argmax(_gains(cold.items, tried, without, progress).mean(axis=1)))]


def _largest_within_noise(gains: NDArray[np.float64]) -> int:
    """Take the last of `gains`, (n_tried, n_targets), by the one-standard-error rule (Breiman et al. 1984).

    It is at most one standard error of the paired difference below the best.
    """
    below = gains[int(np.argmax(gains.mean(axis=1)))] - gains
    errors = below.std(axis=1) / np.sqrt(gains.shape[1])
    return int(np.flatnonzero(below.mean(axis=1) <= errors).max())


def _gains(
    cold: ColdItems, tried: Sequence[Discounts], ranked: Ranked, progress: TrainingProgress
) -> NDArray[np.float64]:
    """Return Recall@20 + MRR@20 of each list with the cold items in it, (n_tried, n_targets)."""
    gains = np.zeros((len(tried), len(ranked)))
    for row, discounts in zip(gains, tried, strict=True):
        listed = cold.with_discounts(discounts).listed
        ranks = (target_rank(listed(ranking, LIST_CUT_OFF), target) for ranking, target in ranked)
        row[:] = [gain(rank, LIST_CUT_OFF) for rank in ranks]
        progress.stepped()
    return gains


def _without(ranking: Candidates, masked: NDArray[np.int64]) -> Candidates:
    kept = ~np.isin(ranking.item_indices, masked)
    return Candidates(ranking.item_indices[kept], ranking.scores[kept])
