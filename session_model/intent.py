"""P(a purchase later in this session) from the prefix features: a calibrated logistic regression in plain NumPy."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from session_model.calibration import Calibration, CalibrationFit, fit_isotonic, fit_platt, uncalibrated
from session_model.intent_metrics import IntentQuality, intent_quality, log_loss
from session_model.logistic import fit_logistic
from session_model.prefix_features import FEATURE_NAMES, prefix_features
from session_model.session_events import session_events
from session_model.sessions import EVENT_TYPE_CODES, Sessions

L2 = 1e-4
MAX_EXAMPLES = 60_000
MAX_PREFIXES_PER_SESSION = 100
FIT_SHARE = 0.8
"""Of the sessions, oldest first; the later rest calibrates."""
_KINDS: tuple[CalibrationFit, ...] = (uncalibrated, fit_platt, fit_isotonic)
_PURCHASE = EVENT_TYPE_CODES.index("purchase")


@dataclass(frozen=True, slots=True)
class IntentExamples:
    """Prefixes with what came of them.

    features: (n, n_features) float32. labels: (n,) bool, a purchase follows. sessions, lengths: (n,) int64, the
    session's number and the events of the prefix. before_purchase: (n,) bool, the prefix has no purchase yet; the
    published figures are on these alone, while a stream signals after a purchase too.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.bool_]
    before_purchase: NDArray[np.bool_]
    sessions: NDArray[np.int64]
    lengths: NDArray[np.int64]


class IntentModel(msgspec.Struct, frozen=True):
    """A logistic regression on standardised features and its calibration.

    means, scales, weights: (n_features,), in the order of `feature_names`. held_out: measured on the latest sessions,
    which neither fit nor calibration saw; None where they were too few.
    """

    feature_names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    calibration: Calibration = Calibration()
    held_out: IntentQuality | None = None

    def linear(self) -> tuple[NDArray[np.float64], float]:
        """Give weights (n_features,) and bias that act on the raw features: logit = features @ weights + bias."""
        weights = np.array(self.weights) / np.array(self.scales)
        return weights, self.bias - float(weights @ np.array(self.means))

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated probabilities of (n, n_features) rows, (n,)."""
        weights, bias = self.linear()
        return self.calibration.probabilities(features.astype(np.float64) @ weights + bias)

    def probability(self, features: NDArray[np.float32]) -> float:
        """Calibrated probability of one row, (n_features,)."""
        return float(self.probabilities(features[None, :])[0])

    def save(self, path: Path) -> None:
        """Write the model as JSON."""
        path.write_bytes(msgspec.json.encode(self))

    @classmethod
    def load(cls, path: Path) -> "IntentModel":
        """Read what `save` wrote; raises ValueError on another file."""
        return msgspec.json.decode(path.read_bytes(), type=cls)


def intent_examples(sessions: Sessions) -> IntentExamples:
    """Make one example of each prefix of the latest sessions, about `MAX_EXAMPLES` at most.

    A prefix that ends with the session's explicit end asks nothing and is left out.
    """
    lengths = np.minimum(np.diff(sessions.starts), MAX_PREFIXES_PER_SESSION)
    latest_first = np.cumsum(lengths[::-1])[::-1]
    rows, labels, before, owners, prefix_lengths = [], [], [], [], []
    for number in np.flatnonzero(latest_first <= MAX_EXAMPLES):
        events = session_events(sessions, int(number))
        purchases = [place for place, event in enumerate(events) if event.event_type == "purchase"]
        for length in range(1, int(lengths[number]) + 1):
            if events[length - 1].event_type == "session_end":
                continue
            rows.append(prefix_features(events[:length]))
            labels.append(bool(purchases) and purchases[-1] >= length)
            before.append(not purchases or purchases[0] >= length)
            owners.append(number)
            prefix_lengths.append(length)
    return IntentExamples(
        features=np.array(rows, np.float32).reshape(-1, len(FEATURE_NAMES)),
        labels=np.array(labels, np.bool_),
        before_purchase=np.array(before, np.bool_),
        sessions=np.array(owners, np.int64),
        lengths=np.array(prefix_lengths, np.int64),
    )


def fit_intent(sessions: Sessions) -> IntentModel | None:
    """Fit on the older sessions and calibrate on the later ones; None where there is no purchase to learn from."""
    if sessions.times_ms is None or not np.any(sessions.event_types == _PURCHASE):
        return None
    examples = intent_examples(sessions)
    if not examples.labels.any() or examples.labels.all():
        return None
    first, last = int(examples.sessions[0]), int(examples.sessions[-1])
    fitted = examples.sessions < first + FIT_SHARE * (last + 1 - first)
    model = _fit(examples.features[fitted], examples.labels[fitted])
    weights, bias = model.linear()
    logits, labels = examples.features[~fitted].astype(np.float64) @ weights + bias, examples.labels[~fitted]
    return calibrated(model, logits, labels)


def calibrated(model: IntentModel, logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> IntentModel:
    """Calibrate on (n,) rows in time order: each kind is fitted on the earlier half, judged on the later half.

    Kinds: none, Platt, isotonic; the least log loss wins, the first of equals. Only none is left where the earlier half
    has one class. The winner is fitted again on both halves, but `held_out` is what it reached on the later one.
    """
    half = len(labels) // 2
    both_classes = labels[:half].any() and not labels[:half].all()
    trials = {
        kind: kind(logits[:half], labels[:half]).probabilities(logits[half:])
        for kind in (_KINDS if both_classes else (uncalibrated,))
    }
    best = min(trials, key=lambda kind: log_loss(labels[half:], trials[kind])) if both_classes else uncalibrated
    quality = intent_quality(labels[half:], trials[best])
    return msgspec.structs.replace(model, calibration=best(logits, labels), held_out=quality)


def _fit(features: NDArray[np.float32], labels: NDArray[np.bool_]) -> IntentModel:
    means = features.mean(axis=0, dtype=np.float64)
    deviations = features.std(axis=0, dtype=np.float64)
    scales = np.where(deviations > 0, deviations, 1.0)
    solution = fit_logistic((features - means) / scales, labels.astype(np.float64), L2)
    weights = tuple(solution[:-1].tolist())
    return IntentModel(FEATURE_NAMES, tuple(means.tolist()), tuple(scales.tolist()), weights, float(solution[-1]))
