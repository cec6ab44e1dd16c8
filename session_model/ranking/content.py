"""Items that are alike by what the shop says of them: category, title words, variant group and price.

Cosine of tf-idf vectors (Salton & Buckley 1988), a block each for group, category and title, plus a bonus for a price
near by. Only items with enough clicks are found: what is like an item answers in its place.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId, ItemIndex
from schemas.ranking import Candidates
from schemas.records import CatalogItem
from session_model.csr import flat_positions, starts_of
from session_model.ranking.top_k import top_k

WELL_KNOWN_CLICKS: Final = 5
"""Fewer in training teach too little of an item for it to answer in another one's place."""
POSTINGS_PER_TOKEN: Final = 2_000
"""Items of a token that are looked at, the most clicked first, so a query is bounded."""
TITLE_TOKENS: Final = 64
PRICE_WEIGHT: Final = 0.2
PRICE_SCALE: Final = 0.5
"""The bonus of a price is exp(-|difference of the logarithms| / this)."""
_WEIGHTS: Final = {"group": 0.2, "category": 0.4, "title": 0.4}
_WORD: Final = re.compile(r"\w+")
_CATEGORY_PART: Final = re.compile(r"\s*[./>|]\s*")
_DTYPES: Final = {
    "tokens": np.dtype(np.uint32),
    "idf": np.dtype(np.float32),
    "starts": np.dtype(np.int64),
    "items": np.dtype(np.int32),
    "weights": np.dtype(np.float32),
    "log_prices": np.dtype(np.float32),
}


class ContentIndex:
    """Finds well-known items like a given one. Immutable: safe to share between threads.

    arrays: `tokens` (n_tokens,) uint32, hashes, ascending, and their `idf` float32; `starts` (n_tokens + 1,) int64,
    `items` int32 `ItemIndex` and `weights` float32: by token, the well-known items that have it; `log_prices`
    (n_items + 1,) float32, NaN where unknown.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = arrays
        self._row_of = {int(token): row for row, token in enumerate(arrays["tokens"].tolist())}
        self._idf = arrays["idf"].tolist()

    @classmethod
    def fit(
        cls, records: Sequence[CatalogItem], index_of: Callable[[ItemId], ItemIndex | None], counts: NDArray[np.int64]
    ) -> "ContentIndex":
        """Index the well-known items among `records`; counts: (n_items + 1,) int64, clicks in training."""
        found_in = Counter(token for record in records for _, block in _blocks(record) for token in block)
        tokens = np.array(sorted(found_in), np.uint32)
        idf = np.array([math.log(1 + len(records) / found_in[token]) for token in tokens.tolist()], np.float32)
        log_prices = np.full(len(counts), np.nan, np.float32)
        empty: dict[str, NDArray[Any]] = {"starts": np.zeros(1, np.int64), "items": np.zeros(0, np.int32)}
        weigh = cls({"tokens": tokens, "idf": idf, **empty})._weighted  # noqa: SLF001 - of this very class
        postings = list[tuple[int, int, float]]()
        for record in records:
            item = index_of(record.item_id) or 0
            if counts[item] >= WELL_KNOWN_CLICKS:
                postings += [(row, item, weight) for row, weight in weigh(record)]
                if record.price:
                    log_prices[item] = math.log(record.price)
        rows, items, weights = np.array(postings, np.float64).reshape(-1, 3).T
        rows, items = rows.astype(np.int64), items.astype(np.int32)
        order = np.lexsort((items, -counts[items], rows))
        lengths = np.bincount(rows, minlength=len(tokens)).astype(np.int64)
        kept = np.minimum(lengths, POSTINGS_PER_TOKEN)
        best = order[flat_positions(starts_of(lengths)[:-1], kept)]
        return cls(
            {
                "tokens": tokens,
                "idf": idf,
                "starts": starts_of(kept),
                "items": items[best],
                "weights": weights[best].astype(np.float32),
                "log_prices": log_prices,
            }
        )

    def nearest(self, record: CatalogItem, k: int) -> Candidates:
        """Rank the `k` well-known items most like `record`; empty where nothing is said of it that others have.

        Scores are similarities up to 1.2, ties by `ItemIndex`: in a release the more clicked item first.
        """
        return top_k(*self.similarities(record), k)

    def similarities(self, record: CatalogItem) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the well-known items that share something with `record`, (n,), ascending, and how like they are."""
        weighted = self._weighted(record)
        if not weighted:
            return np.empty(0, np.int32), np.empty(0)
        rows, weights = (np.array(column) for column in zip(*weighted, strict=True))
        starts = self._arrays["starts"]
        lengths = starts[rows + 1] - starts[rows]
        places = flat_positions(starts[rows], lengths)
        found = self._arrays["items"][places]
        sums = np.bincount(found, np.repeat(weights, lengths) * self._arrays["weights"][places]).astype(np.float64)
        items = np.flatnonzero(sums).astype(np.int32)
        similarities = sums[items]
        if record.price:
            distances = np.abs(self._arrays["log_prices"][items] - math.log(record.price))
            similarities += np.where(np.isnan(distances), 0.0, PRICE_WEIGHT * np.exp(-distances / PRICE_SCALE))
        return items, similarities

    def _weighted(self, record: CatalogItem) -> list[tuple[int, float]]:
        """Return the rows and weights of the record's tokens; those that no record had are left out."""
        weighted = list[tuple[int, float]]()
        for name, block in _blocks(record):
            known = [(row, self._idf[row]) for token in block if (row := self._row_of.get(token)) is not None]
            norm = math.sqrt(sum(idf * idf for _, idf in known))
            weighted += [(row, math.sqrt(_WEIGHTS[name]) * idf / norm) for row, idf in known]
        return weighted

    def save(self, path: Path) -> None:
        """Write the index as .npz."""
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **self._arrays)

    @classmethod
    def load(cls, path: Path) -> "ContentIndex":
        """Read what `save` wrote; raises ValueError or KeyError on another file."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _DTYPES}
        if any(array.ndim != 1 or array.dtype != _DTYPES[name] for name, array in arrays.items()):
            raise ValueError("it has arrays of another type")
        starts, items = arrays["starts"], arrays["items"]
        is_sound = (
            len(arrays["tokens"]) == len(arrays["idf"]) == len(starts) - 1
            and len(items) == len(arrays["weights"])
            and starts[0] == 0
            and starts[-1] == len(items)
            and bool(np.all(np.diff(starts) >= 0))
            and (not len(items) or (items.min() > 0 and items.max() < len(arrays["log_prices"])))
        )
        if not is_sound:
            raise ValueError("its arrays do not fit together")
        return cls(arrays)


def _blocks(record: CatalogItem) -> Iterator[tuple[str, list[int]]]:
    """Return the hashed tokens of each kind that the record has; a category with its parents, `a.b` with `a`."""
    if record.variant_group:
        yield "group", [_hash("group", record.variant_group)]
    if record.category:
        parts = _CATEGORY_PART.split(record.category.lower())
        yield "category", sorted({_hash("category", "\n".join(parts[:end])) for end in range(1, len(parts) + 1)})
    if record.title:
        words = _WORD.findall(record.title.lower())[:TITLE_TOKENS]
        if words:
            yield "title", sorted({_hash("title", word) for word in words})


def _hash(kind: str, text: str) -> int:
    return crc32(f"{kind}:{text}".encode())
