"""The intent model on sessions drawn from a known rule."""

from pathlib import Path

import numpy as np
import pytest

from schemas.ids import ItemId, SessionId
from session_model.calibration import Calibration
from session_model.intent import IntentModel, calibrated, fit_intent, intent_examples
from session_model.intent_metrics import expected_calibration_error, pr_auc, roc_auc
from session_model.prefix_features import FEATURE_NAMES
from session_model.sessions import EVENT_TYPE_CODES, Sessions

VIEW, CART, PURCHASE, END = (EVENT_TYPE_CODES.index(name) for name in ("view", "cart", "purchase", "session_end"))


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


@pytest.fixture(scope="module")
def model() -> IntentModel:
    """Fit on 3,000 sessions."""
    fitted = fit_intent(shop(3_000, seed=1))
    assert fitted is not None
    return fitted


def test_beats_the_base_rate_and_means_what_it_says(model: IntentModel) -> None:
    """On later sessions: PR-AUC twice the base rate, and an expected calibration error within .02."""
    examples = intent_examples(shop(3_000, seed=2))
    probabilities = model.probabilities(examples.features)
    base_rate = float(examples.labels.mean())
    assert pr_auc(examples.labels, probabilities) > 2 * base_rate
    assert roc_auc(examples.labels, probabilities) > 0.65
    assert expected_calibration_error(examples.labels, probabilities) <= 0.02


def test_calibration_follows_the_later_sessions() -> None:
    """Where buyers get rarer over time, the probabilities are those of the later slice, not of the long past."""
    past, later = shop(2_400, seed=3, buyers_with_cart=0.9), shop(600, seed=4, buyers_with_cart=0.2)
    rows = [_codes(sessions, number) for sessions in (past, later) for number in range(len(sessions))]
    drifted = fit_intent(columns(rows))
    assert drifted is not None
    examples = intent_examples(shop(3_000, seed=5, buyers_with_cart=0.2))
    assert expected_calibration_error(examples.labels, drifted.probabilities(examples.features)) <= 0.03


def test_no_purchase_no_model() -> None:
    """Nothing to learn from is None: without purchases, with purchases only, without times, without sessions."""
    assert fit_intent(columns([[VIEW, VIEW], [CART]])) is None
    assert fit_intent(columns([[VIEW, PURCHASE], [VIEW, VIEW, PURCHASE]][:0])) is None
    assert fit_intent(columns([[PURCHASE]])) is None


def test_purchases_in_the_past_only_still_give_a_model() -> None:
    """A calibration slice with one class leaves the uncalibrated model."""
    fitted = fit_intent(columns([[VIEW, VIEW, PURCHASE], [VIEW]] * 40 + [[VIEW, VIEW]] * 20))
    assert fitted is not None
    assert (fitted.calibration.slope, fitted.calibration.intercept) == (1.0, 0.0)


def test_examples_are_labelled_by_what_comes_later() -> None:
    """A purchase labels the prefixes before it; the explicit end of a session is no prefix to answer."""
    examples = intent_examples(columns([[VIEW, PURCHASE, VIEW], [VIEW, END]]))
    assert examples.labels.tolist() == [True, False, False, False]
    assert examples.before_purchase.tolist() == [True, False, False, True]
    assert examples.sessions.tolist() == [0, 0, 0, 1]
    assert examples.lengths.tolist() == [1, 2, 3, 1]


def test_one_row_is_a_row_of_many(model: IntentModel) -> None:
    """The live call and the batch agree, and the raw-feature form is the same model."""
    examples = intent_examples(shop(20, seed=6))
    row = examples.features[7]
    assert model.probability(row) == pytest.approx(float(model.probabilities(examples.features)[7]))
    weights, bias = model.linear()
    standardised = (row - np.array(model.means)) / np.array(model.scales)
    assert float(row @ weights + bias) == pytest.approx(float(standardised @ np.array(model.weights) + model.bias))


def test_a_saved_model_answers_alike(model: IntentModel, tmp_path: Path) -> None:
    """JSON keeps every bit."""
    model.save(tmp_path / "intent.json")
    assert IntentModel.load(tmp_path / "intent.json") == model
    assert model.feature_names == FEATURE_NAMES


def test_a_curve_is_chosen_only_where_it_helps(model: IntentModel) -> None:
    """A true logit is left alone, a scaled one wants Platt's slope, a staircase wants knots."""
    rng = np.random.default_rng(8)
    logits = rng.normal(0, 2, 6_000)
    straight = rng.random(6_000) < 1 / (1 + np.exp(-logits))
    staircase = rng.random(6_000) < np.where(np.abs(logits) < 1.5, 0.1, np.where(logits > 0, 0.9, 0.05))
    assert calibrated(model, logits, straight).calibration == Calibration()
    assert calibrated(model, 3 * logits, straight).calibration.slope == pytest.approx(1 / 3, abs=0.05)
    assert calibrated(model, logits, staircase).calibration.knots


def test_the_release_knows_how_good_its_intent_is(model: IntentModel) -> None:
    """The latest sessions, unseen by fit and calibration, give its quality; too few give none."""
    assert model.held_out is not None
    assert model.held_out.pr_auc > 1.5 * model.held_out.base_rate
    assert model.held_out.calibration_error < 0.05
    assert calibrated(model, np.zeros(4), np.array([True, False, False, False])).held_out is None
    assert calibrated(model, np.zeros(0), np.zeros(0, np.bool_)).held_out is None


def _codes(sessions: Sessions, number: int) -> list[int]:
    codes: list[int] = sessions.event_types[sessions.starts[number] : sessions.starts[number + 1]].tolist()
    return codes
