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
    thresholds = _threshold_ends(probabilities)
    order = np.argsort(-probabilities, kind="stable")
    true_positives = np.cumsum(labels[order])[thresholds]
    if not len(true_positives) or not true_positives[-1]:
        return float("nan")
    precision = true_positives / (thresholds + 1)
    recall_gained = np.diff(true_positives, prepend=0) / true_positives[-1]
    return float((precision * recall_gained).sum())


def roc_auc(labels: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float:
    """P(a positive scores above a negative), ties half; both (n,). NaN where one of the classes is missing.

    (sum of the positives' mean ranks - p (p + 1) / 2) / (p n), with p positives and n negatives (Mann & Whitney 1947;
    Hanley & McNeil, Radiology 1982).
    """
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        return float("nan")
    ordered = np.sort(probabilities)
    below = np.searchsorted(ordered, probabilities, side="left")
    not_above = np.searchsorted(ordered, probabilities, side="right")
    mean_ranks = (below + not_above + 1) / 2
    return float((mean_ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


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


def _threshold_ends(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give the last place of each distinct value in descending order."""
    descending = -np.sort(-probabilities)
    return np.flatnonzero(np.append(descending[1:] != descending[:-1], True)[: len(descending)])
