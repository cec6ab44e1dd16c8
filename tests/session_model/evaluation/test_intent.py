"""Intent by prefix."""

import pytest
from msgspec.structs import replace

from schemas.ranking import IntentProbabilities
from session_model.evaluation.intent import evaluate_intent
from session_model.intent.model import IntentModel
from session_model.intent.prefix_features import FEATURE_NAMES
from tests.session_model.intents import (
    CART,
    END,
    PURCHASE,
    VIEW,
    columns,
    constant,
    head,
    purchase_only,
    random_network,
    shop,
)


def test_groups_follow_the_prefix() -> None:
    """Of two sessions, one buys at its second event: its later prefixes count nowhere; `end` takes each once."""
    model = replace(purchase_only(0.0), whole_session=head(constant(0.0)))
    evaluation = evaluate_intent(model, columns([[VIEW, PURCHASE, VIEW, VIEW], [VIEW] * 5 + [END]]))
    assert {name: one.n for name, one in evaluation.intent.items()} == {"1": 2, "end": 2}
    assert {one.base_rate for one in evaluation.intent.values()} == {0.5}
    assert evaluation.intent_overall["purchase"].n == 6
    assert evaluation.intent_leave == evaluation.intent_cart == {}


def test_a_signal_that_says_nothing_is_thin() -> None:
    """The same probability everywhere is worth the base rate: PR-AUC equals it, ROC-AUC is a half."""
    one = evaluate_intent(purchase_only(-2.0), shop(300, seed=1)).intent["1"]
    assert one.pr_auc == pytest.approx(one.base_rate)
    assert one.roc_auc == pytest.approx(0.5)
    assert one.is_thin


def test_the_logistic_regression_is_the_bar() -> None:
    """Differences are the served model's figures minus the regression's."""
    served, bar = head(random_network(1)), head(constant(-2.0))
    model = IntentModel(FEATURE_NAMES, purchase=type(served)(served.served, bar.served))
    one = evaluate_intent(model, shop(300, seed=2)).intent["2"]
    assert one.minus_logistic["pr_auc"].value == pytest.approx(one.pr_auc - one.logistic["pr_auc"])
    assert one.logistic["roc_auc"] == pytest.approx(0.5)
    assert one.minus_logistic["roc_auc"].low <= one.roc_auc - 0.5 <= one.minus_logistic["roc_auc"].high


def test_every_head_is_measured_where_it_is_asked() -> None:
    """Leaving at every prefix that exists, the cart where something lies in it."""
    sessions = columns([[VIEW, CART, PURCHASE], [CART, VIEW], [VIEW, VIEW]])
    sessions.items[1:3] = 0
    heads = dict.fromkeys(IntentProbabilities._fields, head(constant(0.0)))
    evaluation = evaluate_intent(IntentModel(FEATURE_NAMES, **heads), sessions)
    assert evaluation.intent_leave["2"].n == 3
    assert evaluation.intent_leave["2"].base_rate == pytest.approx(2 / 3)
    assert evaluation.intent_cart["2"].n == 2
    assert evaluation.intent_cart["2"].base_rate == 0.5
    assert list(evaluation.intent_overall) == ["purchase", "leave", "cart_abandonment"]
