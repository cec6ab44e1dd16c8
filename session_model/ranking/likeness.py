"""Which well-known items a given one is like: by what the catalog says of them, by their vectors, or by both."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId, ItemIndex
from schemas.ranking import Candidates
from schemas.records import CatalogItem
from session_model.ranking.content import WELL_KNOWN_CLICKS, ContentIndex
from session_model.ranking.item_vectors import ItemVectors
from session_model.ranking.top_k import top_k

MAX_COMPARED: Final = 50_000
"""Well-known items whose vectors are compared, the most clicked first, so a query is bounded."""
MIN_COSINE: Final = 0.2
"""Less says nothing: two directions drawn at random come as near."""
SHARPNESS: Final = 4.0
"""Exponent of the similarities by which what is alike is averaged."""


class Likeness:
    """Finds well-known items like a given one. Remembers what it found by the catalog: for one fit, in one thread.

    counts: (n_items + 1,) int64, clicks in training. vectors: None where the catalog alone decides.
    """

    def __init__(
        self,
        content: ContentIndex,
        vectors: ItemVectors | None,
        index_of: Callable[[ItemId], ItemIndex | None],
        counts: NDArray[np.int64],
    ) -> None:
        self.content = content
        self._vectors = vectors
        self._index_of = index_of
        self._counts = counts
        self._described = dict[tuple[object, ...], Candidates]()
        if vectors is not None:
            # The vocabulary is in the order of clicks: the first are the most clicked.
            well_known = np.flatnonzero(counts >= WELL_KNOWN_CLICKS).astype(np.int32)[:MAX_COMPARED]
            compared = vectors.of_known(well_known)
            has_vector = compared.any(axis=1)
            self._compared_items, self._compared = well_known[has_vector], compared[has_vector]

    def with_share(self, share: float) -> "Likeness":
        """Return one by which vectors decide `share`."""
        vectors = None if self._vectors is None else self._vectors.with_share(share)
        return Likeness(self.content, vectors, self._index_of, self._counts)

    def nearest(self, record: CatalogItem, k: int) -> Candidates:
        """Rank the `k` well-known items most like the one of `record`; empty where nothing is known to compare.

        Scores are similarities up to 1.2, ties by `ItemIndex`. What one of both does not know the other decides.
        """
        vectors = self._vectors
        vector = None if vectors is None else vectors.of(record.item_id, self._index_of(record.item_id))
        if vectors is None or vector is None:
            return self._by_catalog(record, k)
        items, similarities = self.content.similarities(record)
        share = vectors.share if len(items) else 1.0
        cosines = self._compared @ vector
        sums = np.zeros(len(self._counts))
        sums[self._compared_items] = np.where(cosines >= MIN_COSINE, share * cosines, 0.0)
        sums[items] += (1 - share) * similarities
        found = np.flatnonzero(sums).astype(np.int32)
        return top_k(found, sums[found], k)

    def _by_catalog(self, record: CatalogItem, k: int) -> Candidates:
        """Look once for what is described alike."""
        described = (k, record.category, record.title, record.price, record.variant_group)
        if described not in self._described:
            self._described[described] = self.content.nearest(record, k)
        return self._described[described]


def weights_of(alike: Candidates) -> NDArray[np.float64]:
    """Return what each of some items that are alike counts for, (n,): their sharpened similarities, which sum to 1."""
    sharpened = alike.scores.astype(np.float64) ** SHARPNESS
    return np.asarray(sharpened / sharpened.sum())
