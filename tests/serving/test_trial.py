"""A candidate beside the champion, over fakes: who answers whom, and what the one's trouble costs the other."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from schemas.ids import ItemId, ModelVersion, VisitorId
from schemas.records import CatalogItem, SessionEvent
from schemas.rollout import Candidate, Rollout, record_name
from serving.batcher import MicroBatcher
from serving.breaker import CircuitBreaker
from serving.chain import Answer, AnswerRequest, Recommender, Releases
from serving.errors import ModelUnavailableError
from serving.fakes import FakeCatalog, FakePredictor, FakeRelease
from serving.guard import GuardedPredictor
from serving.metrics import ReleaseMetrics, ServingMetrics
from serving.parts import ReleaseParts
from serving.popular import StreamPopularity
from serving.releases import ReleaseWatcher
from serving.settings import ServingSettings
from serving.trial import CandidateReleases, TriedRecommender

CHAMPION, CANDIDATE = 1, 2
VISITORS = [VisitorId(f"v{number}") for number in range(40)]


class Trial:
    """A models directory with two releases, a fake server and both lanes. Item 20 of the candidate is its own `i20`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.registry = CollectorRegistry()
        self.server = FakePredictor([CHAMPION, CANDIDATE])
        self.catalog = FakeCatalog()
        self.revision = 0
        settings = ServingSettings()
        metrics, candidate_metrics = ServingMetrics(self.registry), ServingMetrics(self.registry, "candidate_")
        self.releases = ReleaseWatcher(directory, self._load, self.server, ReleaseMetrics(self.registry), self.catalog)
        popularity = StreamPopularity(half_life_seconds=1, max_items=1, max_locations=1)
        self.batchers: list[MicroBatcher] = []

        def lane(of: Releases, metrics: ServingMetrics) -> Recommender:
            breaker = CircuitBreaker(failures=1, open_seconds=1000)
            batcher = MicroBatcher(GuardedPredictor(self.server, breaker, metrics), settings)
            self.batchers.append(batcher)
            return Recommender(
                model=batcher,
                gate=breaker,
                releases=of,
                popularity=popularity,
                catalog=self.catalog,
                settings=settings,
                metrics=metrics,
            )

        self.tried = TriedRecommender(
            lane(self.releases, metrics), lane(CandidateReleases(self.releases), candidate_metrics), self.releases
        )
        for version in (CHAMPION, CANDIDATE):
            (directory / str(version)).mkdir(parents=True)

    def _load(self, path: Path) -> ReleaseParts:
        return FakeRelease(version=ModelVersion(int(path.name)))

    async def roll_out(
        self,
        stage: Literal["shadow", "canary"] | None,
        share: float = 0.5,
        champion: int = CHAMPION,
        rejected: tuple[int, ...] = (),
    ) -> None:
        """Write a record, and let the watcher look."""
        self.revision += 1
        candidate = None if stage is None else Candidate(version=ModelVersion(CANDIDATE), stage=stage, share=share)
        record = Rollout(
            revision=self.revision,
            changed_at=datetime(2026, 1, 1, tzinfo=UTC),
            change=stage or "promote",
            reason="",
            by="ana",
            champion=ModelVersion(champion),
            candidate=candidate,
            rejected=tuple(map(ModelVersion, rejected)),
        )
        path = self.directory / record_name(self.revision)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(msgspec.json.encode(record))
        await self.releases.refresh()

    async def answer(self, visitor_id: VisitorId, item: str = "i20") -> Answer:
        """Answer a visitor who looks at an item."""
        request = AnswerRequest(
            events=[SessionEvent("view", 0, ItemId(item))],
            location=None,
            bought=(),
            deadline=float("inf"),
            want_personal=True,
            visitor_id=visitor_id,
        )
        return await self.tried.answer(request)

    async def versions(self) -> dict[VisitorId, ModelVersion | None]:
        """Answer all visitors; by which version each was."""
        return {visitor: (await self.answer(visitor)).model_version for visitor in VISITORS}


@pytest.fixture
async def trial(tmp_path: Path) -> AsyncIterator[Trial]:
    """Begin with the champion alone."""
    trial = Trial(tmp_path / "session_gru")
    await trial.roll_out(None)
    yield trial
    for batcher in trial.batchers:
        await batcher.close()


async def test_the_newest_release_waits_for_its_promotion(trial: Trial) -> None:
    """Once there is a rollout."""
    assert set((await trial.versions()).values()) == {CHAMPION}
    await trial.roll_out(None, champion=CANDIDATE)
    assert set((await trial.versions()).values()) == {CANDIDATE}


async def test_a_canary_answers_its_share_and_always_the_same(trial: Trial) -> None:
    """Nobody who has it loses it when the share grows."""
    await trial.roll_out("canary", 0.3)
    first = await trial.versions()
    assert await trial.versions() == first
    assert set(first.values()) == {CHAMPION, CANDIDATE}
    await trial.roll_out("canary", 0.8)
    later = await trial.versions()
    assert {visitor for visitor, version in first.items() if version == CANDIDATE} < {
        visitor for visitor, version in later.items() if version == CANDIDATE
    }


async def test_a_shadow_answers_nobody(trial: Trial) -> None:
    """But is there to be asked for its share."""
    await trial.roll_out("shadow", 1.0)
    assert set((await trial.versions()).values()) == {CHAMPION}
    assert all(map(trial.tried.is_shadowed, VISITORS))
    await trial.roll_out("canary", 1.0)
    assert not any(map(trial.tried.is_shadowed, VISITORS))


async def test_a_candidate_that_fails_opens_no_breaker_of_the_champion(trial: Trial) -> None:
    """Its own visitors get its neighbours meanwhile, with the reason; the others their model's answer."""
    await trial.roll_out("canary", 0.5)
    versions = await trial.versions()
    with_candidate = next(visitor for visitor, version in versions.items() if version == CANDIDATE)
    with_champion = next(visitor for visitor, version in versions.items() if version == CHAMPION)
    trial.server.fail_next(ModelUnavailableError("out of memory"))
    failed = await trial.answer(with_candidate)
    assert (failed.tier, failed.reason, failed.model_version) == ("knn", "unavailable", CANDIDATE)
    assert (await trial.answer(with_candidate)).reason == "breaker_open"
    assert (await trial.answer(with_champion)).tier == "model"
    labels = {"tier": "knn", "reason": "breaker_open"}
    assert trial.registry.get_sample_value("insession_candidate_answers_total", labels) == 1
    assert trial.registry.get_sample_value("insession_answers_total", labels) == 0


@pytest.mark.parametrize("away", ["the server", "the disk"])
async def test_a_candidate_that_is_not_there_answers_nobody(trial: Trial, away: str) -> None:
    """Its visitors are the champion's until both have it."""
    if away == "the server":
        trial.server.versions = {ModelVersion(CHAMPION)}
    else:
        (trial.directory / str(CANDIDATE)).rmdir()
    await trial.roll_out("canary", 1.0)
    assert set((await trial.versions()).values()) == {CHAMPION}
    assert trial.registry.get_sample_value("insession_candidate_version") == 0


async def test_a_status_that_does_not_come_ends_no_trial(trial: Trial) -> None:
    """The server is asked for answers all the same."""
    await trial.roll_out("canary", 1.0)
    trial.server.reachable = False
    await trial.releases.refresh()
    assert set((await trial.versions()).values()) == {CANDIDATE}


async def test_what_was_rejected_is_given_up_at_once(trial: Trial) -> None:
    """Even where the server cannot say what it has: the one before serves what needs no server."""
    await trial.roll_out(None, champion=CANDIDATE)
    trial.server.reachable = False
    await trial.roll_out(None, champion=CHAMPION, rejected=(CANDIDATE,))
    assert set((await trial.versions()).values()) == {CHAMPION}


async def test_a_record_that_cannot_be_read_changes_nothing(trial: Trial) -> None:
    """The last good one is in force."""
    await trial.roll_out("canary", 1.0)
    (trial.directory / record_name(99)).write_bytes(b"{}")
    await trial.releases.refresh()
    assert set((await trial.versions()).values()) == {CANDIDATE}


async def test_a_candidate_is_told_the_catalog_and_keeps_it_when_promoted(trial: Trial) -> None:
    """Items that are new since training are known to whoever answers."""
    trial.catalog.described = [CatalogItem(item_id=ItemId("new"))]
    await trial.roll_out("canary", 1.0)
    await trial.releases.take_catalog_in()
    assert (await trial.answer(VISITORS[0], "new")).reason == "unseen_items"
    await trial.roll_out("canary", 0.9)
    await trial.roll_out(None, champion=CANDIDATE)
    assert (await trial.answer(VISITORS[0], "new")).tier == "model"
