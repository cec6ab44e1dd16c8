"""Choices made on the validation slice: which kNN settings, how much each voice weighs, and whether to rerank."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from schemas.ids import ItemIndex
from schemas.ranking import Candidates
from session_model.blend import CUT_OFF, MODEL_ONLY, BlendExample, BlendWeights, blend, choose_weights
from session_model.export import DEFAULT_CANDIDATES, Servable, ServableParts
from session_model.gru import SessionGru
from session_model.item_sequences import ItemSequences
from session_model.knn import KnnSettings, SessionKnn
from session_model.knn_search import KnnTrials, search_knn
from session_model.popularity import Popularity
from session_model.prefixes import Prefix, draw_prefixes
from session_model.presets import Preset
from session_model.ranking_metrics import gain, target_rank
from session_model.reranker import Reranker, Voices, fit_reranker, rerank
from session_model.training_progress import TrainingProgress

NEIGHBOURS_ONLY = BlendWeights(1.0, 0.0)
MIN_RERANK_EXAMPLES = 500
"""Fewer do not tell whether a reranker is better than the plain blend."""
_BATCH_SIZE = 64


@dataclass(frozen=True, slots=True)
class Tuning:
    """The choices, and what they reach on the examples they were made on (the GRU has not seen those).

    ranked: gives the chosen blend's list for each example, with its target.
    """

    knn_settings: KnnSettings
    blend_weights: BlendWeights
    reranker: Reranker | None
    metrics: dict[str, float]
    ranked: Callable[[], list[tuple[Candidates, ItemIndex]]]


def tune(
    model: SessionGru, earlier: ItemSequences, later: ItemSequences, preset: Preset, progress: TrainingProgress
) -> Tuning:
    """Choose on targets of the `later` sessions, with kNN fitted on the `earlier` ones."""
    prefixes = draw_prefixes(later, model.settings.max_length, preset.blend_examples)
    knn_prefixes = prefixes[:: max(1, len(prefixes) // preset.knn_examples)]
    settings = search_knn(KnnTrials(earlier, model.n_items, knn_prefixes), preset.knn_trials, progress)
    knn = SessionKnn.fit(earlier.starts, earlier.items, model.n_items, settings)
    progress.started("choosing the blend", len(prefixes))
    examples = []
    for prefix, candidates in zip(prefixes, _model_candidates(model, prefixes), strict=True):
        neighbours = knn.query(prefix.items, DEFAULT_CANDIDATES)
        examples.append(BlendExample(candidates, neighbours, prefix.items, prefix.target))
        progress.stepped()
    blender = _choose_blender(examples, Popularity.fit(earlier.items[: earlier.starts[-1]], model.n_items))
    metrics: dict[str, float] = {"validation_targets": len(examples)}
    plain = {"gru": _Blender(MODEL_ONLY), "knn": _Blender(NEIGHBOURS_ONLY), "blend": blender}
    for name, one in plain.items():
        recall, mrr = _recall_and_mrr(one.ranks(examples))
        metrics |= {f"validation_{name}_recall_at_20": recall, f"validation_{name}_mrr_at_20": mrr}
    return Tuning(settings, blender.weights, blender.reranker, metrics, lambda: blender.rankings(examples))


@dataclass(frozen=True, slots=True)
class _Blender:
    """A way to make one ranking of the voices."""

    weights: BlendWeights
    reranker: Reranker | None = None
    popularity: Popularity | None = None

    def ranks(self, examples: Sequence[BlendExample]) -> list[int | None]:
        """Rank each example's target."""
        return [target_rank(self._ranking(example, CUT_OFF), example.target) for example in examples]

    def rankings(self, examples: Sequence[BlendExample]) -> list[tuple[Candidates, ItemIndex]]:
        """Give each example's list as long as a release does, with the target."""
        return [(self._ranking(example, DEFAULT_CANDIDATES), example.target) for example in examples]

    def _ranking(self, example: BlendExample, k: int) -> Candidates:
        if self.reranker is None or self.popularity is None:
            return blend(example.model, example.neighbours, example.items, self.weights, k)
        return rerank(self.reranker, _voices(example, self.popularity), k)


def _choose_blender(examples: Sequence[BlendExample], popularity: Popularity) -> _Blender:
    """Choose on all examples; a reranker only where one of the earlier half is better than shares on the later half."""
    plain = _Blender(choose_weights(examples))
    if len(examples) < MIN_RERANK_EXAMPLES:
        return plain
    half = len(examples) // 2
    by_shares = _Blender(choose_weights(examples[:half]))
    reranked = _with_reranker(by_shares, examples[:half], popularity)
    gains = [sum(gain(rank, CUT_OFF) for rank in one.ranks(examples[half:])) for one in (by_shares, reranked)]
    return _with_reranker(plain, examples, popularity) if gains[1] > gains[0] else plain


def _with_reranker(plain: _Blender, examples: Sequence[BlendExample], popularity: Popularity) -> _Blender:
    pairs = [(_voices(example, popularity), example.target) for example in examples]
    return _Blender(plain.weights, fit_reranker(pairs, plain.weights), popularity)


def _voices(example: BlendExample, popularity: Popularity) -> Voices:
    return Voices(example.model, example.neighbours, example.items, popularity.counts)


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


def _recall_and_mrr(ranks: Sequence[int | None]) -> tuple[float, float]:
    """Give Recall@20 and MRR@20."""
    found = [rank for rank in ranks if rank is not None and rank <= CUT_OFF]
    return len(found) / max(1, len(ranks)), sum(1 / rank for rank in found) / max(1, len(ranks))
