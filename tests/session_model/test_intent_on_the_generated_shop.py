"""Intent on the generated shop: a log to learn from, and the next hours of it to be measured on."""

from pathlib import Path

import pytest

from agents.shop.settings import ShopSettings
from agents.shop.training_data import write_training_data
from session_model.data.formats import read_sessions
from session_model.evaluation.intent import IntentEvaluation, evaluate_intent
from session_model.fitting.intent import fit_intent


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> IntentEvaluation:
    """Fit on 40,000 events, measure on the 15,000 after them."""
    folder: Path = tmp_path_factory.mktemp("shop")
    write_training_data(ShopSettings(), folder / "all.jsonl", 55_000)
    lines = (folder / "all.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "train.jsonl").write_bytes(b"".join(lines[:40_000]))
    (folder / "test.jsonl").write_bytes(b"".join(lines[40_000:]))
    model = fit_intent(read_sessions(folder / "train.jsonl", "jsonl"))
    assert model is not None
    return evaluate_intent(model, read_sessions(folder / "test.jsonl", "jsonl"))


def test_the_purchase_is_foreseen_and_no_prefix_is_worse_than_logistic_regression(evaluation: IntentEvaluation) -> None:
    """A first view says nothing, and is marked as thin; from the second event on PR-AUC is twice the base rate."""
    assert [name for name, one in evaluation.intent.items() if one.is_thin] == ["1"]
    for name, one in evaluation.intent.items():
        assert name == "1" or one.pr_auc > 2 * one.base_rate
        assert min(one.minus_logistic[measure].high for measure in ("pr_auc", "roc_auc")) >= 0


def test_probabilities_mean_what_they_say(evaluation: IntentEvaluation) -> None:
    """Over all prefixes ECE is small for each of the three."""
    ece = {name: one.ece for name, one in evaluation.intent_overall.items()}
    assert ece["purchase"] <= 0.03
    assert ece["leave"] <= 0.02
    assert ece["cart_abandonment"] <= 0.06
