"""How good probabilities of a purchase are; never accuracy, which says nothing where one session in twenty buys."""

import numpy as np
from numpy.typing import NDArray

from session_model.intent.quality import IntentQuality

CALIBRATION_BINS = 10
_SMALLEST = 1e-7


def intent_quality(labels: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> IntentQuality | None:
    """Measure all at once, both (n,); None where the labels are all alike."""
    if not labels.any() or labels.all():
        return None
    return IntentQuality(
        examples=len(labels),
        base_rate=float(labels.mean()),
        pr_auc=pr_auc(labels, probabilities),
        roc_auc=roc_auc(labels, probabilities),
        calibration_error=expected_calibration_error(labels, probabilities),
    )


def pr_auc(labels: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float:
    """Average precision, both (n,); equal probabilities count as one threshold. NaN without a positive.

    Sum over falling thresholds t of (recall_t - recall_t-1) precision_t (Davis & Goadrich, ICML 2006).
    """
    from sklearn.metrics import average_precision_score  # noqa: PLC0415 - an extra

    return float(average_precision_score(labels, probabilities)) if labels.any() else float("nan")


def roc_auc(labels: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float:
    """P(a positive scores above a negative), ties half; both (n,). NaN where one of the classes is missing.

    (sum of the positives' mean ranks - p (p + 1) / 2) / (p n), with p positives and n negatives (Mann & Whitney 1947;
    Hanley & McNeil, Radiology 1982).
    """
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - an extra

    has_both = labels.any() and not labels.all()
    return float(roc_auc_score(labels, probabilities)) if has_both else float("nan")


def expected_calibration_error(labels: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float:
    """Mean |predicted - observed| over ten bins of equal mass, weighted by their size; both (n,).

    Sum over bins b of n_b / n |mean probability_b - mean label_b| (Naeini et al., AAAI 2015).
    Equal mass, since bins of equal width would put nearly all sessions of a shop into the first.
    """
    if not len(labels):
        return float("nan")
    order = np.argsort(probabilities, kind="stable")
    bins = np.array_split(order, min(CALIBRATION_BINS, len(order)))
    gaps = [abs(float(probabilities[b].mean()) - float(labels[b].mean())) * len(b) for b in bins]
    return float(sum(gaps) / len(labels))


def log_loss(labels: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float:
    """Mean negative log likelihood, both (n,): mean of -log p where the label is true, else -log(1 - p)."""
    return float(log_losses(labels, probabilities).mean())


def log_losses(labels: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Negative log likelihood of each row, all (n,)."""
    likelihood = np.where(labels, probabilities, 1 - probabilities)
    return np.asarray(-np.log(np.maximum(likelihood, _SMALLEST)), np.float64)
