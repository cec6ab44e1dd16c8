"""Which releases are in use: verified when they appear, taken up when the server has them, named in every call."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from schemas.ids import ModelVersion
from schemas.records import Trending
from schemas.release_folder import folder_stamp
from schemas.rollout import Candidate, Rollout, RolloutError, preference, read_rollout
from schemas.servable import version_directories
from serving.errors import PredictError
from serving.filters import CatalogView
from serving.metrics import ReleaseMetrics
from serving.parts import ReleaseParts
from serving.predictor import Predictor

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReleaseOnTrial:
    """A candidate that was verified here and that the server has."""

    terms: Candidate
    parts: ReleaseParts


class ReleaseWatcher:
    """Follows a models directory and the model server; holds at most three releases.

    The release in use is the first one, in the order of the rollout (without one: the newest first), that was verified
    here and that the server reports as AVAILABLE; so vocabulary and model never disagree. Until the server was heard of
    at all, the first verified one serves what needs no server. A release that does not load is logged and counted once,
    and skipped until anything in its directory changes; one that could not be read (OSError) is tried again at the next
    refresh. Whatever happens, the release in use stays, unless it was rejected.

    load: reads and verifies the release in a version directory; runs in a thread.
    catalog: the releases in use are told at every refresh what it has described since. viewed: gives what is viewed
    everywhere, the same object as long as there is no news; None = it is not known, or not any more.
    """

    def __init__(
        self,
        directory: Path,
        load: Callable[[Path], ReleaseParts],
        predictor: Predictor,
        metrics: ReleaseMetrics,
        catalog: CatalogView | None = None,
        viewed: Callable[[], Trending | None] = lambda: None,
    ) -> None:
        self._directory = directory
        self._load = load
        self._predictor = predictor
        self._metrics = metrics
        self._catalog = catalog
        self._viewed = viewed
        self._taken_in: dict[ModelVersion, int] = {}
        self._ranks_by: dict[ModelVersion, Trending] = {}
        self._rollout: Rollout | None = None
        self._current: ReleaseParts | None = None
        self._trial: ReleaseOnTrial | None = None
        self._held: dict[ModelVersion, ReleaseParts] = {}
        self._broken: dict[ModelVersion, str] = {}
        self._complained: set[ModelVersion] = set()
        self._unresolved: ModelVersion | None = None
        self._refreshing = asyncio.Lock()
        self._looks = set[asyncio.Task[None]]()  # the loop itself holds none

    @property
    def current(self) -> ReleaseParts | None:
        """Return the release in use; None before there is a good one."""
        return self._current

    @property
    def trial(self) -> ReleaseOnTrial | None:
        """Return the candidate, while there is one that can be asked."""
        return self._trial

    async def refresh(self) -> None:
        """Look once at the directory and at the server, and move to the best release that both have."""
        async with self._refreshing:
            self._unresolved = None
            await self._refresh()

    async def take_catalog_in(self) -> None:
        """Let the releases in use know the items that the catalog has described since their training.

        It takes a millisecond an item that is new, so nothing waits for it: neither a start nor a change of releases.
        """
        await self._replace(self._extended)

    async def take_trending_in(self) -> None:
        """Let the releases in use rank by what is viewed of late everywhere; by training where that is too old."""
        await self._replace(self._renewed)

    async def _replace(self, made: Callable[[ReleaseParts], Awaitable[ReleaseParts]]) -> None:
        """Put what is made of the releases in use in their place, unless another one has come meanwhile."""
        current, trial = self._current, self._trial
        if current is not None:
            replaced = await made(current)
            if self._current is current:
                self._current = replaced
        if trial is not None:
            replaced = await made(trial.parts)
            if self._trial is trial:
                self._trial = ReleaseOnTrial(trial.terms, replaced)

    async def _extended(self, release: ReleaseParts) -> ReleaseParts:
        catalog, version = self._catalog, release.version
        if catalog is None or self._taken_in.get(version) == catalog.revision:
            return release
        revision = catalog.revision
        try:
            extended = await asyncio.to_thread(_with_catalog, release, catalog)
        except Exception:
            log.exception("catalog_not_taken_in", version=version)
            return release
        if version in self._held:
            self._held[version], self._taken_in[version] = extended, revision
        return extended

    async def _renewed(self, release: ReleaseParts) -> ReleaseParts:
        version, told = release.version, self._viewed()
        before = self._ranks_by.get(version)
        if told is before:
            return release
        try:
            renewed = await asyncio.to_thread(release.with_trending, told)
        except Exception:
            log.exception("trending_not_taken_in", version=version)
            return release
        if version in self._held:
            self._held[version] = renewed
        if told is None:
            self._ranks_by.pop(version, None)
            log.warning("release_ranks_by_training", version=version, reason="trending_stale")
        else:
            self._ranks_by[version] = told
            if before is None:
                log.info("release_ranks_by_what_is_viewed", version=version)
        return renewed

    async def resolve_again(self, gone: ModelVersion) -> ReleaseParts | None:
        """Return a release other than `gone`, which the server no longer has; None if there is none.

        However many rows ask, the directory and the server are looked at once until the next `refresh`. A row whose
        deadline comes meanwhile leaves the others their look: a release that is being copied is not copied twice.
        """
        look = asyncio.create_task(self._look_for_another(gone))
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)
        await asyncio.shield(look)
        return None if self._is_current(gone) else self._current

    async def _look_for_another(self, gone: ModelVersion) -> None:
        async with self._refreshing:
            if self._is_current(gone) and self._unresolved != gone:
                await self._refresh()
                self._unresolved = gone

    async def run(self, poll_seconds: float) -> None:
        """Refresh for ever."""
        while True:
            try:
                await self.refresh()
                await self.take_catalog_in()
                await self.take_trending_in()
            except Exception:
                log.exception("release_refresh_failed", directory=str(self._directory))
            await asyncio.sleep(poll_seconds)

    def _is_current(self, version: ModelVersion) -> bool:
        return self._current is not None and self._current.version == version

    async def _refresh(self) -> None:
        try:
            on_disk = await asyncio.to_thread(version_directories, self._directory)
        except FileNotFoundError:
            on_disk = {}  # the first release may come later
        except OSError as error:
            log.warning("models_directory_unreadable", directory=str(self._directory), error=str(error))
            return
        self._broken = {version: stamp for version, stamp in self._broken.items() if version in on_disk}
        self._complained.intersection_update(on_disk)
        trial = self._trial
        try:
            available = answering = await self._predictor.loaded_versions()
        except PredictError as error:
            log.debug("model_status_unknown", error=str(error))
            available = frozenset()
            answering = frozenset() if trial is None else frozenset({trial.parts.version})  # as far as we know
        await self._read_rollout()
        rollout = self._rollout
        order = preference(on_disk, rollout)
        first = await self._first_good(order, on_disk)
        servable = await self._first_good([version for version in order if version in available], on_disk)
        self._metrics.common.set(servable is not None)
        kept = self._current
        if kept is not None and rollout is not None and kept.version in rollout.rejected:
            kept = None
        in_use = servable or kept or first or self._current
        terms = None if rollout is None else rollout.candidate
        on_trial = None
        if terms is not None and terms.version in answering & on_disk.keys():
            on_trial = await self._first_good([terms.version], on_disk)
        self._held = {parts.version: parts for parts in (first, in_use, on_trial) if parts is not None}
        self._taken_in = {version: at for version, at in self._taken_in.items() if version in self._held}
        self._ranks_by = {version: told for version, told in self._ranks_by.items() if version in self._held}
        if in_use is not None and not self._is_current(in_use.version):
            self._take_up(in_use)
        self._try_out(None if terms is None or on_trial is None else ReleaseOnTrial(terms, on_trial))

    async def _read_rollout(self) -> None:
        """Read what is in force; where it cannot be read, the last one that could be stays."""
        try:
            self._rollout = await asyncio.to_thread(read_rollout, self._directory)
        except (RolloutError, OSError) as error:
            log.warning("rollout_unreadable", directory=str(self._directory), error=str(error))

    def _try_out(self, trial: ReleaseOnTrial | None) -> None:
        before = self._trial
        self._trial = trial
        if before is not None and trial is not None and before.terms == trial.terms:
            return
        self._metrics.candidate_version.set(0 if trial is None else trial.parts.version)
        if trial is not None:
            log.info(
                "candidate_taken_up", version=trial.parts.version, stage=trial.terms.stage, share=trial.terms.share
            )
        elif before is not None:
            log.info("candidate_put_down", version=before.parts.version)

    def _take_up(self, release: ReleaseParts) -> None:
        before = None if self._current is None else self._current.version
        self._current = release
        self._metrics.version.set(release.version)
        self._metrics.created.set(release.created_at.timestamp())
        log.info("release_taken_up", version=release.version, before=before)

    async def _first_good(
        self, versions: Sequence[ModelVersion], on_disk: dict[ModelVersion, Path]
    ) -> ReleaseParts | None:
        for version in versions:
            parts = self._held.get(version) or await self._load_good(version, on_disk[version])
            if parts is not None:
                return parts
        return None

    async def _load_good(self, version: ModelVersion, path: Path) -> ReleaseParts | None:
        try:
            stamp = await asyncio.to_thread(folder_stamp, path)
            if self._broken.get(version) == stamp:
                return None
            if self._broken.pop(version, None) is not None:
                self._complained.discard(version)
        except OSError as error:
            self._complain(version, path, error)
            return None
        try:
            parts = await asyncio.to_thread(self._load, path)
            if parts.version != version:
                raise ValueError(f"the release in {path} says that it is version {parts.version}")  # noqa: TRY301
        except OSError as error:
            self._complain(version, path, error)
        except Exception as error:  # noqa: BLE001 - a release is foreign data; whatever is wrong with it, it is skipped
            self._broken[version] = stamp
            self._complain(version, path, error)
        else:
            self._held[version] = parts
            return parts
        return None

    def _complain(self, version: ModelVersion, path: Path, error: Exception) -> None:
        if version not in self._complained:
            self._complained.add(version)
            self._metrics.rejected.inc()
            log.error("release_rejected", version=version, path=str(path), error=f"{type(error).__name__}: {error}")


def _with_catalog(release: ReleaseParts, catalog: CatalogView) -> ReleaseParts:
    return release.with_catalog(catalog.records())
