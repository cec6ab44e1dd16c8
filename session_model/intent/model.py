"""What a shopper is about to do, from the prefix features: buy, leave, or leave the cart behind. Plain NumPy.

Without TensorFlow, since the worker answers by it when the model server is away; the SavedModel holds the same
arithmetic (session_model.networks.export).
"""

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.ranking import IntentProbabilities
from session_model.intent.head import IntentHead
from session_model.intent.prefix_features import has_cart


class IntentModel(msgspec.Struct, frozen=True):
    """One head a probability, named as in `IntentProbabilities`; None where the training data could not teach it.

    feature_names: what the heads read, in this order. whole_session: P(a purchase) of the last prefix before it, or of
    the whole session where there is none: another question than any that a stream asks, since nothing else follows. It
    is not served, and is there to be held against figures on whole sessions.
    """

    feature_names: tuple[str, ...]
    purchase: IntentHead | None = None
    leave: IntentHead | None = None
    cart_abandonment: IntentHead | None = None
    whole_session: IntentHead | None = None

    @property
    def heads(self) -> dict[str, IntentHead]:
        """Return the served heads that are there by name, in the order of `IntentProbabilities`."""
        named = {name: getattr(self, name) for name in IntentProbabilities._fields}
        return {name: head for name, head in named.items() if head is not None}

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated probabilities of (n, n_features) rows, (n, 3) in the order of `IntentProbabilities`.

        NaN: there is no such head, or for the cart, nothing lies in it.
        """
        answers = np.full((len(features), len(IntentProbabilities._fields)), np.nan)
        for name, head in self.heads.items():
            answers[:, IntentProbabilities._fields.index(name)] = head.served.probabilities(features)
        if self.cart_abandonment is not None:
            answers[~has_cart(features), IntentProbabilities._fields.index("cart_abandonment")] = np.nan
        return answers

    def answer(self, features: NDArray[np.float32]) -> IntentProbabilities:
        """Answer one row, (n_features,)."""
        row = self.probabilities(features[None, :])[0].tolist()
        return IntentProbabilities(*(None if np.isnan(probability) else probability for probability in row))

    def save(self, path: Path) -> None:
        """Write the model as JSON."""
        path.write_bytes(msgspec.json.encode(self))

    @classmethod
    def load(cls, path: Path) -> "IntentModel":
        """Read what `save` wrote; raises ValueError on another file."""
        return msgspec.json.decode(path.read_bytes(), type=cls)
