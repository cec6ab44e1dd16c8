"""Choices made on the validation slice: which kNN settings, how much each source weighs, and whether to rerank."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np

from schemas.ids import ItemIndex
from schemas.ranking import Candidates
from session_model.data.item_sequences import ItemSequences
from session_model.data.prefixes import Prefix, draw_prefixes
from session_model.fitting.blend_weights import CUT_OFF, BlendExample, choose_weights
from session_model.fitting.cold_start import DEFAULT_DISCOUNTS, Described
from session_model.fitting.content_voice import choose_voice
from session_model.fitting.item_vectors import DEFAULT_SHARE
from session_model.fitting.knn_search import KnnTrials, search_knn
from session_model.fitting.reranker import fit_reranker
from session_model.metrics.ranking import gain, target_rank
from session_model.networks.export import DEFAULT_CANDIDATES, Servable, ServableParts
from session_model.networks.next_item import NextItemNetwork
from session_model.ranking.blend import MODEL_ONLY, SILENT, BlendWeights, blend
from session_model.ranking.cold_items import Discounts
from session_model.ranking.knn import KnnSettings, SessionKnn
from session_model.ranking.popularity import Popularity
from session_model.ranking.reranker import CandidateSources, Reranker, rerank
from session_model.runs.journal import Journal
from session_model.runs.progress import TrainingProgress
from session_model.training.presets import Preset

NEIGHBOURS_ONLY = BlendWeights(1.0, 0.0)
CONTENT_ONLY = BlendWeights(0.0, 0.0, 1.0)
MIN_RERANK_EXAMPLES = 500
"""Fewer do not tell whether a reranker is better than the plain blend."""
RERANK_FIT_SHARE = 2 / 3
"""Of the examples, oldest first; the later rest judges."""
MAX_SHARES_EXAMPLES = 12_000
"""Two shares need no more."""
_BATCH_SIZE = 64


@dataclass(frozen=True, slots=True)
class Tuning:
    """The choices, and what each source and the blend reach on targets that neither shares nor reranker were fitted on.

    Where there are too few to spare any, it is the targets they were fitted on. Epochs, kNN settings and whether to
    rerank were chosen on the whole slice; no source has learned from it.
    """

    knn_settings: KnnSettings
    blend_weights: BlendWeights
    reranker: Reranker | None
    metrics: dict[str, float]
    discounts: Discounts = DEFAULT_DISCOUNTS
    vector_share: float = DEFAULT_SHARE


@dataclass(frozen=True, slots=True)
class TuningTask:
    """What is tuned on: a network that has learned from the `earlier` sessions, and the `later` ones."""

    model: NextItemNetwork
    earlier: ItemSequences
    later: ItemSequences
    preset: Preset
    catalog: Described


@dataclass(frozen=True, slots=True)
class SearchBounds:
    """Where the search for kNN settings goes on from, and the `time.monotonic()` seconds at which it ends."""

    journal: Journal = field(default_factory=Journal)
    deadline: float = math.inf


def tune(task: TuningTask, progress: TrainingProgress, bounds: SearchBounds) -> Tuning:
    """Choose on targets of the `later` sessions, with kNN fitted on the `earlier` ones."""
    model, earlier, preset = task.model, task.earlier, task.preset
    prefixes = draw_prefixes(task.later, model.max_length, preset.blend_examples)
    knn_prefixes = prefixes[:: max(1, len(prefixes) // preset.knn_examples)]
    trials = KnnTrials(earlier, model.n_items, knn_prefixes, bounds.journal)
    settings = search_knn(trials, preset.knn_trials, progress, deadline=bounds.deadline)
    knn = SessionKnn.fit(earlier.starts, earlier.items, model.n_items, settings)
    popularity = Popularity.fit(earlier.items[: earlier.starts[-1]], model.n_items)
    content = choose_voice(task.catalog, popularity.counts, prefixes, progress)
    progress.started("choosing the blend", len(prefixes))
    examples = []
    for prefix, candidates in zip(prefixes, _model_candidates(model, prefixes), strict=True):
        neighbours = knn.query(prefix.items, DEFAULT_CANDIDATES)
        alike = SILENT if content is None else content.voice.query(prefix.items, DEFAULT_CANDIDATES)
        examples.append(BlendExample(candidates, neighbours, prefix.items, prefix.target, alike))
        progress.stepped()
    blender, judged, held_out = _choose_blender(examples, popularity)
    metrics: dict[str, float] = {"validation_targets": len(held_out)}
    sources = {"gru": _Blender(MODEL_ONLY), "knn": _Blender(NEIGHBOURS_ONLY), "blend": judged}
    if content is not None:
        sources["content"] = _Blender(CONTENT_ONLY)
    for name, one in sources.items():
        recall, mrr = _recall_and_mrr(one.ranks(held_out))
        metrics |= {f"validation_{name}_recall_at_20": recall, f"validation_{name}_mrr_at_20": mrr}
    if content is None:
        return Tuning(settings, blender.weights, blender.reranker, metrics)
    described = task.catalog.with_vector_share(content.vector_share)
    lists = judged.rankings(held_out[:: max(1, len(held_out) // preset.knn_examples)])
    discounts = described.choose_discounts(popularity.counts, lists, progress)
    metrics |= {f"discount_{name}": value for name, value in msgspec.structs.asdict(discounts).items()}
    metrics["content_share"] = blender.weights.content
    if described.records and described.vectors is not None:
        metrics["vector_share"] = content.vector_share
    return Tuning(settings, blender.weights, blender.reranker, metrics, discounts, content.vector_share)


@dataclass(frozen=True, slots=True)
class _Blender:
    """A way to make one ranking of the sources."""

    weights: BlendWeights
    reranker: Reranker | None = None
    popularity: Popularity | None = None

    def ranks(self, examples: Sequence[BlendExample]) -> list[int | None]:
        """Rank each example's target."""
        return [target_rank(self._ranking(example, CUT_OFF), example.target) for example in examples]

    def rankings(self, examples: Sequence[BlendExample]) -> list[tuple[Candidates, ItemIndex]]:
        """Return each example's list as long as a release does, with the target."""
        return [(self._ranking(example, DEFAULT_CANDIDATES), example.target) for example in examples]

    def _ranking(self, example: BlendExample, k: int) -> Candidates:
        if self.reranker is None or self.popularity is None:
            return blend(example.model, example.neighbours, example.items, self.weights, k, example.content)
        return rerank(self.reranker, _voices(example, self.popularity), k)


class _Choice(NamedTuple):
    """The blender made from all examples, one made the same way from fewer, and the examples that one has not seen."""

    blender: _Blender
    judged: _Blender
    held_out: Sequence[BlendExample]


def _choose_blender(examples: Sequence[BlendExample], popularity: Popularity) -> _Choice:
    """Choose on all examples; a reranker only where one of the earlier ones is better than shares on the later ones."""
    plain = _Blender(choose_weights(examples[:: max(1, len(examples) // MAX_SHARES_EXAMPLES)]))
    if len(examples) < MIN_RERANK_EXAMPLES:
        return _Choice(plain, plain, examples)
    cut = round(RERANK_FIT_SHARE * len(examples))
    earlier, later = examples[:cut], examples[cut:]
    by_shares = _Blender(choose_weights(earlier[:: max(1, cut // MAX_SHARES_EXAMPLES)]))
    reranked = _with_reranker(by_shares, earlier, popularity)
    gains = [sum(gain(rank, CUT_OFF) for rank in one.ranks(later)) for one in (by_shares, reranked)]
    if gains[1] > gains[0]:
        return _Choice(_with_reranker(plain, examples, popularity), reranked, later)
    return _Choice(plain, by_shares, later)


def _with_reranker(plain: _Blender, examples: Sequence[BlendExample], popularity: Popularity) -> _Blender:
    pairs = [(_voices(example, popularity), example.target) for example in examples]
    return _Blender(plain.weights, fit_reranker(pairs, plain.weights), popularity)


def _voices(example: BlendExample, popularity: Popularity) -> CandidateSources:
    return CandidateSources(example.model, example.neighbours, example.items, popularity, example.content)


def _model_candidates(model: NextItemNetwork, prefixes: Sequence[Prefix]) -> list[Candidates]:
    """Ask the graph that will be exported."""
    servable = Servable(ServableParts(model, intent=None, n_features=0))
    ranked = list[Candidates]()
    for begin in range(0, len(prefixes), _BATCH_SIZE):
        batch = prefixes[begin : begin + _BATCH_SIZE]
        items = np.zeros((len(batch), model.max_length), np.int32)
        for row, prefix in zip(items, batch, strict=True):
            row[: len(prefix.items)] = prefix.items
        length = np.array([len(prefix.items) for prefix in batch], np.int32)
        answer = servable.recommend(items, length, np.zeros((len(batch), 0), np.float32))
        ranked += [Candidates(*row) for row in zip(answer["items"].numpy(), answer["scores"].numpy(), strict=True)]
    return ranked


def _recall_and_mrr(ranks: Sequence[int | None]) -> tuple[float, float]:
    """Return Recall@20 and MRR@20."""
    found = [rank for rank in ranks if rank is not None and rank <= CUT_OFF]
    return len(found) / max(1, len(ranks)), sum(1 / rank for rank in found) / max(1, len(ranks))
