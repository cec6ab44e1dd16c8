"""How good probabilities of a purchase are; never accuracy, which says nothing where one session in twenty buys."""

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 10
_SMALLEST = 1e-7


def pr_auc(labels: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float:
    """Average precision, both (n,); equal probabilities count as one threshold. NaN without a positive."""
    thresholds = _threshold_ends(probabilities)
    order = np.argsort(-probabilities, kind="stable")
    true_positives = np.cumsum(labels[order])[thresholds]
    if not len(true_positives) or not true_positives[-1]:
        return float("nan")
    precision = true_positives / (thresholds + 1)
    recall_gained = np.diff(true_positives, prepend=0) / true_positives[-1]
    return float((precision * recall_gained).sum())


def roc_auc(labels: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float:
    """P(a positive scores above a negative), ties half; both (n,). NaN where one of the classes is missing."""
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

    Equal mass, since bins of equal width would put nearly all sessions of a shop into the first.
    """
    if not len(labels):
        return float("nan")
    order = np.argsort(probabilities, kind="stable")
    bins = np.array_split(order, min(CALIBRATION_BINS, len(order)))
    gaps = [abs(float(probabilities[b].mean()) - float(labels[b].mean())) * len(b) for b in bins]
    return float(sum(gaps) / len(labels))


def log_loss(labels: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float:
    """Mean negative log likelihood, both (n,)."""
    likelihood = np.where(labels, probabilities, 1 - probabilities)
    return float(-np.log(np.maximum(likelihood, _SMALLEST)).mean())


def _threshold_ends(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give the last place of each distinct value in descending order."""
    descending = -np.sort(-probabilities)
    return np.flatnonzero(np.append(descending[1:] != descending[:-1], True)[: len(descending)])
