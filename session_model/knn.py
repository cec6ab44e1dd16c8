"""Session-kNN: what came next in the past sessions most like this one.

A blend of STAN (Garg et al., SIGIR 2019: decay by position, by age and by distance to the match) and VMIS-kNN
(Kersbergen et al., SIGMOD 2022: only the latest sessions of each item are looked at, so a query is bounded).
"""

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Candidates
from session_model.csr import flat_positions, row_numbers, starts_of, sums_by_group
from session_model.item_sequences import ItemSequences
from session_model.ranking import top_k

MAX_PREFIX = 20
MAX_DISTANCE = 50
"""Places; further apart in a neighbour counts as this far."""


class KnnSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How past sessions are weighed; decays are in places or clicks, the smaller the steeper.

    samples_per_item: latest sessions of each prefix item that are looked at. neighbours: best of them that vote.
    position_decay: weight exp(-clicks since / it) of a shared item. match_decay: the same for the vote's anchor.
    idf_power: exponent of a shared item's idf. length_power: of the neighbour's length, as a divisor.
    age_decay: exp(-age / it), age in shares of all training sessions; None = all ages alike.
    after_decay, before_weight, before_decay, repeat_weight: votes for what stands after the anchor in the neighbour,
    before it, and for the anchor itself. idf_weight: candidate scores are multiplied by 1 + it * idf.
    """

    samples_per_item: int = 250
    neighbours: int = 1000
    position_decay: float = 1.5
    match_decay: float = 2.0
    idf_power: float = 2.25
    length_power: float = 0.15
    age_decay: float | None = None
    after_decay: float = 4.0
    before_weight: float = 0.6
    before_decay: float = 1.0
    repeat_weight: float = 0.25
    idf_weight: float = 1.2


SHORT_MEMORY = KnnSettings()
"""Clicks that lead from one item to the next, few returns (as in RSC15)."""
LONG_MEMORY = KnnSettings(
    neighbours=125,
    position_decay=2.0,
    match_decay=15.0,
    idf_power=1.5,
    length_power=0.25,
    age_decay=1.0,
    after_decay=4.2,
    before_weight=0.75,
    before_decay=6.0,
    repeat_weight=2.9,
)
"""Sessions that circle around one wish and come back to what they saw (as in Diginetica)."""


class SessionKnn:
    """The index of past sessions. Immutable: safe to share between threads.

    arrays: `session_starts` (n_sessions + 1,), `session_items`; `posting_starts` (n_items + 2,), `posting_sessions`,
    `posting_places`: by item, its latest sessions in order of their end and the last place of the item in each;
    `idf` (n_items + 1,) float32. Row 0 of the item axes is padding.
    """

    def __init__(self, settings: KnnSettings, arrays: dict[str, NDArray[np.generic]]) -> None:
        self.settings = settings
        self._arrays = arrays
        self._session_starts = arrays["session_starts"].astype(np.int64)
        self._session_items = arrays["session_items"].astype(np.int32)
        self._posting_starts = arrays["posting_starts"].astype(np.int64)
        self._posting_sessions = arrays["posting_sessions"].astype(np.int32)
        self._posting_places = arrays["posting_places"].astype(np.int32)
        idf = arrays["idf"].astype(np.float64)
        self._match_weights = idf**settings.idf_power
        self._candidate_weights = 1.0 + settings.idf_weight * idf
        self._session_weights = _session_weights(np.diff(self._session_starts), settings)
        self._distance_weights = _distance_weights(settings)

    @property
    def n_items(self) -> int:
        """Items of the vocabulary, padding not included."""
        return len(self._candidate_weights) - 1

    @classmethod
    def fit(
        cls, starts: NDArray[np.int64], items: NDArray[np.int32], n_items: int, settings: KnnSettings = SHORT_MEMORY
    ) -> "SessionKnn":
        """Index past sessions, ordered by their end.

        starts: (n_sessions + 1,) int64. items: (n_events,) int32 `ItemIndex` up to `n_items`; 0 is left out.
        """
        known = ItemSequences(starts, items).known()
        sessions = known.session_numbers()
        places = np.arange(len(known.items), dtype=np.int64) - known.starts[sessions]
        by_item = np.argsort(known.items, kind="stable")
        item, session = known.items[by_item], sessions[by_item]
        is_last_place = np.append((item[1:] != item[:-1]) | (session[1:] != session[:-1]), True)[: len(item)]
        by_item, item = by_item[is_last_place], item[is_last_place]
        counts = np.bincount(item, minlength=n_items + 1).astype(np.int64)
        kept_counts = np.minimum(counts, settings.samples_per_item)
        latest = flat_positions(starts_of(counts)[1:] - kept_counts, kept_counts)
        kept = by_item[latest]
        idf = np.where(counts > 0, np.log(max(len(known), 1) / np.maximum(counts, 1)), 0.0)
        arrays: dict[str, NDArray[np.generic]] = {
            "session_starts": known.starts,
            "session_items": known.items,
            "posting_starts": starts_of(kept_counts),
            "posting_sessions": sessions[kept].astype(np.int32),
            "posting_places": places[kept].astype(np.int32),
            "idf": idf.astype(np.float32),
        }
        return cls(settings, arrays)

    def query(self, items: NDArray[np.int32], k: int = 100) -> Candidates:
        """Rank what comes after the prefix `items` (length,) int32, oldest first; empty where nothing matches."""
        prefix, clicks_since = self._latest_distinct(items)
        lengths = self._posting_starts[prefix + 1] - self._posting_starts[prefix]
        postings = flat_positions(self._posting_starts[prefix], lengths)
        if not len(postings):
            return Candidates.none()
        matched = row_numbers(lengths)
        weights = np.exp(-clicks_since / self.settings.position_decay) * self._match_weights[prefix]
        # Postings come in the order of the prefix, latest item first: a session's first one is its anchor.
        sessions, anchors, which = np.unique(self._posting_sessions[postings], return_index=True, return_inverse=True)
        similarity = sums_by_group(which, weights[matched], len(sessions)) * self._session_weights[sessions]
        votes = similarity * np.exp(-clicks_since[matched[anchors]] / self.settings.match_decay)
        nearest = _nearest(similarity, self.settings.neighbours)
        places = self._posting_places[postings[anchors]]
        return self._count_votes(sessions[nearest], votes[nearest], places[nearest], k)

    def save(self, path: Path) -> None:
        """Write the index as .npz."""
        settings = np.frombuffer(msgspec.json.encode(self.settings), np.uint8)
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, settings=settings, **self._arrays)

    @classmethod
    def load(cls, path: Path) -> "SessionKnn":
        """Read what `save` wrote; raises ValueError or KeyError on another file."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        settings = msgspec.json.decode(arrays.pop("settings").tobytes(), type=KnnSettings)
        return cls(settings, arrays)

    def _latest_distinct(self, items: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the known items of the prefix, latest first, and the clicks since each was last seen."""
        backwards = items[-MAX_PREFIX:][::-1]
        distinct, clicks_since = np.unique(backwards, return_index=True)
        known = (distinct > 0) & (distinct <= self.n_items)
        order = np.argsort(clicks_since[known])
        return distinct[known][order].astype(np.int64), clicks_since[known][order]

    def _count_votes(
        self, sessions: NDArray[np.int32], votes: NDArray[np.float64], anchor_places: NDArray[np.int32], k: int
    ) -> Candidates:
        starts = self._session_starts[sessions]
        lengths = self._session_starts[sessions + 1] - starts
        entries = flat_positions(starts, lengths)
        distances = entries - np.repeat(starts + anchor_places, lengths)
        np.clip(distances, -MAX_DISTANCE, MAX_DISTANCE, out=distances)
        weights = np.repeat(votes, lengths) * self._distance_weights[distances + MAX_DISTANCE]
        scores = sums_by_group(self._session_items[entries], weights, self.n_items + 1) * self._candidate_weights
        candidates = np.flatnonzero(scores).astype(np.int32)
        return top_k(candidates, scores[candidates], k)


def _nearest(similarity: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """Choose the `n` most similar and all that tie with the last of them, so that no order of storage decides."""
    if len(similarity) <= n:
        return np.arange(len(similarity))
    threshold = np.partition(similarity, len(similarity) - n)[len(similarity) - n]
    return np.flatnonzero(similarity >= threshold)


def _session_weights(lengths: NDArray[np.int64], settings: KnnSettings) -> NDArray[np.float64]:
    weights = np.maximum(lengths, 1).astype(np.float64) ** -settings.length_power
    if settings.age_decay is not None:
        age = np.arange(len(lengths), 0, -1) / max(len(lengths), 1)
        weights *= np.exp(-age / settings.age_decay)
    return weights


def _distance_weights(settings: KnnSettings) -> NDArray[np.float64]:
    """Tabulate the vote for each distance from -MAX_DISTANCE (before the anchor) to MAX_DISTANCE."""
    distance = np.arange(1, MAX_DISTANCE + 1)
    after = np.exp(-(distance - 1) / settings.after_decay)
    before = settings.before_weight * np.exp(-(distance - 1) / settings.before_decay)
    return np.concatenate([before[::-1], [settings.repeat_weight], after])
