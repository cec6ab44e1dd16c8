"""Offline evaluation of a release as it is served, in the protocol of the field.

Every position after the first is a target and is ranked over the full catalogue, nothing filtered, ties conservative,
one mean over all targets. The ranking is the list that the release returns (`candidate_count` long): what lies beyond
it is a miss. Earlier events of the session are the prefix; sessions of the test file are never learned from.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Final, Literal

import msgspec
import numpy as np

from schemas.errors import InsessionError
from schemas.ids import ItemId, ItemIndex
from schemas.ranking import Candidates, ModelInput
from schemas.records import SessionEvent
from session_model.data.session_events import session_events
from session_model.data.sessions import Sessions
from session_model.evaluation.comparison import BY_CONTENT, KNOWN, NOTHING_KNOWN, Slice, TargetFacts, compare, slices
from session_model.metrics.bootstrap import Interval
from session_model.metrics.ranking import RankingMetrics
from session_model.networks.exported_model import NextItemModel
from session_model.release.release import Release

Unseen = Literal["miss", "drop"]
MODELS = ("blend", "gru", "knn", "transitions", "popular")
BATCH_SIZE = 256
FIRST_TARGET = 2
_NEVER_SEEN = ItemIndex(0)


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """What counts as a target.

    unseen: `miss` counts a target that training has not seen as a miss, as the SR-GNN line of papers does; `drop`
    takes all clicks of such items out of the test sessions first, as session-rec does.
    first_target: position in the session, 1-based, of the first target; 2 or more.
    """

    unseen: Unseen = "miss"
    first_target: int = FIRST_TARGET


PUBLISHED = EvaluationPlan()


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Sessions that training has not seen, and what to call them."""

    name: str
    sessions: Sessions


@dataclass(frozen=True, slots=True)
class Baseline:
    """Another release to compare with: its model alone, SavedModel and vocabulary its own."""

    release: Release
    model: NextItemModel


NO_BASELINES: Final[Mapping[str, Baseline]] = MappingProxyType({})


class Evaluation(msgspec.Struct, frozen=True):
    """The result, by model in the order of `MODELS`, then the baselines.

    models: RankingMetrics.result(). intervals: 95 % intervals of recall_at_20 and mrr_at_20. differences: the same of
    the blend minus each other model, paired. slices: by what the targets are parted, then by part.
    """

    dataset: str
    targets: int
    unseen: Unseen
    models: dict[str, dict[str, float]]
    sessions: int
    intervals: dict[str, dict[str, Interval]]
    differences: dict[str, dict[str, Interval]]
    slices: dict[str, dict[str, Slice]]


@dataclass(frozen=True, slots=True)
class Target:
    """One item to predict.

    item_index: 0 where the release knows neither clicks nor content of it. prefix: what the models may see of `events`,
    all that came before. session: its number in the file. position, session_length: in items of the input events, the
    first position is 1. location: where the session was seen last.
    """

    prefix: ModelInput
    item_index: ItemIndex
    item_id: ItemId
    events: Sequence[SessionEvent]
    session: int
    position: int
    session_length: int
    location: str | None = None


def evaluate(
    release: Release,
    model: NextItemModel,
    test: HeldOut,
    plan: EvaluationPlan = PUBLISHED,
    progress: Callable[[int], None] | None = None,
    baselines: Mapping[str, Baseline] = NO_BASELINES,
) -> Evaluation:
    """Score every model of `release` on the targets of `test`, `model` being its SavedModel, and `baselines` by name.

    Baselines are asked for the same items: one that a baseline's training has not seen is a miss of it.
    progress: called with the number of test sessions that are done. Raises InsessionError where there is no target.
    """
    popularity = release.popularity()
    percentiles = popularity.percentiles()
    metrics = {name: RankingMetrics(popularity.counts, percentiles) for name in MODELS}
    metrics |= {name: _metrics_of(baseline.release) for name, baseline in baselines.items()}
    asked = list[tuple[int, ...]]()
    for batch in _batches(targets(release, test.sessions, plan, progress)):
        model_rankings = model.rank([target.prefix for target in batch])
        for target, ranking in zip(batch, model_rankings, strict=True):
            for name, candidates in _rankings(release, ranking, target.prefix).items():
                metrics[name].add(candidates, target.item_index)
            asked.append(facts_of(target))
        for name, baseline in baselines.items():
            _ask(baseline, batch, metrics[name])
    if not asked:
        raise InsessionError(f"{test.name} has no target: no session has an event at position {plan.first_target}")
    facts = TargetFacts(*np.array(asked, np.int64).T)
    ranks = {name: model_metrics.ranks for name, model_metrics in metrics.items()}
    intervals, differences = compare(facts, ranks)
    return Evaluation(
        dataset=test.name,
        targets=len(asked),
        unseen=plan.unseen,
        models={name: model_metrics.result() for name, model_metrics in metrics.items()},
        sessions=len(np.unique(facts.session)),
        intervals=intervals,
        differences=differences,
        slices=slices(facts, ranks, popularity),
    )


def targets(
    release: Release, sessions: Sessions, plan: EvaluationPlan, progress: Callable[[int], None] | None = None
) -> Iterator[Target]:
    """Return the targets, session by session, with what the release reads of the events before each."""
    for number in range(len(sessions)):
        yield from _session_targets(release, sessions, number, plan)
        if progress is not None:
            progress(number + 1)


def _session_targets(release: Release, sessions: Sessions, number: int, plan: EvaluationPlan) -> Iterator[Target]:
    events, index_of = session_events(sessions, number), release.parts.vocabulary.index_of
    location = None if sessions.locations is None else sessions.locations[number]
    if plan.unseen == "drop":
        events = [event for event in events if event.item_id is None or index_of(event.item_id) is not None]
    clicks = [
        (place, event.item_id)
        for place, event in enumerate(events)
        if event.item_id is not None and event.event_type in release.manifest.input_event_types
    ]
    first = max(plan.first_target, FIRST_TARGET)
    for position, (place, item_id) in enumerate(clicks[first - 1 :], start=first):
        index, before = release.index_of(item_id) or _NEVER_SEEN, events[:place]
        yield Target(release.encode(before), index, item_id, before, number, position, len(clicks), location)


def facts_of(target: Target) -> tuple[int, ...]:
    """Return the fields of TargetFacts."""
    prefix = target.prefix
    kind = NOTHING_KNOWN if not len(prefix.items) else BY_CONTENT if prefix.is_by_content else KNOWN
    return target.session, target.position, target.session_length, target.item_index, kind


def _rankings(release: Release, model_ranking: Candidates, prefix: ModelInput) -> dict[str, Candidates]:
    """Rank by every model; where nothing of the prefix is known, the blend answers as served: by what is popular.

    The others are sources alone: the tier `knn` adds items with no or few clicks to what is ranked here.
    """
    neighbours, popular = release.neighbours(prefix.items), release.popular()
    return {
        "blend": release.blend(model_ranking, neighbours, prefix.items) if len(prefix.items) else popular,
        "gru": model_ranking,
        "knn": neighbours,
        "transitions": release.parts.transitions.query(prefix.items),
        "popular": popular,
    }


def _metrics_of(release: Release) -> RankingMetrics:
    popularity = release.parts.popularity
    return RankingMetrics(popularity.counts, popularity.percentiles())


def _ask(baseline: Baseline, batch: Sequence[Target], metrics: RankingMetrics) -> None:
    """Rank `batch` by a baseline: by item id, since its indices are others."""
    rankings = baseline.model.rank([baseline.release.encode(target.events) for target in batch])
    for target, ranking in zip(batch, rankings, strict=True):
        metrics.add(ranking, baseline.release.parts.vocabulary.index_of(target.item_id) or _NEVER_SEEN)


def _batches(stream: Iterator[Target]) -> Iterator[list[Target]]:
    while batch := list(islice(stream, BATCH_SIZE)):
        yield batch
