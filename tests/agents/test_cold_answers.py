"""New items on the way to an answer: what the chain emits is what `evaluate` ranks, prefix by prefix."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from schemas import wire
from schemas.ids import ItemId, ItemIndex, ModelVersion, SessionId
from schemas.ranking import NO_INTENT, Candidates, ModelInput, ModelOutput
from schemas.records import CatalogItem, SessionEvent
from serving.batcher import Question, blended
from serving.chain import AnswerRequest, Recommender
from serving.metrics import ServingMetrics
from serving.parts import ReleaseParts
from serving.popular import StreamPopularity
from serving.settings import ServingSettings
from session_model.data.session_events import session_events
from session_model.data.sessions import Sessions
from session_model.evaluation.ranking import PUBLISHED, HeldOut, evaluate, targets
from session_model.release.copies import load_release
from streams.catalog import Catalog
from tests.builders.releases import write_release
from tests.session_model.release.test_release import cold_start

NAMES = [ItemId(name) for name in ("a", "b", "c", "e", "f", "g", "who?")]
"""Known by clicks, by the catalog of training (e, f), by a later one (g), and by nothing."""
LATER = CatalogItem(item_id=ItemId("g"), title="boot")


class LastThenFirst:
    """A model that ranks the last item of the prefix before the first one, as evaluated."""

    def rank(self, inputs: Sequence[ModelInput]) -> list[Candidates]:
        """Rank for each prefix."""
        return [self.one(row) for row in inputs]

    @staticmethod
    def one(row: ModelInput) -> Candidates:
        """Rank for a prefix."""
        items = np.array(list(dict.fromkeys([*row.items[-1:].tolist(), *row.items[:1].tolist()])), np.int32)
        return Candidates(items, np.array([0.7, 0.3], np.float32)[: len(items)])


class ServedLastThenFirst:
    """The same as it is served."""

    async def rank(self, question: Question) -> ModelOutput:
        """Answer a row."""
        assert (question.release.version, question.deadline, question.trace) == (3, float("inf"), None)
        (output,) = blended([question], [ModelOutput(LastThenFirst.one(question.row), NO_INTENT)])
        return output


@dataclass
class OneRelease:
    """The release in use, and a gate that is open."""

    current: ReleaseParts
    refuses: bool = False

    async def resolve_again(self, gone: ModelVersion) -> ReleaseParts | None:
        """Find no other."""
        raise AssertionError(gone)


def drawn_sessions() -> HeldOut:
    """Draw sessions of known and new items."""
    rng = np.random.default_rng(2)
    lengths = rng.integers(2, 6, 60)
    n_events = int(lengths.sum())
    sessions = Sessions(
        session_ids=[SessionId(str(n)) for n in range(len(lengths))],
        starts=np.cumsum([0, *lengths]),
        items=rng.integers(0, len(NAMES), n_events).astype(np.int32),
        item_ids=NAMES,
        times_ms=None,
        event_types=np.zeros(n_events, np.uint8),
        prices=np.full(n_events, np.nan, np.float32),
    )
    return HeldOut("drawn", sessions)


def recommender_of(catalog: Catalog, in_use: OneRelease) -> Recommender:
    """Compose the chain."""
    return Recommender(
        model=ServedLastThenFirst(),
        gate=in_use,
        releases=in_use,
        popularity=StreamPopularity(half_life_seconds=1, max_items=1, max_locations=1),
        catalog=catalog,
        settings=ServingSettings(),
        metrics=ServingMetrics(CollectorRegistry()),
    )


async def test_the_neighbours_list_new_items_too_where_the_model_is_away(tmp_path: Path) -> None:
    """Behind what they are like, at the discount that the blend gives them."""
    catalog = Catalog()
    catalog.apply(b"g", wire.encode(LATER))
    release = load_release(write_release(tmp_path, cold_start=cold_start())).with_catalog(catalog.records())
    recommender = recommender_of(catalog, OneRelease(release, refuses=True))
    events = [SessionEvent("view", 0, ItemId("d\n"))]
    request = AnswerRequest(events=events, location=None, bought=(), deadline=float("inf"), want_personal=True)
    answer = await recommender.answer(request)
    neighbours = release.neighbours(release.encode(events).items)
    assert [release.item_id(ItemIndex(index)) for index in neighbours.item_indices.tolist()] == ["b", "d\n"]
    assert (answer.tier, answer.reason) == ("knn", "breaker_open")
    assert [item.item_id for item in answer.items] == ["b", "d\n", "g"]


async def test_what_evaluate_ranks_is_what_is_emitted_for_new_items_too(tmp_path: Path) -> None:
    """Lists and scores are the same, the reason tells of prefixes of new items alone, and both count the same hits."""
    catalog, model, test = Catalog(), LastThenFirst(), drawn_sessions()
    catalog.apply(b"g", wire.encode(LATER))
    release = load_release(write_release(tmp_path, cold_start=cold_start())).with_catalog(catalog.records())
    recommender = recommender_of(catalog, OneRelease(release))
    hits, emitted, reasons = 0, set[ItemId](), set[str | None]()
    asked = list(targets(release, test.sessions, PUBLISHED))
    for target in asked:
        events = session_events(test.sessions, target.session)[: target.position - 1]
        request = AnswerRequest(events=events, location=None, bought=(), deadline=float("inf"), want_personal=True)
        answer = await recommender.answer(request)
        prefix = target.prefix.items
        ranking = release.popular()
        if len(prefix):
            ranking = release.blend(model.rank([target.prefix])[0], release.neighbours(prefix), prefix)
            assert (answer.tier, answer.reason == "unseen_items") == ("model", target.prefix.is_by_content)
        names = [release.item_id(ItemIndex(index)) for index in ranking.item_indices.tolist()]
        assert [item.item_id for item in answer.items] == names
        assert [item.score for item in answer.items] == ranking.scores.tolist()
        hits += target.item_index != 0 and release.item_id(target.item_index) in names
        emitted |= set(names)
        reasons.add(answer.reason)
    assert reasons == {None, "unseen_items"}
    assert {"f", "g"} <= emitted
    recall = evaluate(release, model, test).models["blend"]["recall_at_20"]
    assert recall == pytest.approx(hits / len(asked))
