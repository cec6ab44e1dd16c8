"""One calibrated probability on features, as it is served."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from session_model.intent.calibration import Calibration
from session_model.intent.feature_model import FeatureModel
from session_model.intent.quality import IntentQuality


class CalibratedModel(msgspec.Struct, frozen=True):
    """A model, and what makes a probability of its logit.

    held_out: measured on the latest sessions, which neither fit nor calibration saw; None where they were too few.
    """

    model: FeatureModel
    calibration: Calibration = Calibration()
    held_out: IntentQuality | None = None

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated probabilities of (n, n_features) rows, (n,)."""
        return self.calibration.probabilities(self.model.logits(features))


class IntentHead(msgspec.Struct, frozen=True):
    """What is served, and the logistic regression on the same features and sessions that it is held against."""

    served: CalibratedModel
    logistic: CalibratedModel
