"""Session-kNN: what came next in the past sessions most like this one.

A blend of STAN (Garg et al., SIGIR 2019: decay by position, by age and by distance to the match) and VMIS-kNN
(Kersbergen et al., SIGMOD 2022: only the latest sessions of each item are looked at, so a query is bounded). The inner
loops are compiled (docs/adr/0005); without a compiler at install, NumPy does the same more slowly.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Neighbours
from session_model.csr import flat_positions, starts_of
from session_model.data.item_sequences import ItemSequences
from session_model.ranking.knn_numpy import MAX_PREFIX
from session_model.ranking.top_k import top_k

try:
    from session_model.ranking.knn_kernel import Kernel
except ImportError:
    from session_model.ranking.knn_numpy import Kernel  # type: ignore[assignment]

_SETTINGS_FILE = "settings.json"
_DTYPES = {
    "session_starts": np.dtype(np.int64),
    "session_items": np.dtype(np.int32),
    "posting_starts": np.dtype(np.int64),
    "posting_sessions": np.dtype(np.int32),
    "posting_places": np.dtype(np.int32),
    "idf": np.dtype(np.float32),
}
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

    arrays: `session_starts` (n_sessions + 1,) int64, `session_items` int32; `posting_starts` (n_items + 2,) int64,
    `posting_sessions`, `posting_places` int32: by item, its latest sessions in order of their end and the last place of
    the item in each; `idf` (n_items + 1,) float32. Row 0 of the item axes is padding. They may be memory-mapped.
    kernel: makes the inner loops; session_model.ranking.knn_numpy.Kernel says what it does.
    """

    def __init__(
        self, settings: KnnSettings, arrays: Mapping[str, NDArray[Any]], kernel: Callable[..., Kernel] = Kernel
    ) -> None:
        self.settings = settings
        self._arrays = arrays
        idf = arrays["idf"].astype(np.float64)
        clicks = np.arange(MAX_PREFIX)
        self._match_weights = idf**settings.idf_power
        self._position_weights = np.exp(-clicks / settings.position_decay)
        self._anchor_weights = np.exp(-clicks / settings.match_decay)
        weights = (
            _session_weights(np.diff(arrays["session_starts"]), settings),
            1.0 + settings.idf_weight * idf,
            _distance_weights(settings),
        )
        self._kernel = kernel(arrays, weights, settings.neighbours)

    @property
    def n_items(self) -> int:
        """Items of the vocabulary, padding not included."""
        return len(self._match_weights) - 1

    @classmethod
    def fit(
        cls,
        starts: NDArray[np.int64],
        items: NDArray[np.int32],
        n_items: int,
        settings: KnnSettings = SHORT_MEMORY,
        kernel: Callable[..., Kernel] = Kernel,
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
        arrays: dict[str, NDArray[Any]] = {
            "session_starts": known.starts,
            "session_items": known.items,
            "posting_starts": starts_of(kept_counts),
            "posting_sessions": sessions[kept].astype(np.int32),
            "posting_places": places[kept].astype(np.int32),
            "idf": idf.astype(np.float32),
        }
        return cls(settings, arrays, kernel)

    def query(self, items: NDArray[np.int32], k: int = 100) -> Neighbours:
        """Rank what comes after the prefix `items` (length,) int32, oldest first; empty where nothing matches."""
        clicks_since = dict[int, int]()
        for clicks, item in enumerate(reversed(items[-MAX_PREFIX:].tolist())):
            if 0 < item <= self.n_items:
                clicks_since.setdefault(item, clicks)
        prefix, since = np.array([*clicks_since], np.int64), np.array([*clicks_since.values()], np.int64)
        match_weights = self._position_weights[since] * self._match_weights[prefix]
        candidates, scores, anchors = self._kernel.votes(prefix, match_weights, self._anchor_weights[since])
        best = top_k(candidates, scores, k)
        return Neighbours(best.item_indices, best.scores, candidates, anchors, prefix)

    def save(self, folder: Path) -> None:
        """Write the index into a new folder: a .npy file an array, and the settings."""
        folder.mkdir()
        (folder / _SETTINGS_FILE).write_bytes(msgspec.json.encode(self.settings))
        for name, array in self._arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> "SessionKnn":
        """Map what `save` wrote into memory; raises ValueError for what is no index."""
        settings = msgspec.json.decode((folder / _SETTINGS_FILE).read_bytes(), type=KnnSettings)
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _DTYPES}
        _check(arrays)
        return cls(settings, arrays)


def _check(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Refuse positions that lead out of their arrays: the compiled loops do not look."""
    for name, array in arrays.items():
        if array.ndim != 1 or array.dtype != _DTYPES[name]:
            raise ValueError(f"{name} is {array.ndim}-dimensional {array.dtype}, not one-dimensional {_DTYPES[name]}")
    n_items, n_sessions = len(arrays["idf"]) - 1, len(arrays["session_starts"]) - 1
    sessions, places = arrays["posting_sessions"], arrays["posting_places"]
    is_sound = (
        n_items >= 0
        and bool(np.isfinite(arrays["idf"]).all())
        and len(arrays["posting_starts"]) == n_items + 2
        and _are_starts(arrays["session_starts"], len(arrays["session_items"]))
        and _are_starts(arrays["posting_starts"], len(sessions))
        and len(places) == len(sessions)
        and _are_within(arrays["session_items"], 1, n_items)
        and _are_within(sessions, 0, n_sessions - 1)
        and bool(np.all((places >= 0) & (places < np.diff(arrays["session_starts"])[sessions])))
    )
    if not is_sound:
        raise ValueError("the arrays of the index do not fit together")


def _are_starts(starts: NDArray[Any], end: int) -> bool:
    return len(starts) > 0 and starts[0] == 0 and starts[-1] == end and bool(np.all(np.diff(starts) >= 0))


def _are_within(values: NDArray[Any], lowest: int, highest: int) -> bool:
    return not len(values) or bool(values.min() >= lowest and values.max() <= highest)


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
