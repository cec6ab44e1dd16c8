"""Intent models without training."""

import numpy as np

from schemas.ids import ItemId, SessionId
from session_model.data.sessions import EVENT_TYPE_CODES, Sessions
from session_model.intent.feature_model import FeatureModel, HiddenUnit
from session_model.intent.head import CalibratedModel, IntentHead
from session_model.intent.model import IntentModel
from session_model.intent.prefix_features import FEATURE_NAMES

VIEW, CART, PURCHASE, END = (EVENT_TYPE_CODES.index(name) for name in ("view", "cart", "purchase", "session_end"))

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


def columns(rows: list[list[int]]) -> Sessions:
    """Make sessions of event type codes, one event a minute."""
    starts = np.cumsum([0, *map(len, rows)])
    n = int(starts[-1])
    return Sessions(
        session_ids=[SessionId(f"s{number}") for number in range(len(rows))],
        starts=starts,
        items=np.arange(n, dtype=np.int32) % 7,
        item_ids=[ItemId(f"i{number}") for number in range(7)],
        times_ms=np.arange(n, dtype=np.int64) * 60_000,
        event_types=np.array([code for row in rows for code in row], np.uint8),
        prices=np.full(n, np.nan, np.float32),
    )


def shop(n_sessions: int, seed: int, buyers_with_cart: float = 0.5) -> Sessions:
    """Draw sessions: a fifth put something into the cart, and a share of those buys; of the others, 3 %."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n_sessions):
        has_cart = rng.random() < 0.2
        buys = rng.random() < (buyers_with_cart if has_cart else 0.03)
        row = [VIEW] * int(rng.integers(1, 5)) + [CART] * has_cart + [VIEW] * int(rng.integers(0, 3))
        rows.append(row + [PURCHASE] * buys)
    return columns(rows)
