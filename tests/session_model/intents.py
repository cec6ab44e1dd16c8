"""Intent models without training."""

import numpy as np

from session_model.intent.feature_model import FeatureModel, HiddenUnit
from session_model.intent.head import CalibratedModel, IntentHead
from session_model.intent.model import IntentModel
from session_model.intent.prefix_features import FEATURE_NAMES

N_FEATURES = len(FEATURE_NAMES)


def head(model: FeatureModel) -> IntentHead:
    """Serve a model uncalibrated."""
    return IntentHead(CalibratedModel(model), CalibratedModel(model))


def constant(logit: float) -> FeatureModel:
    """Return a model that says the same of every prefix."""
    return FeatureModel((0.0,) * N_FEATURES, (1.0,) * N_FEATURES, (0.0,) * N_FEATURES, logit)


def purchase_only(logit: float) -> IntentModel:
    """Make a model of P(purchase) alone, the same for every prefix."""
    return IntentModel(FEATURE_NAMES, purchase=head(constant(logit)))


def random_network(seed: int, n_hidden: int = 5) -> FeatureModel:
    """Draw a network with a hidden layer."""
    rng = np.random.default_rng(seed)
    hidden = tuple(
        HiddenUnit(tuple(rng.normal(0, 0.3, N_FEATURES).tolist()), float(rng.normal()), float(rng.normal()))
        for _ in range(n_hidden)
    )
    means, weights = rng.normal(1, 1, N_FEATURES), rng.normal(0, 0.2, N_FEATURES)
    scales = rng.uniform(0.5, 2, N_FEATURES)
    return FeatureModel(tuple(means.tolist()), tuple(scales.tolist()), tuple(weights.tolist()), -0.5, hidden)
