"""A release that answers in this process: the candidate, and the champion beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.ranking import Candidates, ModelInput
from session_model.networks.exported_model import NextItemModel
from session_model.release.release import Release


@dataclass(frozen=True, slots=True)
class Contender:
    """`model` is the SavedModel of `release`."""

    release: Release
    model: NextItemModel

    def answers(self, rows: Sequence[ModelInput]) -> list[Candidates]:
        """Rank for each row as a worker does before its filters; by what is popular where nothing of it is known."""
        release = self.release
        return [
            release.blend(ranking, release.neighbours(row.items), row.items) if len(row.items) else release.popular()
            for row, ranking in zip(rows, self.model.rank(rows), strict=True)
        ]


def differ(one: Candidates, other: Candidates, tolerance: float) -> bool:
    """Return whether two rankings are not the same; places of items with scores within `tolerance` may change."""
    return _lacks(one, other, tolerance) or _lacks(other, one, tolerance)


def _lacks(one: Candidates, other: Candidates, tolerance: float) -> bool:
    """Return whether an item of `one` has another score in `other`, or is absent there and not at the very end."""
    scores = dict(zip(other.item_indices.tolist(), other.scores.tolist(), strict=True))
    last = min(scores.values(), default=0.0)
    return any(
        abs(score - scores[item]) > tolerance if item in scores else score > last + tolerance
        for item, score in zip(one.item_indices.tolist(), one.scores.tolist(), strict=True)
    )
