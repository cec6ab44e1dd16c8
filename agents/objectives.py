"""The service level objectives: what shoppers are promised over 30 days, said once.

Prometheus' rules (`compose/prometheus/slos.py`) watch them over hours and days, the guard of a rollout over minutes.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """target: share of the answers that are good. within: of the click, to be good; None = it is not about time."""

    name: str
    target: float
    within: timedelta | None = None

    @property
    def budget(self) -> float:
        """The share of the answers that may be bad."""
        return 1 - self.target


ANSWER_LATENCY: Final = Objective(name="answer-latency", target=0.99, within=timedelta(milliseconds=500))
MODEL_SHARE: Final = Objective(name="model-share", target=0.95)
FRESHNESS: Final = Objective(name="freshness", target=0.999, within=timedelta(seconds=10))
OBJECTIVES: Final = (ANSWER_LATENCY, MODEL_SHARE, FRESHNESS)

NOT_THE_MODELS: Final = ("cheap", "trending_stale", "unseen_items", "filtered_out")
"""Reasons of answers that count for no share of the model: nobody asks it, or it has nothing to say."""
