import asyncio
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from schemas.errors import InsessionError
from schemas.ids import ItemId, ModelVersion
from schemas.places import LocationSettings
from schemas.records import TRENDING_KEY, CatalogItem, SessionEvent, Trending
from serving.batcher import MicroBatcher
from serving.breaker import CircuitBreaker
from serving.chain import AnswerRequest, Recommender
from serving.fakes import FakeCatalog, FakePredictor, FakeRelease
from serving.metrics import ReleaseMetrics, ServingMetrics
from serving.parts import ReleaseParts
from serving.popular import StreamPopularity
from serving.releases import ReleaseWatcher
from serving.settings import ServingSettings
from serving.trending import TrendingBoard, everywhere
from tests.builders.trending import told

REQUEST = AnswerRequest(
    events=[SessionEvent("view", 0, ItemId("i20"))], location=None, bought=(), deadline=float("inf"), want_personal=True
)


class Refusing(FakeRelease):
    """Takes nothing in of what is viewed."""

    def with_trending(self, told: Trending | None) -> FakeRelease:
        """Fail."""
        raise ValueError(f"it is told {told}")


class Shelf:
    """A models directory, a fake server and the watcher of both.

    A release is a directory with a file `release`: "good", "broken", "unreadable" or the number it claims to be.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "models"
        self.server = FakePredictor([])
        self.registry = CollectorRegistry()
        self.loaded: list[str] = []
        self.threads: set[threading.Thread] = set()
        self.catalog = FakeCatalog()
        metrics = ReleaseMetrics(self.registry)
        self.board = TrendingBoard(
            LocationSettings(), stale_after_seconds=300, max_places=10, clock=lambda: self.now_seconds
        )
        self.now_seconds = 1.0
        self.refuses_trending = False
        self.is_loading, self.may_load = threading.Event(), threading.Event()
        self.may_load.set()
        viewed = partial(everywhere, self.board)
        self.watcher = ReleaseWatcher(self.directory, self.load, self.server, metrics, self.catalog, viewed)

    def load(self, path: Path) -> ReleaseParts:
        """Read a release, as `ReleaseWatcher` asks for it."""
        self.loaded.append(path.name)
        self.threads.add(threading.current_thread())
        self.is_loading.set()
        assert self.may_load.wait(timeout=30)
        content = (path / "release").read_text()
        if content == "broken":
            raise InsessionError("a checksum is wrong")
        if content == "unreadable":
            raise OSError("the disk is away")
        version = ModelVersion(int(path.name if content == "good" else content))
        refuses = self.refuses_trending
        return (Refusing if refuses else FakeRelease)(version=version, shift=1000 * version)

    def publish(self, version: int, content: str = "good") -> None:
        """Put a release into the directory."""
        (self.directory / str(version)).mkdir(parents=True)
        (self.directory / str(version) / "release").write_text(content)

    def withdraw(self, version: int) -> None:
        """Take a release out of the directory."""
        (self.directory / str(version) / "release").unlink()
        (self.directory / str(version)).rmdir()

    async def refresh(self, *available: int) -> int | None:
        """Let the server have these versions, refresh, and give the version in use."""
        self.server.versions = set(map(ModelVersion, available))
        await self.watcher.refresh()
        await self.watcher.take_catalog_in()
        await self.watcher.take_trending_in()
        return None if self.watcher.current is None else self.watcher.current.version

    def told(self) -> Trending | None:
        """Return what the release in use was told of what is viewed."""
        assert isinstance(self.watcher.current, FakeRelease)
        return self.watcher.current.told

    def recommender(self, batcher: MicroBatcher) -> Recommender:
        """Return a recommender that asks the fake server for the release in use."""
        return Recommender(
            model=batcher,
            gate=CircuitBreaker(failures=1, open_seconds=1),
            releases=self.watcher,
            popularity=StreamPopularity(half_life_seconds=1, max_items=1, max_locations=1),
            catalog=FakeCatalog(),
            settings=ServingSettings(),
            metrics=ServingMetrics(CollectorRegistry()),
        )

    @property
    def held(self) -> set[ModelVersion]:
        """Return the releases in memory."""
        return set(self.watcher._held)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Return an empty shelf."""
    return Shelf(tmp_path)


async def test_nothing_is_in_use_without_a_directory(shelf: Shelf) -> None:
    """A missing or empty models directory is no error."""
    assert await shelf.refresh() is None
    shelf.directory.mkdir()
    assert await shelf.refresh() is None


async def test_a_release_is_taken_up_when_the_server_has_it(shelf: Shelf) -> None:
    """The newer release is loaded when it appears and used when the server reports it AVAILABLE."""
    shelf.publish(1)
    assert await shelf.refresh(1) == 1
    shelf.publish(2)
    assert await shelf.refresh(1) == 1
    assert shelf.loaded == ["1", "2"]
    assert await shelf.refresh(1, 2) == 2
    assert shelf.loaded == ["1", "2"]
    assert shelf.registry.get_sample_value("insession_release_version") == 2
    made = FakeRelease().created_at.timestamp()
    assert shelf.registry.get_sample_value("insession_release_created_timestamp_seconds") == made


async def test_loading_leaves_the_event_loop_free(shelf: Shelf) -> None:
    """Releases are read in another thread."""
    shelf.publish(1)
    await shelf.refresh(1)
    assert threading.main_thread() not in shelf.threads


async def test_before_the_server_is_there_the_newest_release_serves(shelf: Shelf) -> None:
    """With the server away the newest good release gives kNN and popular items; later the server decides."""
    shelf.publish(1)
    shelf.publish(2)
    shelf.server.reachable = False
    assert await shelf.refresh() == 2
    shelf.server.reachable = True
    assert await shelf.refresh(1) == 1


async def test_the_release_stays_while_the_server_is_away(shelf: Shelf) -> None:
    """An unreachable server, or one that has nothing of ours, changes nothing."""
    shelf.publish(1)
    await shelf.refresh(1)
    shelf.publish(2)
    shelf.server.reachable = False
    assert await shelf.refresh() == 1
    shelf.server.reachable = True
    assert await shelf.refresh(9) == 1


async def test_rollback_follows_the_server(shelf: Shelf) -> None:
    """When the server goes back to an older version the worker goes with it."""
    shelf.publish(1)
    shelf.publish(2)
    assert await shelf.refresh(2) == 2
    assert await shelf.refresh(1) == 1


@pytest.mark.parametrize("content", ["broken", "3"])
async def test_a_broken_release_is_said_once_and_skipped(shelf: Shelf, content: str) -> None:
    """A release that does not verify, or claims another number, leaves the good one in use."""
    shelf.publish(1)
    await shelf.refresh(1)
    shelf.publish(2, content)
    with capture_logs() as logs:
        assert await shelf.refresh(1, 2) == 1
        assert await shelf.refresh(1, 2) == 1
    assert [(entry["event"], entry["version"]) for entry in logs] == [("release_rejected", 2)]
    assert shelf.loaded == ["1", "2"]
    assert shelf.registry.get_sample_value("insession_releases_rejected_total") == 1


async def test_the_next_release_replaces_a_broken_one(shelf: Shelf) -> None:
    """A good release after a broken one is taken up."""
    shelf.publish(1)
    shelf.publish(2, "broken")
    assert await shelf.refresh(1, 2) == 1
    shelf.publish(3)
    assert await shelf.refresh(1, 2, 3) == 3


async def test_a_broken_release_is_tried_again_after_its_directory_was_gone(shelf: Shelf) -> None:
    """The number is forgotten with the directory; broken again, it is said again."""
    for rejected in (1, 2):
        shelf.publish(1, "broken")
        assert await shelf.refresh(1) is None
        assert shelf.registry.get_sample_value("insession_releases_rejected_total") == rejected
        shelf.withdraw(1)
        assert await shelf.refresh(1) is None
    shelf.publish(1)
    assert await shelf.refresh(1) == 1


async def test_a_disk_that_is_away_is_tried_again(shelf: Shelf) -> None:
    """An OSError is said once but never final."""
    shelf.publish(1, "unreadable")
    with capture_logs() as logs:
        assert await shelf.refresh(1) is None
        assert await shelf.refresh(1) is None
    assert [entry["event"] for entry in logs] == ["release_rejected"]
    (shelf.directory / "1" / "release").write_text("good")
    assert await shelf.refresh(1) == 1


async def test_at_most_two_releases_are_held(shelf: Shelf) -> None:
    """However many were published, memory holds the one in use and the newest."""
    for version in range(1, 6):
        shelf.publish(version)
        await shelf.refresh(version)
        assert len(shelf.held) <= 2
    assert await shelf.refresh(2) == 2
    assert shelf.held == {2, 5}


async def test_a_release_outlives_its_directory(shelf: Shelf) -> None:
    """Removing the directory of the release in use takes nothing away."""
    shelf.publish(1)
    await shelf.refresh(1)
    shelf.withdraw(1)
    assert await shelf.refresh(1) == 1


async def test_only_whole_numbers_are_versions(shelf: Shelf) -> None:
    """A release that is still being written, and anything else, is no version."""
    shelf.publish(1)
    for name in (".tmp-2", "latest", "3.bak", "٤"):
        (shelf.directory / name).mkdir()
    (shelf.directory / "5").write_text("a file")
    assert await shelf.refresh(1, 2, 3, 4, 5) == 1
    assert shelf.loaded == ["1"]


async def test_resolving_again_gives_the_newer_release(shelf: Shelf) -> None:
    """When the server has moved on, one look finds what it has."""
    shelf.publish(1)
    await shelf.refresh(1)
    shelf.publish(2)
    shelf.server.versions = {ModelVersion(2)}
    other = await shelf.watcher.resolve_again(ModelVersion(1))
    assert other is not None
    assert other.version == 2


async def test_a_row_that_gives_up_leaves_the_others_the_release_that_is_being_loaded(shelf: Shelf) -> None:
    """It is loaded once: two loads at a time would remove each other's copies."""
    shelf.publish(1)
    await shelf.refresh(1)
    shelf.publish(2)
    shelf.server.versions = {ModelVersion(2)}
    shelf.may_load.clear()
    shelf.is_loading.clear()
    first = asyncio.create_task(shelf.watcher.resolve_again(ModelVersion(1)))
    assert await asyncio.to_thread(shelf.is_loading.wait, 30)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(shelf.watcher.resolve_again(ModelVersion(1)))
    await asyncio.sleep(0)
    shelf.may_load.set()
    other = await second
    assert other is not None
    assert (other.version, shelf.loaded) == (2, ["1", "2"])


async def test_resolving_again_gives_none_where_nothing_else_is(shelf: Shelf) -> None:
    """Where the server has nothing that is held here there is no other release."""
    shelf.publish(1)
    await shelf.refresh(1)
    shelf.server.versions = set()
    assert await shelf.watcher.resolve_again(ModelVersion(1)) is None
    assert shelf.watcher.current is not None


async def test_a_version_gone_for_good_is_looked_for_once_a_refresh(shelf: Shelf) -> None:
    """Where the server has nothing else, rows do not turn into status calls; the next refresh allows one more look."""
    shelf.publish(1)
    await shelf.refresh(1)
    shelf.server.versions = set()
    asked = shelf.server.status_calls
    for expected in (1, 3):
        await asyncio.gather(*(shelf.watcher.resolve_again(ModelVersion(1)) for _ in range(32)))
        assert shelf.server.status_calls == asked + expected
        await shelf.refresh()


async def test_a_directory_that_cannot_be_read_changes_nothing(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The models directory may be away for a while: it is said, and the release stays."""
    shelf.publish(1)
    await shelf.refresh(1)

    def away(_path: Path) -> Iterator[Path]:
        raise OSError("stale file handle")

    monkeypatch.setattr(Path, "iterdir", away)
    with capture_logs() as logs:
        assert await shelf.refresh(1) == 1
    assert [entry["event"] for entry in logs] == ["models_directory_unreadable"]


async def test_many_rows_resolve_with_one_look(shelf: Shelf) -> None:
    """All rows of a failed call share one refresh."""
    shelf.publish(1)
    await shelf.refresh(1)
    shelf.publish(2)
    shelf.server.versions = {ModelVersion(2)}
    found = await asyncio.gather(*(shelf.watcher.resolve_again(ModelVersion(1)) for _ in range(32)))
    assert {parts.version for parts in found if parts is not None} == {2}
    assert shelf.loaded == ["1", "2"]


async def test_vocabulary_and_model_agree_while_versions_move(shelf: Shelf) -> None:
    """A row is encoded, asked and named by one version, though the release in use changes under it.

    Each version has its own indices here, so a row read with another version's vocabulary would name other items.
    """
    shelf.publish(1)
    await shelf.refresh(1)
    batcher = MicroBatcher(shelf.server, ServingSettings())
    recommender = shelf.recommender(batcher)
    shelf.server.hold()
    before = asyncio.create_task(recommender.answer(REQUEST))
    await shelf.server.called(1)
    shelf.publish(2)
    assert await shelf.refresh(1, 2) == 2
    after = asyncio.create_task(recommender.answer(REQUEST))
    shelf.server.let_go()
    answers = await asyncio.gather(before, after)
    assert [answer.model_version for answer in answers] == [1, 2]
    for answer in answers:
        assert [item.item_id for item in answer.items[:3]] == ["i21", "i22", "i23"]
    assert [(call.version, int(call.batch[0].items[0])) for call in shelf.server.calls] == [(1, 1020), (2, 2020)]
    await batcher.close()


async def test_a_row_of_an_unloaded_version_is_encoded_anew(shelf: Shelf) -> None:
    """After NOT_FOUND the row is asked of the new version with the new version's indices."""
    shelf.publish(1)
    await shelf.refresh(1)
    shelf.publish(2)
    shelf.server.versions = {ModelVersion(2)}
    batcher = MicroBatcher(shelf.server, ServingSettings())
    answer = await shelf.recommender(batcher).answer(REQUEST)
    assert (answer.tier, answer.model_version) == ("model", 2)
    assert [item.item_id for item in answer.items[:3]] == ["i21", "i22", "i23"]
    assert [(call.version, int(call.batch[0].items[0])) for call in shelf.server.calls] == [(1, 1020), (2, 2020)]
    await batcher.close()


async def test_run_survives_whatever_a_refresh_raises(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher logs and goes on after an unexpected exception."""
    shelf.publish(1)
    shelf.server.versions = {ModelVersion(1)}
    taken_up = asyncio.Event()
    good = shelf.watcher.refresh
    attempts = 0

    async def refresh() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise RuntimeError("bug")
        await good()
        taken_up.set()

    monkeypatch.setattr(shelf.watcher, "refresh", refresh)
    with capture_logs() as logs:
        running = asyncio.create_task(shelf.watcher.run(0))
        await taken_up.wait()
        running.cancel()
        await asyncio.wait([running])
    assert logs[0]["event"] == "release_refresh_failed"
    assert shelf.watcher.current is not None


def reads(shelf: Shelf, item_id: str) -> list[int]:
    """Return what the release in use reads for a view of an item."""
    assert shelf.watcher.current is not None
    return shelf.watcher.current.encode([SessionEvent("view", 0, ItemId(item_id))]).items.tolist()


async def test_the_release_is_told_what_the_catalog_describes(shelf: Shelf) -> None:
    """An item that appears in the catalog is known from the next refresh on, and to a newer release, too."""
    shelf.publish(1)
    await shelf.refresh(1)
    assert reads(shelf, "new") == []
    shelf.catalog.described = [CatalogItem(item_id=ItemId("new"))]
    assert await shelf.refresh(1) == 1
    assert reads(shelf, "new") == [1001]
    shelf.publish(2)
    assert await shelf.refresh(1, 2) == 2
    assert reads(shelf, "new") == [2001]


async def test_a_catalog_that_did_not_change_is_not_read_again(shelf: Shelf) -> None:
    """The release in use stays the very same object."""
    shelf.publish(1)
    shelf.catalog.described = [CatalogItem(item_id=ItemId("new"))]
    await shelf.refresh(1)
    told = shelf.watcher.current
    await shelf.refresh(1)
    assert shelf.watcher.current is told


async def test_a_catalog_that_cannot_be_taken_in_costs_nothing_else(shelf: Shelf) -> None:
    """The release serves as before, and the log says so."""
    shelf.publish(1)
    shelf.catalog.described = [None]  # type: ignore[list-item] # what no catalog gives
    with capture_logs() as entries:
        assert await shelf.refresh(1) == 1
    assert [entry["event"] for entry in entries if entry["log_level"] == "error"] == ["catalog_not_taken_in"]


async def test_the_release_is_told_what_is_viewed_while_that_is_known(shelf: Shelf) -> None:
    """Of everywhere, once a record, and a newer release, too; where records stop it ranks by training again."""
    shelf.publish(1)
    await shelf.refresh(1)
    assert shelf.told() is None
    first, second = told((1.0,), {"i1": (1.0,)}), told((2.0,), {"i1": (2.0,)})
    shelf.board.put(TRENDING_KEY, first, 1000)
    shelf.board.put("nl", second, 1000)
    with capture_logs() as entries:
        await shelf.refresh(1)
        assert shelf.told() is first
        in_use = shelf.watcher.current
        await shelf.refresh(1)
        assert shelf.watcher.current is in_use
        shelf.board.put(TRENDING_KEY, second, 1000)
        await shelf.refresh(1)
        assert shelf.told() is second
        shelf.publish(2)
        assert (await shelf.refresh(1, 2), shelf.told()) == (2, second)
        shelf.now_seconds += 301
        await shelf.refresh(1, 2)
        assert shelf.told() is None
    events = [(entry["event"], entry["version"]) for entry in entries if "ranks_by" in entry["event"]]
    assert events == [
        ("release_ranks_by_what_is_viewed", 1),
        ("release_ranks_by_what_is_viewed", 2),
        ("release_ranks_by_training", 2),
    ]
    assert [entry["reason"] for entry in entries if entry["event"] == "release_ranks_by_training"] == ["trending_stale"]


async def test_a_watcher_that_runs_tells_all_news(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the catalog describes, and what is viewed, before it looks for releases again."""
    shelf.publish(1)
    shelf.server.versions = {ModelVersion(1)}
    shelf.catalog.described = [CatalogItem(item_id=ItemId("new"))]
    shelf.board.put(TRENDING_KEY, told((1.0,), {"i1": (1.0,)}), 1000)
    looked_again, refresh = asyncio.Event(), shelf.watcher.refresh

    async def watched() -> None:
        if shelf.watcher.current is not None:
            looked_again.set()
        await refresh()

    monkeypatch.setattr(shelf.watcher, "refresh", watched)
    running = asyncio.create_task(shelf.watcher.run(0))
    await looked_again.wait()
    assert shelf.told() is not None
    assert reads(shelf, "new") == [1001]
    running.cancel()
    await asyncio.wait([running])


async def test_what_is_viewed_that_cannot_be_taken_in_costs_nothing_else(shelf: Shelf) -> None:
    """The release serves as before, and the log says so."""
    shelf.publish(1)
    shelf.refuses_trending = True
    shelf.board.put(TRENDING_KEY, told((1.0,), {"i1": (1.0,)}), 1000)
    with capture_logs() as entries:
        assert (await shelf.refresh(1), shelf.told()) == (1, None)
    assert [entry["event"] for entry in entries if entry["log_level"] == "error"] == ["trending_not_taken_in"]


async def test_whether_server_and_worker_share_a_release_is_told(shelf: Shelf) -> None:
    """What the server has and the worker rejects is not shared; neither is what only the worker has."""

    async def is_common(*on_server: int) -> float | None:
        await shelf.refresh(*on_server)
        return shelf.registry.get_sample_value("insession_release_common")

    shelf.publish(1)
    assert await is_common() == 0
    assert await is_common(1) == 1
    shelf.publish(2, "broken")
    assert await is_common(2) == 0


async def test_a_release_repaired_in_place_is_taken_up(shelf: Shelf) -> None:
    """It is tried again when anything in it has changed, and only then."""
    shelf.publish(1, "broken")
    assert await shelf.refresh(1) is None
    assert await shelf.refresh(1) is None
    assert shelf.loaded == ["1"]
    (shelf.directory / "1" / "release").write_text("good")
    assert await shelf.refresh(1) == 1


async def test_a_release_that_changes_and_stays_broken_is_told_again(shelf: Shelf) -> None:
    """A new attempt has a new line, and counts."""
    shelf.publish(1, "broken")
    await shelf.refresh(1)
    (shelf.directory / "1" / "more").write_text("")
    with capture_logs() as logs:
        await shelf.refresh(1)
    assert [line["event"] for line in logs] == ["release_rejected"]
    assert shelf.registry.get_sample_value("insession_releases_rejected_total") == 2
