"""What is kept: by number of the newest, never by age, so that no clock can make it go.

Days of clicks: `keep_days`. What the steps of a day have made: of the newest `keep_runs` days. Releases: those with a
part in the rollout, the newest `keep_releases` others, and those of the days that are kept. Reports of checks stay.
"""

import shutil
from collections.abc import Iterable, Sequence
from datetime import date

from agents.artifact_bus import open_bus
from agents.daily.records import DayRecord
from agents.daily.store import Store
from agents.settings import Settings
from schemas.bus import FolderUrl, parse_bus_url
from schemas.ids import ModelVersion
from schemas.rollout import Rollout
from session_model.release.on_bus import released_versions
from session_model.release.removal import remove_release
from session_model.release.rollout_log import RolloutLog


def kept_days(names: Iterable[str], n_kept: int) -> set[str]:
    """Choose the newest folders among those that are called like a day."""
    return set(sorted(name for name in names if _is_day(name))[-n_kept:])


def kept_records(records: Sequence[DayRecord], n_kept: int) -> list[DayRecord]:
    """Choose the newest days, the newest that came to its end, and the one that was run last; records: by day."""
    done = [record for record in records if record.state == "done"][-1:]
    latest = sorted(records, key=lambda record: (record.started_at, record.day))[-1:]
    newest = records[-n_kept:]
    return [record for record in records if record in newest or record in done or record in latest]


def kept_releases(
    there: Sequence[ModelVersion], rollout: Rollout | None, needed: Iterable[ModelVersion], n_kept: int
) -> set[ModelVersion]:
    """Choose the releases that stay; there: highest first."""
    roles = set() if rollout is None else {*rollout.roles}
    others = [version for version in there if version not in roles]
    return {*roles, *needed, *others[:n_kept]}


def tidy(store: Store, settings: Settings) -> None:
    """Remove what is not kept; raises BusError, RolloutError and OSError, and the rest is removed next time."""
    pipeline = settings.pipeline
    for source in store.clicks_folders():
        names = [path.name for path in source.iterdir()]
        for name in {name for name in names if _is_day(name)} - kept_days(names, pipeline.keep_days):
            shutil.rmtree(source / name)
    records = store.records()
    kept = kept_records(records, pipeline.keep_runs)
    store.keep_only([record.day for record in kept], {(step, key) for one in kept for step, key in one.keys.items()})
    _tidy_releases(settings, _trained(store, kept))


def _tidy_releases(settings: Settings, needed: set[ModelVersion]) -> None:
    url, model = parse_bus_url(settings.pipeline.models), settings.serving.model_name
    if isinstance(url, FolderUrl) and not url.path.exists():
        return  # nothing was published yet
    bus = open_bus(str(url))
    there, rollout = released_versions(bus, model), RolloutLog(bus, model).in_force()
    kept = kept_releases(there, rollout, needed, settings.pipeline.keep_releases)
    for version in there:
        if version not in kept:
            remove_release(bus, url, model, version)


def _trained(store: Store, records: Iterable[DayRecord]) -> set[ModelVersion]:
    results = [store.former(record).get("train") for record in records]
    return {ModelVersion(result.outputs["version"]) for result in results if result is not None}


def _is_day(name: str) -> bool:
    try:
        date.fromisoformat(name)
    except ValueError:
        return False
    return True
