"""What is kept is chosen by number, never by age."""

from datetime import UTC, date, datetime
from pathlib import Path

from agents.artifact_bus import open_bus
from agents.daily.keep import kept_days, kept_records, kept_releases, tidy
from agents.daily.records import DayRecord, DayState
from agents.daily.store import Store
from agents.settings import PipelineSettings, Settings
from schemas.bus import MemoryUrl
from schemas.ids import ModelVersion
from schemas.rollout import Candidate, Rollout
from session_model.release.on_bus import released_versions
from session_model.release.removal import remove_release

NOW = datetime(2026, 2, 1, tzinfo=UTC)


def record(number: int, state: DayState = "done", *, started_at: datetime = NOW) -> DayRecord:
    """Have run the n-th of January."""
    return DayRecord(day=date(2026, 1, number), state=state, started_at=started_at)


def versions(*numbers: int) -> list[ModelVersion]:
    """Return them as such."""
    return [ModelVersion(number) for number in numbers]


def test_the_newest_days_stay_and_what_is_no_day_is_not_counted() -> None:
    """Whatever the clock says."""
    names = ["2026-01-02", "2026-01-01", "2025-12-31", ".tmp-copy", "notes"]
    assert kept_days(names, 2) == {"2026-01-02", "2026-01-01"}


def test_the_newest_runs_stay_with_the_last_success_and_the_last_run() -> None:
    """A week of failures must not hide when it last worked; a day of long ago is not removed as it is run."""
    records = [record(1), record(2), *(record(number, "failed") for number in (3, 4, 5))]
    assert [one.day.day for one in kept_records(records, 2)] == [2, 4, 5]
    late = [record(1, started_at=NOW.replace(day=9)), *records[1:]]
    assert [one.day.day for one in kept_records(late, 2)] == [1, 2, 4, 5]


def test_releases_with_a_part_stay_and_the_newest_others() -> None:
    """And those of the runs that are kept."""
    rollout = Rollout(
        revision=1,
        changed_at=NOW,
        change="promote",
        reason="",
        by="",
        champion=ModelVersion(5),
        previous=ModelVersion(3),
        candidate=Candidate(version=ModelVersion(7), stage="shadow", share=1),
    )
    there = versions(9, 8, 7, 6, 5, 4, 3, 2, 1)
    assert kept_releases(there, rollout, versions(1), 2) == {9, 8, 7, 5, 3, 1}
    assert kept_releases(there, None, [], 2) == {9, 8}


def test_a_release_on_the_bus_is_gone_for_who_looks_before_its_files_are() -> None:
    """The manifest goes first; others stay."""
    bus = open_bus("memory:keep")
    for name in ("m/7/assets.extra/manifest.json", "m/7/saved_model.pb", "m/8/assets.extra/manifest.json", "m/70/x"):
        bus.write(name, b"1")
    remove_release(bus, MemoryUrl("keep"), "m", ModelVersion(7))
    assert released_versions(bus, "m") == [8]
    assert {found.name for found in bus.find()} == {"m/8/assets.extra/manifest.json", "m/70/x"}
    remove_release(bus, MemoryUrl("keep"), "m", ModelVersion(7))


def test_before_the_first_release_there_is_nothing_to_remove(tmp_path: Path) -> None:
    """The folder of models comes with it."""
    models = tmp_path / "models"
    pipeline = PipelineSettings(work=tmp_path / "work", models=str(models))
    tidy(Store(pipeline.work), Settings(pipeline=pipeline))
    assert not models.exists()
