"""How good a release's intent is on sessions it has not seen, by what was known when it was asked."""

import numpy as np
from numpy.typing import NDArray

from session_model.intent import IntentModel, intent_examples
from session_model.intent_metrics import IntentQuality, intent_quality
from session_model.sessions import Sessions

PREFIX_LENGTHS = (1, 2, 3, 5, 10)


def evaluate_intent(model: IntentModel, sessions: Sessions) -> dict[str, IntentQuality]:
    """Measure on every prefix, on those before the session's first purchase, and of these by length.

    The published figures are by length and before the first purchase; a stream signals at every prefix. A group whose
    labels are all alike is left out.
    """
    examples = intent_examples(sessions)
    probabilities = model.probabilities(examples.features)
    groups: dict[str, NDArray[np.bool_]] = {
        "every prefix": np.ones(len(examples.labels), np.bool_),
        "before a purchase": examples.before_purchase,
    }
    for length in PREFIX_LENGTHS:
        groups[f"after {length}"] = examples.before_purchase & (examples.lengths == length)
    qualities = {name: intent_quality(examples.labels[rows], probabilities[rows]) for name, rows in groups.items()}
    return {name: quality for name, quality in qualities.items() if quality is not None}
