"""Fits the intent model on sessions."""

import numpy as np
from numpy.typing import NDArray

from session_model.data.sessions import Sessions
from session_model.fitting.categories import CategoriesOf
from session_model.fitting.intent_examples import IntentExamples, intent_examples
from session_model.fitting.intent_head import LabelledRows, fit_head
from session_model.intent.categories import NO_CATEGORIES
from session_model.intent.head import IntentHead
from session_model.intent.model import IntentModel
from session_model.intent.prefix_features import FEATURE_NAMES


def fit_intent(sessions: Sessions, categories_of: CategoriesOf = lambda _number: NO_CATEGORIES) -> IntentModel | None:
    """Fit every head that the sessions can teach, on the latest of them; None where that is none, or without times."""
    if sessions.times_ms is None or not len(sessions):
        return None
    examples = intent_examples(sessions, categories_of)
    model = IntentModel(
        FEATURE_NAMES,
        _fit(examples, examples.purchase),
        _fit(examples, examples.leave),
        _fit(examples, examples.cart_abandonment, examples.has_cart),
        _fit(examples, examples.purchase, examples.is_end),
    )
    return model if model.heads else None


def _fit(
    examples: IntentExamples, labels: NDArray[np.bool_], asked: NDArray[np.bool_] | None = None
) -> IntentHead | None:
    rows = np.ones(len(labels), np.bool_) if asked is None else asked
    return fit_head(LabelledRows(examples.features[rows], labels[rows], examples.sessions[rows]))
