"""How networks are shaped and trained, as values; loading them loads no TensorFlow."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from msgspec import Meta


@dataclass(frozen=True, slots=True)
class GruSettings:
    """Shape of the GRU.

    scale: inverse temperature; logits are `scale` times the cosine of session and item.
    item_dropout, state_dropout: share of entries DROPPED from the input item vectors and the state, in training only.
    max_length: the latest items that are read.
    has_attention: the session vector also reads a mean of the items so far, weighted by the state (NARM: Li et al.,
    CIKM 2017).
    """

    units: Annotated[int, Meta(ge=1)] = 128
    dimension: Annotated[int, Meta(ge=1)] = 128
    scale: Annotated[float, Meta(gt=0)] = 16.0
    item_dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.4
    state_dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.2
    max_length: Annotated[int, Meta(ge=1)] = 20
    has_attention: bool = False


@dataclass(frozen=True, slots=True)
class AttentionSettings:
    """Shape of the network of self-attention; `dimension`, `scale` and `max_length` are those of `GruSettings`.

    blocks: of attention and feed-forward network, one upon the other.
    dropout: share of entries DROPPED from the embedded items and from what each half of a block adds, in training only.
    """

    dimension: Annotated[int, Meta(ge=1)] = 128
    blocks: Annotated[int, Meta(ge=1)] = 2
    scale: Annotated[float, Meta(gt=0)] = 16.0
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.3
    max_length: Annotated[int, Meta(ge=1)] = 20


NetworkSettings = GruSettings | AttentionSettings
"""Shapes of the networks that are trained by `TrainingSettings`; session_model.networks.build makes the networks."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a network is trained.

    epochs: planned ones, which set the learning-rate schedule; early stopping may end before.
    batch_targets: targets a step, fewer where an epoch would have less than `MIN_STEPS` steps.
    negatives: further items a step, drawn from popularity^sampling_power.
    patience: epochs without a better Recall@20 + MRR@20 on the validation slice before stopping.
    recency_decay: see `BatchPlan`.
    """

    epochs: Annotated[int, Meta(ge=1)] = 6
    learning_rate: Annotated[float, Meta(gt=0)] = 0.003
    batch_targets: Annotated[int, Meta(ge=1)] = 512
    negatives: Annotated[int, Meta(ge=1)] = 4096
    sampling_power: Annotated[float, Meta(ge=0)] = 0.5
    patience: Annotated[int, Meta(ge=1)] = 2
    recency_decay: Annotated[float, Meta(gt=0)] | None = None
    seed: int = 1


Loss = Literal["cross-entropy", "bpr-max"]


@dataclass(frozen=True, slots=True)
class Gru4RecSettings:
    """Shape of the model and how it is trained.

    units: of the state and of the item vectors, which are compared.
    batch_sessions: sessions side by side.
    item_dropout, state_dropout: share of entries DROPPED from the input item vectors and from the state that is scored,
    in training only; the state that is carried to the next click stays whole.
    negatives: further items a step, drawn from popularity^sampling_power.
    elu, penalty: of BPR-max: scores below 0 are taken as elu (exp(score) - 1), and `bpr_max` says what is penalised.
    max_length: the latest items that are read when the model is served; training reads all.
    """

    loss: Loss
    units: int
    batch_sessions: int
    learning_rate: float
    momentum: float
    sampling_power: float
    item_dropout: float = 0.0
    state_dropout: float = 0.0
    elu: float = 1.0
    penalty: float = 0.0
    negatives: int = 2048
    epochs: int = 10
    max_length: int = 50
    seed: int = 1


GRU4REC: Final = {
    "gru4rec-rsc15": Gru4RecSettings("cross-entropy", 100, 32, 0.2, 0.2, 0.5, state_dropout=0.4),
    "gru4rec-yoochoose": Gru4RecSettings("cross-entropy", 480, 48, 0.07, 0.0, 0.2, state_dropout=0.2),
    "gru4rec-retailrocket": Gru4RecSettings(
        "bpr-max", 224, 80, 0.05, 0.4, 0.4, item_dropout=0.5, state_dropout=0.05, elu=0.5, penalty=1.95
    ),
    "gru4rec-diginetica": Gru4RecSettings(
        "bpr-max", 512, 128, 0.05, 0.15, 0.3, item_dropout=0.5, state_dropout=0.3, elu=1.0, penalty=0.9
    ),
}
"""The parameter sets that its authors publish, by the data they were tuned on."""
