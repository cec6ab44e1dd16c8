"""Choices made on the validation slice: which kNN settings, and how much each voice weighs in the blend."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.ranking import Candidates
from session_model.blend import CUT_OFF, MODEL_ONLY, BlendExample, BlendWeights, blend, choose_weights
from session_model.export import DEFAULT_CANDIDATES, Servable, ServableParts
from session_model.gru import SessionGru
from session_model.item_sequences import ItemSequences
from session_model.knn import KnnSettings, SessionKnn
from session_model.knn_search import KnnTrials, search_knn
from session_model.prefixes import Prefix, draw_prefixes
from session_model.presets import Preset
from session_model.ranking_metrics import target_rank
from session_model.training_progress import TrainingProgress

NEIGHBOURS_ONLY = BlendWeights(1.0, 0.0)
_BATCH_SIZE = 64


@dataclass(frozen=True, slots=True)
class Tuning:
    """The choices, and what they reach on the examples they were made on (the GRU has not seen those)."""

    knn_settings: KnnSettings
    blend_weights: BlendWeights
    metrics: dict[str, float]


def tune(
    model: SessionGru, earlier: ItemSequences, later: ItemSequences, preset: Preset, progress: TrainingProgress
) -> Tuning:
    """Choose on targets of the `later` sessions, with kNN fitted on the `earlier` ones."""
    prefixes = draw_prefixes(later, model.settings.max_length, preset.tuning_examples)
    settings = search_knn(KnnTrials(earlier, model.n_items, prefixes), preset.knn_trials, progress)
    knn = SessionKnn.fit(earlier.starts, earlier.items, model.n_items, settings)
    progress.started("choosing the blend", len(prefixes))
    examples = []
    for prefix, candidates in zip(prefixes, _model_candidates(model, prefixes), strict=True):
        neighbours = knn.query(prefix.items, DEFAULT_CANDIDATES)
        examples.append(BlendExample(candidates, neighbours, prefix.items, prefix.target))
        progress.stepped()
    weights = choose_weights(examples)
    metrics: dict[str, float] = {"validation_targets": len(examples)}
    for name, shares in (("gru", MODEL_ONLY), ("knn", NEIGHBOURS_ONLY), ("blend", weights)):
        recall, mrr = _recall_and_mrr(examples, shares)
        metrics |= {f"validation_{name}_recall_at_20": recall, f"validation_{name}_mrr_at_20": mrr}
    return Tuning(settings, weights, metrics)


def _model_candidates(model: SessionGru, prefixes: Sequence[Prefix]) -> list[Candidates]:
    """Ask the graph that will be exported."""
    servable = Servable(ServableParts(model, intent=None, n_features=0))
    ranked = list[Candidates]()
    for begin in range(0, len(prefixes), _BATCH_SIZE):
        batch = prefixes[begin : begin + _BATCH_SIZE]
        items = np.zeros((len(batch), model.settings.max_length), np.int32)
        for row, prefix in zip(items, batch, strict=True):
            row[: len(prefix.items)] = prefix.items
        length = np.array([len(prefix.items) for prefix in batch], np.int32)
        answer = servable.recommend(items, length, np.zeros((len(batch), 0), np.float32))
        ranked += [Candidates(*row) for row in zip(answer["items"].numpy(), answer["scores"].numpy(), strict=True)]
    return ranked


def _recall_and_mrr(examples: Sequence[BlendExample], weights: BlendWeights) -> tuple[float, float]:
    """Give Recall@20 and MRR@20 of the blend with `weights`."""
    lists = (blend(example.model, example.neighbours, example.items, weights, CUT_OFF) for example in examples)
    ranks = [target_rank(ranking, example.target) for ranking, example in zip(lists, examples, strict=True)]
    found = [rank for rank in ranks if rank is not None and rank <= CUT_OFF]
    return len(found) / max(1, len(examples)), sum(1 / rank for rank in found) / max(1, len(examples))
