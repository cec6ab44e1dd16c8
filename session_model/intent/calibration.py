"""From a model's logit to a probability that means what it says."""

import msgspec
import numpy as np
from numpy.typing import NDArray


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map logits to probabilities without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


class Calibration(msgspec.Struct, frozen=True):
    """The calibrated probability sigmoid(slope * logit + intercept), or a piecewise-linear one where there are knots.

    knots: (logit, probability), both ascending, the probability constant outside; empty = Platt's sigmoid decides.
    """

    slope: float = 1.0
    intercept: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrate `logits` of any shape."""
        if not self.knots:
            return sigmoid(self.slope * logits + self.intercept)
        xs, ys = np.array(self.knots).T
        return np.asarray(np.interp(logits, xs, ys), np.float64)
