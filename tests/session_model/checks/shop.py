"""A shop in which the next item follows from the last two: what a network can know, and first-order counts cannot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId, SessionId
from schemas.ranking import Candidates, ModelInput
from session_model.checks.contender import Contender
from session_model.data.sessions import EVENT_TYPE_CODES, Sessions
from session_model.networks.exported_model import NextItemModel
from session_model.release.release import Release
from tests.builders.releases import release_parts, written_release

N_ITEMS = 60
ITEM_IDS = [ItemId(f"i{n}") for n in range(1, N_ITEMS + 1)]
START_MS = 1_769_860_800_000
"""2026-01-31T12:00Z."""
_LISTED = 20


def follower(items: NDArray[np.int32]) -> int:
    """Return the `ItemIndex` that follows; by the parity of the item before the last one."""
    step = 7 if len(items) > 1 and items[-2] % 2 else 22
    return int(items[-1] - 1 + step) % N_ITEMS + 1


class Knowing:
    """A model that knows what follows, then lists the items after it."""

    def rank(self, inputs: Sequence[ModelInput]) -> list[Candidates]:
        """Rank."""
        return [self._ranked(row) if len(row.items) else Candidates.none() for row in inputs]

    def first(self, row: ModelInput) -> int:
        """Return what is listed first."""
        return follower(row.items)

    def _ranked(self, row: ModelInput) -> Candidates:
        items = (self.first(row) - 1 + np.arange(_LISTED)) % N_ITEMS + 1
        scores = 0.5 ** np.arange(1, _LISTED + 1) * (1 + 0.01 * (len(row.items) % 5))
        return Candidates(items.astype(np.int32), scores.astype(np.float32))


class Guessing(Knowing):
    """A model that lists the same items for everybody."""

    def first(self, row: ModelInput) -> int:  # noqa: ARG002 - the base's
        """Return an item."""
        return 1


class Blinkered(Knowing):
    """A model that lists the first `HIDDEN` items of the shop behind four others."""

    HIDDEN = 10

    def first(self, row: ModelInput) -> int:
        """Return what follows, or is four before it."""
        item = follower(row.items)
        return item if item > self.HIDDEN else (item - 5) % N_ITEMS + 1


class Normalised(Knowing):
    """A model whose scores depend on the rows beside, as those of batch normalisation in training mode do."""

    def rank(self, inputs: Sequence[ModelInput]) -> list[Candidates]:
        """Rank; scores are over the mean first item of the batch."""
        mean = float(np.mean([row.items[0] for row in inputs]))
        return [Candidates(one.item_indices, one.scores / np.float32(mean)) for one in super().rank(inputs)]


class Slow(Knowing):
    """A model that does everything a hundred times."""

    def rank(self, inputs: Sequence[ModelInput]) -> list[Candidates]:
        """Rank."""
        for _ in range(100):
            ranked = super().rank(inputs)
        return ranked


def sessions(n: int, seed: int, *, start_ms: int = START_MS) -> Sessions:
    """Make sessions of two to nine views a minute apart, one every two minutes; every fifth click is any item."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        items = [int(rng.integers(1, N_ITEMS + 1))]
        while len(items) < 2 + len(rows) % 8:
            is_any = rng.random() < 0.2
            items.append(int(rng.integers(1, N_ITEMS + 1)) if is_any else follower(np.array(items, np.int32)))
        rows.append(items)
    flat = np.concatenate(rows).astype(np.int32)
    starts = np.cumsum([0, *map(len, rows)])
    times_ms = np.concatenate(
        [start_ms + 60_000 * (2 * number + np.arange(len(row))) for number, row in enumerate(rows)]
    )
    return Sessions(
        session_ids=[SessionId(f"s{seed}-{number}") for number in range(n)],
        starts=starts,
        items=flat - 1,
        item_ids=ITEM_IDS,
        times_ms=times_ms.astype(np.int64),
        event_types=np.full(len(flat), EVENT_TYPE_CODES.index("view"), np.uint8),
        prices=np.full(len(flat), np.nan, np.float32),
    )


def release(directory: Path, version: int = 8, **facts: Any) -> Release:
    """Write a release that was trained on other sessions of the shop; the model alone decides the blend."""
    trained = sessions(400, seed=1)
    parts = release_parts([str(one) for one in ITEM_IDS], trained.starts, trained.items + 1)
    return written_release(directory, parts, version=version, candidate_count=_LISTED, **facts)


def contender(directory: Path, model: NextItemModel, version: int = 8, **facts: Any) -> Contender:
    """Make a release with a model."""
    return Contender(release(directory / str(version), version, **facts), model)
