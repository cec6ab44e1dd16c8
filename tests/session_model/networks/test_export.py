"""What the exported graph adds to a network; what it keeps of one, test_next_item_networks.py tests."""

import numpy as np
import pytest
import tensorflow as tf

from session_model.intent.calibration import Calibration
from session_model.intent.head import CalibratedModel, IntentHead
from session_model.intent.model import IntentModel
from session_model.intent.prefix_features import CART_PRESENT, FEATURE_NAMES
from session_model.networks.export import Servable, ServableParts
from session_model.networks.gru import SessionGru
from session_model.networks.settings import GruSettings
from tests.session_model.intents import N_FEATURES, constant, purchase_only, random_network

N_ITEMS = 30
K = 7
FEATURES = np.random.default_rng(0).normal(0, 3, (2, N_FEATURES)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> SessionGru:
    """Return an untrained model: its scores are as good as any."""
    return SessionGru(N_ITEMS, GruSettings(units=8, dimension=6, max_length=5), seed=1)


def test_equal_scores_are_ordered_by_index(model: SessionGru) -> None:
    """With one vector for all items the answer is 1, 2, 3, ..."""
    twin = SessionGru(N_ITEMS, model.settings, seed=2)
    twin.item_table.assign(tf.ones_like(twin.item_table))
    servable = Servable(ServableParts(twin, None, N_FEATURES, K))
    answer = servable.recommend(np.array([[5]], np.int32), np.array([1], np.int32), FEATURES[:1])
    assert answer["items"].numpy().tolist() == [list(range(1, K + 1))]


def test_the_answer_is_never_longer_than_the_catalogue(model: SessionGru) -> None:
    """A catalogue smaller than the candidate count is answered whole."""
    servable = Servable(ServableParts(model, None, N_FEATURES, 10 * N_ITEMS))
    answer = servable.recommend(np.array([[5]], np.int32), np.array([1], np.int32), FEATURES[:1])
    assert sorted(answer["items"].numpy()[0]) == list(range(1, N_ITEMS + 1))
    assert answer["scores"].numpy().sum() == pytest.approx(1.0, abs=1e-5)


KNOTS = ((-1.0, 0.1), (0.0, 0.3), (1.0, 0.9))


@pytest.mark.parametrize("calibration", [Calibration(), Calibration(1.5, -0.4), Calibration(knots=KNOTS)])
def test_intent_in_the_graph_is_intent_in_numpy(model: SessionGru, calibration: Calibration) -> None:
    """Served and fallback probabilities agree for networks, a regression and each kind of calibration, NaN alike.

    Beyond the outer knots, too; the cart is asked in some of the rows.
    """
    heads = [
        IntentHead(CalibratedModel(one, calibration), CalibratedModel(one))
        for one in (random_network(1), constant(-1.0), random_network(2))
    ]
    intent = IntentModel(FEATURE_NAMES, *heads)
    features = np.random.default_rng(0).normal(0, 3, (50, N_FEATURES)).astype(np.float32)
    features[:, CART_PRESENT] = np.arange(50) % 2
    servable = Servable(ServableParts(model, intent, N_FEATURES, K))
    answer = servable.recommend(np.ones((50, 1), np.int32), np.ones(50, np.int32), features)
    assert answer["intent"].numpy() == pytest.approx(intent.probabilities(features), abs=1e-5, nan_ok=True)
    assert np.isnan(answer["intent"].numpy()).sum(axis=0).tolist() == [0, 0, 25]


def test_what_was_not_learned_is_nan_in_its_column(model: SessionGru) -> None:
    """The columns keep their order: purchase, leave, cart_abandonment."""
    servable = Servable(ServableParts(model, purchase_only(0.0), N_FEATURES, K))
    answer = servable.recommend(np.array([[5]], np.int32), np.array([1], np.int32), FEATURES[:1])
    assert answer["intent"].numpy()[0].tolist() == pytest.approx([0.5, np.nan, np.nan], nan_ok=True)


def test_without_labels_intent_is_nan(model: SessionGru) -> None:
    """A release without purchases claims no probability."""
    servable = Servable(ServableParts(model, None, N_FEATURES, K))
    answer = servable.recommend(np.array([[5]], np.int32), np.array([1], np.int32), FEATURES[:1])
    assert np.isnan(answer["intent"].numpy()).all()
