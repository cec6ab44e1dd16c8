"""What an answer names as its reason is true, on a trained release of the generated shop."""

import pytest

from agents.shop.settings import ShopSettings
from bench.reasons import FURTHEST, LAST, NAMED, Reasons, judged, sessions_of
from bench.release import SMALL, trained_models
from schemas.servable import DEFAULT_MODEL_NAME
from session_model.networks.exported_model import ExportedModel
from session_model.release.copies import load_release
from session_model.release.files import newest_release


@pytest.fixture(scope="module")
def reasons(tmp_path_factory: pytest.TempPathFactory) -> Reasons:
    """Train as the bench does, and judge 500 sessions."""
    models = trained_models(tmp_path_factory.mktemp("bench"))
    release = load_release(newest_release(models / DEFAULT_MODEL_NAME))
    return judged(release, ExportedModel.of(release), sessions_of(ShopSettings(n_items=SMALL), 500))


@pytest.mark.slow
def test_what_is_named_is_mostly_the_first_cause(reasons: Reasons) -> None:
    """Without it the item falls nearly as far as it can by taking any one item out of the session."""
    assert reasons.share(NAMED) >= 0.85
    assert reasons.fall(NAMED) >= 0.95


@pytest.mark.slow
def test_naming_the_last_item_would_be_less_true(reasons: Reasons) -> None:
    """So a reason is more than a guess: the latest item is the likeliest one."""
    assert reasons.share(NAMED) > reasons.share(LAST) + 0.02
    assert reasons.fall(NAMED) > reasons.fall(LAST) + 0.02


@pytest.mark.slow
def test_most_of_the_first_items_have_a_reason(reasons: Reasons) -> None:
    """Though nothing is said where no item of the session stands out."""
    assert reasons.items > 500
    assert 0.7 < reasons.said / reasons.items < 1.0
    assert reasons.tallies[FURTHEST].guesses == reasons.said
