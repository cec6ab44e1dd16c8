"""What probabilities are worth, as a release's head and the reports carry it."""

import msgspec


class IntentQuality(msgspec.Struct, frozen=True):
    """What probabilities are worth on examples that the model has not learned from; base_rate is PR-AUC's zero."""

    examples: int
    base_rate: float
    pr_auc: float
    roc_auc: float
    calibration_error: float
