"""The intent model on sessions drawn from a known rule."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.ranking import IntentProbabilities
from session_model.data.sessions import Sessions
from session_model.fitting.intent import fit_intent
from session_model.fitting.intent_examples import IntentExamples, intent_examples
from session_model.intent.calibration import Calibration
from session_model.intent.model import IntentModel
from session_model.intent.prefix_features import FEATURE_NAMES
from session_model.metrics.intent import expected_calibration_error, pr_auc, roc_auc
from tests.session_model.intents import PURCHASE, VIEW, columns, shop


@pytest.fixture(scope="module")
def model() -> IntentModel:
    """Fit on 3,000 sessions."""
    fitted = fit_intent(shop(3_000, seed=1))
    assert fitted is not None
    return fitted


def column(model: IntentModel, examples: IntentExamples, name: str) -> NDArray[np.float64]:
    """Return one probability of every prefix."""
    return model.probabilities(examples.features)[:, IntentProbabilities._fields.index(name)]


def test_beats_the_base_rate_and_means_what_it_says(model: IntentModel) -> None:
    """On later sessions: PR-AUC twice the base rate, and an expected calibration error within .02."""
    examples = intent_examples(shop(3_000, seed=2))
    probabilities = column(model, examples, "purchase")
    base_rate = float(examples.purchase.mean())
    assert pr_auc(examples.purchase, probabilities) > 2 * base_rate
    assert roc_auc(examples.purchase, probabilities) > 0.65
    assert expected_calibration_error(examples.purchase, probabilities) <= 0.02


def test_leaving_and_the_cart_mean_what_they_say() -> None:
    """So do P(no further event), at every prefix, and P(the cart is left behind), where there is a cart."""
    fitted, later = (replace(one, items=np.zeros_like(one.items)) for one in (shop(3_000, 1), shop(3_000, 2)))
    model, examples = fit_intent(fitted), intent_examples(later)
    assert model is not None
    leave, cart = column(model, examples, "leave"), column(model, examples, "cart_abandonment")
    assert roc_auc(examples.leave, leave) > 0.6
    assert expected_calibration_error(examples.leave, leave) <= 0.03
    assert np.array_equal(np.isnan(cart), ~examples.has_cart)
    asked = examples.has_cart
    assert expected_calibration_error(examples.cart_abandonment[asked], cart[asked]) <= 0.05


def test_calibration_follows_the_later_sessions() -> None:
    """Where buyers get rarer over time, the probabilities are those of the later slice, not of the long past."""
    past, later = shop(4_800, seed=3, buyers_with_cart=0.9), shop(1_200, seed=4, buyers_with_cart=0.2)
    rows = [_codes(sessions, number) for sessions in (past, later) for number in range(len(sessions))]
    drifted = fit_intent(columns(rows))
    assert drifted is not None
    examples = intent_examples(shop(3_000, seed=5, buyers_with_cart=0.2))
    assert expected_calibration_error(examples.purchase, column(drifted, examples, "purchase")) <= 0.03


def test_what_nothing_teaches_has_no_head() -> None:
    """Without purchases no P(purchase), without carts no P(cart left behind); without times or sessions no model."""
    assert fit_intent(columns([[VIEW, PURCHASE]][:0])) is None
    untimed = replace(columns([[VIEW, VIEW, PURCHASE], [VIEW]] * 40), times_ms=None)
    assert fit_intent(untimed) is None
    views = fit_intent(columns([[VIEW, VIEW], [VIEW]] * 40))
    assert views is not None
    assert list(views.heads) == ["leave"]
    row = intent_examples(columns([[VIEW]])).features[0]
    assert (views.answer(row).purchase, views.answer(row).cart_abandonment) == (None, None)
    assert views.answer(row).leave is not None


def test_purchases_in_the_past_only_still_give_a_model() -> None:
    """A calibration slice with one class leaves the uncalibrated model."""
    fitted = fit_intent(columns([[VIEW, VIEW, PURCHASE], [VIEW]] * 40 + [[VIEW, VIEW]] * 20))
    assert fitted is not None
    assert fitted.purchase is not None
    assert fitted.purchase.served.calibration == Calibration()


def test_one_row_is_a_row_of_many(model: IntentModel) -> None:
    """The live call and the batch agree."""
    examples = intent_examples(shop(20, seed=6))
    answers = model.probabilities(examples.features)
    for row in (0, 7):
        told = [np.nan if value is None else value for value in model.answer(examples.features[row])]
        assert told == pytest.approx(answers[row].tolist(), nan_ok=True)


def test_a_saved_model_answers_alike(model: IntentModel, tmp_path: Path) -> None:
    """JSON keeps every bit."""
    model.save(tmp_path / "intent.json")
    assert IntentModel.load(tmp_path / "intent.json") == model
    assert model.feature_names == FEATURE_NAMES


def test_the_release_knows_how_good_its_intent_is(model: IntentModel) -> None:
    """The latest sessions, unseen by fit and calibration, give its quality."""
    assert model.purchase is not None
    held_out = model.purchase.served.held_out
    assert held_out is not None
    assert held_out.pr_auc > 1.5 * held_out.base_rate
    assert held_out.calibration_error < 0.05


def _codes(sessions: Sessions, number: int) -> list[int]:
    codes: list[int] = sessions.event_types[sessions.starts[number] : sessions.starts[number + 1]].tolist()
    return codes
