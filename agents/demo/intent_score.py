"""What the intent signals said against what the shoppers did; only a generator knows the latter."""

from array import array
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from session_model.metrics.intent import pr_auc

BAND_EDGES: Final = (0.0, 0.02, 0.1, 0.3, 1.0)


@dataclass(frozen=True, slots=True)
class IntentBand:
    """Signals whose probability lay in [low, high), the last band's high included."""

    low: float
    high: float
    signals: int
    mean_predicted: float
    purchased_share: float


@dataclass(frozen=True, slots=True)
class IntentReport:
    """How good the signals were. brier_of_base_rate: the score of always telling `purchased_share`; lower is better.

    pr_auc: None where nobody purchased; chance is `purchased_share`.
    """

    signals: int
    purchased_share: float
    brier: float
    brier_of_base_rate: float
    pr_auc: float | None
    bands: tuple[IntentBand, ...]


class IntentScore:
    """Collects probabilities with the outcome of each; 5 bytes a signal."""

    def __init__(self) -> None:
        self._probabilities = array("f")
        self._outcomes = bytearray()

    def add(self, probability: float, *, purchase_followed: bool) -> None:
        """Take in one signal."""
        self._probabilities.append(probability)
        self._outcomes.append(purchase_followed)

    def report(self) -> IntentReport | None:
        """Score what was collected; None if nothing was."""
        if not self._outcomes:
            return None
        predicted = np.array(self._probabilities, np.float64)
        outcomes = np.frombuffer(bytes(self._outcomes), np.uint8).astype(bool)
        share = float(outcomes.mean())
        return IntentReport(
            signals=len(outcomes),
            purchased_share=share,
            brier=float(np.mean((predicted - outcomes) ** 2)),
            brier_of_base_rate=share * (1 - share),
            pr_auc=pr_auc(outcomes, predicted) if outcomes.any() else None,
            bands=tuple(_bands(predicted, outcomes)),
        )


def _bands(predicted: NDArray[np.float64], outcomes: NDArray[np.bool_]) -> list[IntentBand]:
    number = np.searchsorted(BAND_EDGES[1:-1], predicted, side="right")
    bands = []
    for band in np.unique(number):
        inside = number == band
        bands.append(
            IntentBand(
                low=BAND_EDGES[band],
                high=BAND_EDGES[band + 1],
                signals=int(inside.sum()),
                mean_predicted=float(predicted[inside].mean()),
                purchased_share=float(outcomes[inside].mean()),
            )
        )
    return bands
