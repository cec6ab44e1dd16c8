"""Wires the serving tier: client, breaker, batcher, release watcher, fallback chain; live and in replay."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from schemas.tracing import SpanRecorder
from serving.batcher import MicroBatcher
from serving.breaker import CircuitBreaker
from serving.chain import NO_MERCHANT, HasRules, Recommender, Releases
from serving.client import PredictClient
from serving.filters import CatalogView
from serving.guard import GuardedPredictor
from serving.metrics import ReleaseMetrics, ServingMetrics
from serving.popular import StreamPopularity
from serving.predictor import Predictor
from serving.releases import ReleaseWatcher
from serving.settings import ServingSettings
from serving.tensors import FixedShape
from serving.traced import TracedPredictor
from serving.trending import NoTrending, TrendingView, Trends, everywhere
from serving.trial import CandidateReleases, TriedRecommender
from serving.vouchers import ShopsOwn
from session_model.intent.patterns import pattern_of
from session_model.release.copies import ReleaseCopies


@dataclass(frozen=True, slots=True)
class ServingTier:
    """The serving tier of one process; inside `running` it follows the releases.

    recommender: of the release that serves everybody, whose rows go through `batcher`. tried: of the worker, where
    another release may be on trial beside it, with a batcher of its own.
    """

    recommender: Recommender
    tried: TriedRecommender
    batcher: MicroBatcher
    candidate_batcher: MicroBatcher
    releases: ReleaseWatcher
    client: PredictClient
    poll_seconds: float

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look for a release, then follow the models directory and the server until the end."""
        await self.releases.refresh()
        following = asyncio.create_task(self.releases.run(self.poll_seconds))
        try:
            yield
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
            for batcher in (self.batcher, self.candidate_batcher):
                await batcher.close()
            await self.client.close()


def serving_tier(  # noqa: PLR0913 - the parts that it binds
    settings: ServingSettings,
    catalog: CatalogView,
    registry: CollectorRegistry,
    *,
    copies: Path,
    fixed_shape: FixedShape | None = None,
    recorder: SpanRecorder | None = None,
    rules: HasRules = NO_MERCHANT,
    trending: TrendingView | None = None,
) -> ServingTier:
    """Build the tier; `fixed_shape` makes batches and padding independent of time, for replay.

    copies: folder of this process alone, to which releases are copied and from which they are read. rules: of the
    merchants. trending: the observer's lists; None = there are none.
    """
    client = PredictClient(settings, fixed_shape=fixed_shape)
    predictor: Predictor = client if recorder is None else TracedPredictor(client, recorder)
    shelf = ReleaseCopies(copies, settings.release_key, settings.release_max_memory_bytes)
    metrics, candidate_metrics = ServingMetrics(registry), ServingMetrics(registry, "candidate_")
    viewed = partial(everywhere, NoTrending() if trending is None or not settings.renew_trends else trending)
    releases = ReleaseWatcher(settings.model_folder, shelf.load, client, ReleaseMetrics(registry), catalog, viewed)
    vouchers = ShopsOwn(catalog, releases)
    popularity = StreamPopularity(
        half_life_seconds=settings.popular_half_life.total_seconds(),
        max_items=settings.popular_max_items,
        max_locations=settings.popular_max_locations,
        vouchers=vouchers,
    )
    fixed_batch = None if fixed_shape is None else fixed_shape.rows

    def lane(of: Releases, metrics: ServingMetrics) -> tuple[Recommender, MicroBatcher]:
        breaker = CircuitBreaker(failures=settings.breaker_failures, open_seconds=settings.breaker_open.total_seconds())
        batcher = MicroBatcher(GuardedPredictor(predictor, breaker, metrics), settings, fixed_batch=fixed_batch)
        metrics.waiting_rows.set_function(lambda: len(batcher))
        metrics.waiting_rows_limit.set(settings.max_waiting)
        recommender = Recommender(
            model=batcher,
            gate=breaker,
            releases=of,
            popularity=popularity,
            trends=Trends(trending, vouchers),
            catalog=catalog,
            settings=settings,
            metrics=metrics,
            rules=rules,
            pattern=pattern_of,
        )
        return recommender, batcher

    recommender, batcher = lane(releases, metrics)
    candidate, candidate_batcher = lane(CandidateReleases(releases), candidate_metrics)
    tried = TriedRecommender(recommender, candidate, releases)
    poll_seconds = settings.release_poll.total_seconds()
    return ServingTier(recommender, tried, batcher, candidate_batcher, releases, client, poll_seconds)
